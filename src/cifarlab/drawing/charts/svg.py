"""Charts as inline SVG, which follows the page's colours in dark mode, on a phone and in print.

Colours are classes that page.html defines, c0 to c6 for series. Each chart also describes itself in words: in its
label for screen readers, and in the <title> of each part, which page.js shows as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup

from cifarlab.console import printable
from cifarlab.drawing.charts.axis import Axis, number
from cifarlab.drawing.charts.description import (
    NUM_COLOURS,
    Bar,
    BarChart,
    Chart,
    LineChart,
    Mark,
    Matrix,
    Reliability,
    Series,
)
from cifarlab.drawing.charts.svg_matrix import draw_matrix
from cifarlab.drawing.charts.svg_parts import (
    Frame,
    dot,
    drawing,
    figure,
    join,
    left_margin,
    legend,
    nothing,
    width_of,
)
from cifarlab.drawing.wording import short
from cifarlab.evaluation.calibration import Bin
from cifarlab.language import ntr, tr

WIDTH, HEIGHT = 460.0, 280.0
"""Units, about pixels: two charts fit side by side on the page, which scales them to its columns."""
DOTS_UP_TO = 40
"""Points of a series that each get a dot; more would run into each other."""
BANDS_UP_TO = 400
"""Places along the x axis that have a tooltip; a run may have thousands of rows, and a band is finer than a pointer."""
MARK_ROW = 15.0
"""Height of the line for a mark's name above the drawing."""
ROW = 24.0
"""Height of a bar with the space around it."""
DOT_STEP = 11.0
"""Distance of the dots in a row of a bar chart: they touch neither each other nor the whisker between them."""
BOX = Markup('<rect class="{}" width="20" height="10" y="2"/>')
"""The sample of a bar in a legend."""


def to_svg(chart: Chart) -> Markup:
    """Draw a chart under its title; one without data says that there is nothing to draw."""
    match chart:
        case LineChart():
            return _draw_lines(chart)
        case BarChart():
            return _draw_bars(chart)
        case Matrix():
            return draw_matrix(chart)
        case Reliability():
            return _draw_reliability(chart)


def _draw_lines(chart: LineChart) -> Markup:
    if chart.is_empty:
        return figure(chart.title, nothing())
    x_axis, y_axis, lines = chart.x_axis, chart.y_axis, chart.lines
    top = 10.0 + MARK_ROW * len(chart.marks)
    frame = Frame(x_axis, y_axis, WIDTH, HEIGHT + top, left=left_margin(y_axis), top=top)
    drawn = [_line(frame, each) for each in lines]
    parts = [
        frame.draw_axes(chart.x_label, chart.y_label),
        *(_mark(frame, mark, row) for row, mark in enumerate(chart.marks)),
        *(drawn if chart.y_limits is None else [frame.clip(drawn)]),  # clipping would halve the dots on an edge
        *_bands(frame, lines, chart.x_label),  # last, so that they lie on top and catch the pointer
    ]
    ends = [
        tr(
            "{name} from {first} to {last}",
            name=each.name,
            first=y_axis.text(each.points[0][1]),
            last=y_axis.text(each.points[-1][1]),
        )
        for each in lines
        if each.points
    ]
    keys = [(each.name, _sample(each)) for each in lines] if chart.needs_legend else []
    words = _named(chart.title, tr("; ").join(ends))
    return figure(chart.title, drawing(frame.width, frame.height, words, parts), legend(keys))


def _line(frame: Frame, series: Series) -> Markup:
    places = [frame.at(x, y) for x, y in series.points]
    if series.scattered:
        return Markup('<g class="faint">{}</g>').format(join(dot(x, y, series.colour) for x, y in places))
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places) if places else ""
    dots = [dot(x, y, series.colour) for x, y in places] if len(places) <= DOTS_UP_TO else []
    return Markup('<path class="{}" d="{}"/>{}').format(_style(series), path, join(dots))


def _style(series: Series) -> str:
    return f"line c{series.colour % NUM_COLOURS}{' dashed' if series.dashed else ''}"


def _sample(series: Series) -> Markup:
    """The sample of a series in a legend."""
    return dot(11, 7, series.colour) if series.scattered else Markup(f'<path class="{_style(series)}" d="M0,7H22"/>')


def _bands(frame: Frame, series: Sequence[Series], x_label: str) -> Iterator[Markup]:
    """An invisible strip around each x; its tooltip lists the value of every line there."""
    values = [dict(each.points) for each in series]
    xs = sorted({x for each in values for x in each})
    xs = xs[:: math.ceil(len(xs) / BANDS_UP_TO)]  # every nth, so that bands stay wide enough to hit
    places = [frame.at_x(x) for x in xs]
    left, right = frame.left, frame.width - frame.right
    # Strips end half-way between places, so that the nearest x shows its values.
    edges = [left, *((a + b) / 2 for a, b in pairwise(places)), right]
    for x, place, (start, end) in zip(xs, places, pairwise(edges), strict=True):
        found = [
            _named(printable(each.name), frame.y_text(points[x]))
            for each, points in zip(series, values, strict=True)
            if x in points  # validation may skip epochs
        ]
        yield Markup(
            '<g class="band"><title>{}</title><rect x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
            '<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/></g>'
        ).format(
            "\n".join([tr("{axis} {value}", axis=x_label, value=number(x)), *found]),
            start, frame.top, max(end - start, 0.1), frame.inner_height,  # a width of 0 would switch the strip off
            place, place, frame.top, frame.top + frame.inner_height,
        )  # fmt: skip


def _mark(frame: Frame, mark: Mark, row: int) -> Markup:
    """A vertical line that rises to its name above the drawing; each name has a row of its own, so none overlap."""
    x, y = frame.at_x(mark.x), MARK_ROW * (row + 1)  # y of the name's baseline
    fits = x + 5 + width_of(mark.text) < frame.width
    anchor, offset = ("start", 5) if fits else ("end", -5)  # near the right edge the name stands left of its line
    return Markup(
        '<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        '<text class="mark" x="{place:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'
    ).format(
        x=x, top=y - 10, bottom=frame.top + frame.inner_height, place=x + offset, y=y,
        anchor=anchor, text=printable(mark.text),
    )  # fmt: skip


def _draw_bars(chart: BarChart) -> Markup:
    if not chart.bars:
        return figure(chart.title, nothing())
    left = 16 + max(width_of(short(bar.name)) for bar in chart.bars)
    frame = Frame(chart.axis, None, WIDTH, 56 + ROW * len(chart.bars), left=left)
    rows = [_bar(frame, chart, bar, frame.top + ROW * row) for row, bar in enumerate(chart.bars)]
    # A screen reader reads the label in one go, so it names the first bars only; the rest have titles of their own.
    first = tr("; ").join(f"{bar.name} {_or_dash(chart.axis, bar.value)}" for bar in chart.bars[:30])
    keys = [(chart.value_name, BOX.format("bar"))] if chart.dot_names else []
    keys += [(name, dot(7, 7, index + 1)) for index, name in enumerate(chart.dot_names)]
    if chart.dot_names and any(bar.interval for bar in chart.bars):
        keys.append((chart.interval_name, Markup('<path class="whisker" d="M1,3v8m0,-4H21m0,-4v8"/>')))
    parts = [frame.draw_axes(chart.x_label, ""), *rows]
    return figure(chart.title, drawing(WIDTH, frame.height, _named(chart.title, first), parts), legend(keys))


def _bar(frame: Frame, chart: BarChart, bar: Bar, y: float) -> Markup:
    parts = [
        Markup('<rect class="row" x="0" y="{}" width="{}" height="{}"/>').format(y, frame.width, ROW),
        Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>').format(
            frame.left - 8, y + 16, short(bar.name)
        ),
    ]
    start, end = sorted((frame.at_x(0.0), frame.at_x(bar.value or 0.0)))  # a negative bar ends at zero
    if bar.value is None:
        # A bar of length 0 would look like a score of 0.
        parts.append(Markup('<text class="name" x="{:.1f}" y="{}">–</text>').format(start + 4, y + 16))
    if chart.points and bar.value is not None:
        parts.append(dot(frame.at_x(bar.value), y + 12, 0 if bar.is_certain else NUM_COLOURS - 1))
    else:
        size = Markup('x="{:.1f}" y="{}" width="{:.1f}" height="14"').format(start, y + 5, end - start)
        parts.append(Markup('<rect class="bar" {}/>').format(size))
    middle = (len(bar.dots) - 1) / 2  # dots are spread over the height of a row: their values are often alike
    for index, value in enumerate(bar.dots):
        parts.append(dot(frame.at_x(value), y + 12 + DOT_STEP * (index - middle), index + 1))  # 0 is blue, like bars
    if bar.interval:
        low, high = (frame.at_x(value) for value in bar.interval)
        whisker = '<path class="whisker" d="M{:.1f},{}v8m0,-4H{:.1f}m0,-4v8"/>'
        parts.append(Markup(whisker).format(low, y + 8, high))
    return Markup('<g class="tip"><title>{}</title>{}</g>').format(_tooltip(chart, bar), join(parts))


def _tooltip(chart: BarChart, bar: Bar) -> str:
    text = chart.axis.text
    lines = [printable(bar.name), _named(chart.value_name, _or_dash(chart.axis, bar.value))]
    if bar.interval:
        low, high = map(text, bar.interval)
        lines.append(_named(chart.interval_name, tr("{low} to {high}", low=low, high=high)))
    # A bar without a value has no dots either.
    named = zip(chart.dot_names, bar.dots, strict=bar.value is not None)
    lines += [_named(name, text(value)) for name, value in named]
    return "\n".join([*lines, *([bar.note] if bar.note else [])])


def _named(name: str, text: str) -> str:
    return tr("{name}: {text}", name=name, text=text)


def _or_dash(axis: Axis, value: float | None) -> str:
    return "–" if value is None else axis.text(value)


def _draw_reliability(chart: Reliability) -> Markup:
    """Bars that end on the diagonal mean that 70 % confidence is right 70 % of the time."""
    axis = Axis(0.0, 1.0, percent=True)
    frame = Frame(axis, axis, WIDTH, HEIGHT + 40, left=left_margin(axis))
    diagonal = Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        *frame.at(0, 0), *frame.at(1, 1)
    )
    said = [
        tr(
            "at {confidence:.0%} confidence {accuracy:.0%} are right",
            confidence=each.confidence,
            accuracy=each.accuracy,
        )
        for each, _ in chart.filled
    ]
    keys = [
        (tr("accuracy"), BOX.format("bar")),
        (tr("share of images"), BOX.format("share")),
        (tr("perfect"), Markup('<line class="diagonal" x2="22" y1="7" y2="7"/>')),
    ]
    bins = [_bin(frame, each, share) for each, share in chart.filled]
    parts = [frame.draw_axes(tr("confidence"), tr("accuracy")), *bins, diagonal]
    words = _named(chart.title, tr("; ").join(said))
    return figure(chart.title, drawing(WIDTH, frame.height, words, parts), legend(keys))


def _bin(frame: Frame, each: Bin, share: float) -> Markup:
    (left, top), (right, bottom) = frame.at(each.low, each.accuracy), frame.at(each.high, 0)
    # The share of images is a narrow bar in the middle of the wide one, on the same axis: both are fractions.
    title = ntr(
        "confidence {low:.0%} to {high:.0%}\n{n:,} image, {share:.1%}\n"
        "mean confidence {confidence:.1%}\naccuracy {accuracy:.1%}",
        "confidence {low:.0%} to {high:.0%}\n{n:,} images, {share:.1%}\n"
        "mean confidence {confidence:.1%}\naccuracy {accuracy:.1%}",
        each.num_images,
        low=each.low,
        high=each.high,
        n=each.num_images,
        share=share,
        confidence=each.confidence,
        accuracy=each.accuracy,
    )
    return Markup(
        '<g class="tip"><title>{}</title><rect class="row" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
        '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        '<rect class="share" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>'
    ).format(
        title, left, frame.top, right - left, frame.inner_height,
        left + 1, top, right - left - 2, bottom - top,  # two units between bars
        left + (right - left) * 0.35, frame.at(0, share)[1], (right - left) * 0.3, bottom - frame.at(0, share)[1],
    )  # fmt: skip
