"""Charts for pages: inline SVG that follows the page into the dark, onto a phone and onto paper.

Colours are classes that page.html gives a meaning, c0 to c6 for series. What a chart shows is said in words too: in its
label for those who cannot see it, and in the <title> of each part for those who point at it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from cifarlab.console import printable
from cifarlab.drawing.axes import CHARACTER, LARGEST, Axis, Frame, number
from cifarlab.drawing.figure import NOTHING, NUM_COLOURS, dot, drawing, figure, join, legend, short
from cifarlab.evaluation.calibration import Bin

WIDTH, HEIGHT = 460.0, 280.0
DOTS_UP_TO = 40
"""Points of a series that are drawn as dots too."""
BANDS_UP_TO = 400
"""Places along the x axis that answer to a pointer."""
MARK_ROW = 15.0
"""Height of a mark's name above the drawing."""
ROW = 24.0
"""Height of a bar with the space around it."""


@dataclass(frozen=True)
class Series:
    """One line of a chart: points (x, y), those beyond LARGEST or not numbers left out; `colour` counts from 0."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A place on the x axis with its name."""

    x: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: a value, perhaps an interval, perhaps dots beside it, and a remark for the pointer."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    dots: Sequence[float] = ()
    note: str = ""


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    marks: Sequence[Mark] = (),
    percent: bool = False,
    from_zero: bool = False,
    x_log: bool = False,
    y_log: bool = False,
) -> Markup:
    """Draw lines over one x axis; pointing at an x shows every series' value there. `percent`: y is a fraction."""
    drawn = [_finite(each) for each in series]
    points = [point for each in drawn for point in each.points]
    if not points:
        return figure(title, NOTHING)
    lows = [y for _, y in points] + ([0.0] if from_zero else [])
    x_axis = Axis.along([x for x, _ in points], log=x_log)
    y_axis = Axis.around(lows, log=y_log, percent=percent)
    top = 10.0 + MARK_ROW * len(marks)
    frame = Frame(x_axis, y_axis, WIDTH, HEIGHT + top, left=y_axis.room + 32, top=top)
    parts = [
        frame.drawn(x_label, y_label),
        *(_mark(frame, mark, row) for row, mark in enumerate(marks)),
        *(_line(frame, each) for each in drawn),
        *_bands(frame, drawn, x_label),
    ]
    return figure(
        title, drawing(frame.width, frame.height, _in_words(title, drawn, y_axis), parts), _line_legend(drawn)
    )


def bar_chart(
    bars: Sequence[Bar],
    *,
    title: str,
    x_label: str,
    value_name: str = "value",
    interval_name: str = "interval",
    dot_names: Sequence[str] = (),
    percent: bool = True,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """Draw horizontal bars from zero in the given order, intervals as whiskers, and dots named by `dot_names`.

    A bar without a value has a dash.
    """
    if not bars:
        return figure(title, NOTHING)
    values = [value for bar in bars for value in (bar.value or 0.0, *(bar.interval or ()), *bar.dots)]
    axis = Axis.around([0.0, *(limits or values)], percent=percent)
    left = 16 + CHARACTER * max(len(short(bar.name)) for bar in bars)
    frame = Frame(axis, None, WIDTH, 56 + ROW * len(bars), left=left)
    rows = [_bar(frame, bar, row, (value_name, interval_name, *dot_names)) for row, bar in enumerate(bars)]
    words = f"{title}: " + "; ".join(f"{bar.name} {_or_dash(axis, bar.value)}" for bar in bars[:30])
    keys = [(value_name, Markup('<rect class="bar" width="20" height="10" y="2"/>'))] if dot_names else []
    keys += [(name, dot(7, 7, index + 1)) for index, name in enumerate(dot_names)]
    return figure(title, drawing(WIDTH, frame.height, words, [frame.drawn(x_label, ""), *rows]), legend(keys))


def reliability(bins: Sequence[Bin], *, title: str) -> Markup:
    """Draw accuracy over confidence: bars on the diagonal mean that probabilities mean what they say."""
    axis = Axis(0.0, 1.0, percent=True)
    frame = Frame(axis, axis, WIDTH, HEIGHT + 40, left=axis.room + 32)
    total = max(sum(each.num_images for each in bins), 1)
    diagonal = Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        *frame.at(0, 0), *frame.at(1, 1)
    )
    drawn = [_bin(frame, each, total) for each in bins if each.num_images]
    words = f"{title}: " + "; ".join(
        f"at {each.confidence:.0%} confidence {each.accuracy:.0%} are right" for each in bins if each.num_images
    )
    keys = [
        ("accuracy", Markup('<rect class="bar" width="20" height="10" y="2"/>')),
        ("share of images", Markup('<rect class="share" width="20" height="10" y="2"/>')),
        ("perfect", Markup('<line class="diagonal" x2="22" y1="7" y2="7"/>')),
    ]
    parts = [frame.drawn("confidence", "accuracy"), *drawn, diagonal]
    return figure(title, drawing(WIDTH, frame.height, words, parts), legend(keys))


def _finite(series: Series) -> Series:
    points = [(x, y) for x, y in series.points if abs(x) < LARGEST and abs(y) < LARGEST]
    return Series(series.name, sorted(points), series.colour, series.dashed)


def _line(frame: Frame, series: Series) -> Markup:
    places = [frame.at(x, y) for x, y in series.points]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places) if places else ""
    style = f"line c{series.colour % NUM_COLOURS}{' dashed' if series.dashed else ''}"
    dots = [dot(x, y, series.colour) for x, y in places] if len(places) <= DOTS_UP_TO else []
    return Markup('<path class="{}" d="{}"/>{}').format(style, path, join(dots))


def _bands(frame: Frame, series: Sequence[Series], x_label: str) -> Iterable[Markup]:
    """An invisible strip at each x, whose title lists what the lines are worth there."""
    values = [dict(each.points) for each in series]
    xs = sorted({x for each in values for x in each})
    xs = xs[:: math.ceil(len(xs) / BANDS_UP_TO)]
    places = [frame.at_x(x) for x in xs]
    left, right = frame.left, frame.width - frame.right
    edges = [left, *((a + b) / 2 for a, b in pairwise(places)), right]
    for x, place, (start, end) in zip(xs, places, pairwise(edges), strict=True):
        found = [
            f"{printable(each.name)}: {frame.y_text(points[x])}"
            for each, points in zip(series, values, strict=True)
            if x in points
        ]
        yield Markup(
            '<g class="band"><title>{}</title><rect x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
            '<line x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/></g>'
        ).format(
            "\n".join([f"{x_label} {number(x)}", *found]),
            start, frame.top, max(end - start, 0.1), frame.inner_height,
            place, place, frame.top, frame.top + frame.inner_height,
        )  # fmt: skip


def _mark(frame: Frame, mark: Mark, row: int) -> Markup:
    """A vertical line that rises to its name above the drawing, each name on a line of its own."""
    x, y = frame.at_x(mark.x), MARK_ROW * (row + 1)
    fits = x + 5 + CHARACTER * len(mark.text) < frame.width
    anchor, offset = ("start", 5) if fits else ("end", -5)
    return Markup(
        '<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        '<text class="mark" x="{place:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'
    ).format(
        x=x, top=y - 10, bottom=frame.top + frame.inner_height, place=x + offset, y=y,
        anchor=anchor, text=printable(mark.text),
    )  # fmt: skip


def _bar(frame: Frame, bar: Bar, row: int, names: Sequence[str]) -> Markup:
    y = frame.top + ROW * row
    start, end = sorted((frame.at_x(0.0), frame.at_x(bar.value or 0.0)))
    text = frame.x_axis.text
    value_name, interval_name, *dot_names = names
    lines = [printable(bar.name), f"{value_name}: {_or_dash(frame.x_axis, bar.value)}"]
    lines += [f"{interval_name}: {text(bar.interval[0])} to {text(bar.interval[1])}"] if bar.interval else []
    lines += [f"{name}: {text(value)}" for name, value in zip(dot_names, bar.dots, strict=bar.value is not None)]
    parts = [
        Markup('<rect class="row" x="0" y="{}" width="{}" height="{}"/>').format(y, frame.width, ROW),
        Markup('<text class="name" x="{}" y="{}" text-anchor="end">{}</text>').format(
            frame.left - 8, y + 16, short(bar.name)
        ),
        Markup('<rect class="bar" x="{:.1f}" y="{}" width="{:.1f}" height="14"/>').format(start, y + 5, end - start),
        *(dot(frame.at_x(value), y + 12, index + 1) for index, value in enumerate(bar.dots)),
    ]
    if bar.interval:
        low, high = (frame.at_x(value) for value in bar.interval)
        whisker = '<path class="whisker" d="M{:.1f},{}v8m0,-4H{:.1f}m0,-4v8"/>'
        parts.append(Markup(whisker).format(low, y + 8, high))
    if bar.value is None:
        parts.append(Markup('<text class="name" x="{:.1f}" y="{}">–</text>').format(start + 4, y + 16))
    title = "\n".join([*lines, *([bar.note] if bar.note else [])])
    return Markup('<g class="tip"><title>{}</title>{}</g>').format(title, join(parts))


def _or_dash(axis: Axis, value: float | None) -> str:
    return "–" if value is None else axis.text(value)


def _bin(frame: Frame, each: Bin, total: int) -> Markup:
    (left, top), (right, bottom) = frame.at(each.low, each.accuracy), frame.at(each.high, 0)
    share = each.num_images / total
    title = (
        f"confidence {each.low:.0%} to {each.high:.0%}\n{each.num_images:,} images, {share:.1%}\n"
        f"mean confidence {each.confidence:.1%}\naccuracy {each.accuracy:.1%}"
    )
    return Markup(
        '<g class="tip"><title>{}</title><rect class="row" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
        '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        '<rect class="share" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/></g>'
    ).format(
        title, left, frame.top, right - left, frame.inner_height,
        left + 1, top, right - left - 2, bottom - top,
        left + (right - left) * 0.35, frame.at(0, share)[1], (right - left) * 0.3, bottom - frame.at(0, share)[1],
    )  # fmt: skip


def _line_legend(series: Sequence[Series]) -> Markup:
    if len(series) < 2:
        return Markup()
    keys = []
    for each in series:
        style = f"line c{each.colour % NUM_COLOURS}{' dashed' if each.dashed else ''}"
        keys.append((each.name, Markup('<path class="{}" d="M0,7H22"/>').format(style)))
    return legend(keys)


def _in_words(title: str, series: Sequence[Series], axis: Axis) -> str:
    ends = [
        f"{each.name} from {axis.text(each.points[0][1])} to {axis.text(each.points[-1][1])}"
        for each in series
        if each.points
    ]
    return f"{title}: {'; '.join(ends)}"
