"""Charts as PNG for papers and slides: legible at 9 cm wide, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter
from PIL import Image

from cifarlab.console import printable
from cifarlab.drawing.charts.description import (
    GAMMA,
    NUM_COLOURS,
    NUMBERED_UP_TO,
    BarChart,
    Chart,
    LineChart,
    Matrix,
    Reliability,
)
from cifarlab.drawing.fonts import families, legible
from cifarlab.drawing.wording import short
from cifarlab.files import write_atomic
from cifarlab.language import tr

COLOURS = ("#0072b2", "#d55e00", "#007a59", "#a9497f", "#9a6a00", "#3a8fc4", "#4d4d4d")
"""c0 to c6 of page.html in light mode: blue and vermilion of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/,
which colour-blind readers can tell apart, a darker form of their other colours, and grey."""
GREY = COLOURS[NUM_COLOURS - 1]
BAR, INK = "#86b8d9", "#1d2125"
"""A light blue that dots and lines stand out from, and the colour of those lines."""
MAP = "Blues"
"""One hue from light to dark, for colour-blind readers and for print in grey."""
DARK = 0.715
"""From here on along the map, white text has more contrast than black."""
SHAPES = ("o", "s", "D")
"""Circle, square and diamond by colour, the same as on the page."""
DASHES = (":", (0, (6, 2, 1, 2)), (0, (6, 2)))
"""Lines of marks, one after the other: a run has up to three."""
DOTS_UP_TO = 20
"""Points of a line that each get a dot: half as many as on the page, because a panel is half as wide."""
BAR_NAME_LIMIT = 32
"""Characters of a name beside a bar, so that those of a recipe's values fit: "augmentation.mix_probability"."""
DOT_STEP = 0.46
"""Distance of the dots in a row of a bar chart, in rows, as on the page."""
DPI = 200
"""A chart of 3.6 inches is printed 9 cm wide with 200 dots per inch."""


def write_png(charts: Sequence[Chart], path: Path) -> None:
    """Draw charts side by side into a PNG file; raises MachineError when the disk is full or read-only."""
    content, canvas = io.BytesIO(), FigureCanvasAgg(draw(charts))
    canvas.draw()  # type: ignore[no-untyped-call]  # once; savefig would lay out and draw everything twice
    # by Pillow, whose files do not name a version: the same numbers give the same file
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).convert("RGB").save(content, "PNG", dpi=(DPI, DPI))
    write_atomic(path, content.getvalue())


def draw(charts: Sequence[Chart]) -> Drawing:
    """Draw charts side by side.

    Their titles are left out, because papers and slides have captions; only a reliability diagram keeps its own, which
    contains the calibration error.
    """
    sizes = [_size(chart, alone=len(charts) == 1) for chart in charts]
    widths = [width for width, _ in sizes]
    drawing = Drawing(
        figsize=(sum(widths), max(height for _, height in sizes)), layout=ConstrainedLayoutEngine(w_pad=0.1), dpi=DPI
    )  # not by pyplot, which would keep every figure in global state
    panels = drawing.subplots(1, len(charts), squeeze=False, width_ratios=widths)[0]
    line_panels: list[tuple[Axes, LineChart]] = []
    for axes, chart in zip(panels, charts, strict=True):
        match chart:
            case LineChart():
                _draw_lines(axes, chart)
                line_panels.append((axes, chart))
            case BarChart():
                _draw_bars(axes, chart)
            case Matrix():
                _draw_matrix(axes, chart)
            case Reliability():
                _draw_reliability(axes, chart)
    _name_lines(line_panels)
    for text in drawing.findobj(Text):
        text.set_fontfamily(families(text.get_text()))
    return drawing


def _size(chart: Chart, *, alone: bool) -> tuple[float, float]:
    """Width and height in inches."""
    match chart:
        case LineChart():
            return (5.6, 3.4) if alone else (3.2, 2.9)
        case BarChart():
            return 6.4, min(24.0, 1.1 + 0.3 * len(chart.bars))
        case Matrix():
            side = min(12.0, 2.6 + 0.42 * len(chart.names))
            return side + 0.8, side  # with the colour bar
        case Reliability():
            return 3.6, 3.6


def _draw_lines(axes: Axes, chart: LineChart) -> None:
    axes.set_xlabel(_plain(chart.x_label))
    axes.set_ylabel(_plain(chart.y_label))
    _add_grid(axes)
    if chart.is_empty:
        axes.text(0.5, 0.5, _plain(tr("There is nothing to draw.")), ha="center", transform=axes.transAxes, color=GREY)
        return
    for each in chart.lines:
        dots = "." if each.scattered else "o" if len(each.points) <= DOTS_UP_TO else ""
        axes.plot(
            [x for x, _ in each.points],
            [y for _, y in each.points],
            linestyle="" if each.scattered else "--" if each.dashed else "-",
            marker=dots,
            markersize=3,
            linewidth=1.4,
            color=COLOURS[each.colour % NUM_COLOURS],
            alpha=0.4 if each.scattered else 1,
            clip_on=chart.y_limits is not None,  # clipping would halve the dots on an edge
        )
    for place, mark in enumerate(chart.marks):
        axes.axvline(mark.x, color=GREY, linestyle=DASHES[place % len(DASHES)], linewidth=1)
    x_axis, y_axis = chart.x_axis, chart.y_axis
    if x_axis.log:
        axes.set_xscale("log")  # with matplotlib's own ticks, which write powers of ten as such
    else:
        axes.set_xticks(x_axis.ticks, [x_axis.text(value) for value in x_axis.ticks])
    axes.set_yticks(y_axis.ticks, [y_axis.text(value) for value in y_axis.ticks])
    axes.set_ylim(y_axis.low, y_axis.high)  # after the ticks, which may widen the limits
    axes.autoscale(axis="x")  # with a margin, or the mark of a last epoch would be hidden by the edge


def _name_lines(panels: Sequence[tuple[Axes, LineChart]]) -> None:
    """Name lines in the first panel that has them, and marks in the second: each name once, and no legend is long."""
    named: set[str] = set()
    for place, (axes, chart) in enumerate(panels):
        lines, marks = axes.lines[: len(chart.series)], axes.lines[len(chart.series) :]
        keys: list[tuple[Artist, str]] = []
        if chart.needs_legend:
            found = [(line, each.name) for line, each in zip(lines, chart.series, strict=False)]
            keys += [(line, name) for line, name in found if name not in named]
            named |= {name for _, name in found}
        if place == min(1, len(panels) - 1):
            keys += [(line, mark.text) for line, mark in zip(marks, chart.marks, strict=False)]
        if keys:
            handles, names = [handle for handle, _ in keys], [_plain(name) for _, name in keys]
            # On white, since a marked epoch often lies behind it.
            axes.legend(handles, names, fontsize=8, edgecolor="none", framealpha=0.9)


def _draw_bars(axes: Axes, chart: BarChart) -> None:
    places = range(len(chart.bars))
    shown = [(place, bar) for place, bar in enumerate(chart.bars) if bar.value is not None]
    if chart.points:
        for place, bar in shown:
            colour = COLOURS[0] if bar.is_certain else GREY
            axes.plot([bar.value or 0.0], [place], "o", color=colour, markersize=5)
            axes.plot(bar.interval or (), [place] * len(bar.interval or ()), color=colour, linewidth=1.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)  # 0 is the line to compare with
    else:
        values = [bar.value or 0.0 for bar in chart.bars]
        axes.barh(places, values, color=BAR, height=0.62, label=_plain(chart.value_name))
        ranges = [(place, *bar.interval) for place, bar in enumerate(chart.bars) if bar.interval]
        if ranges:
            rows, lows, highs = zip(*ranges, strict=True)
            axes.hlines(rows, lows, highs, color=INK, linewidth=1, label=_plain(chart.interval_name))
    for number, name in enumerate(chart.dot_names):
        values = [bar.dots[number] for _, bar in shown]
        axes.scatter(
            values,
            [place + DOT_STEP * (number - (len(chart.dot_names) - 1) / 2) for place, _ in shown],
            color=COLOURS[(number + 1) % NUM_COLOURS],
            marker=SHAPES[(number + 1) % len(SHAPES)],
            s=16,
            zorder=3,  # above the bars and their intervals
            clip_on=False,  # precision and recall are often 100 %, at the edge
            label=_plain(name),
        )
    for place, bar in enumerate(chart.bars):
        if bar.value is None:
            axes.text(0, place, _plain(f" – ({bar.note})" if bar.note else " –"), va="center", color=GREY)
    names = [_plain(short(bar.name, BAR_NAME_LIMIT)) for bar in chart.bars]
    axes.set_yticks(places, names, fontsize=_name_size(len(names)))
    axes.set_ylim(len(chart.bars) - 0.4, -0.6)  # the first bar at the top
    axis = chart.axis
    axes.set_xticks(axis.ticks, [axis.text(value) for value in axis.ticks])
    axes.set_xlim(axis.low, axis.high)
    axes.set_xlabel(_plain(chart.x_label))
    _add_grid(axes)
    if axis.low < 0:
        axes.axvline(0, color="#808080", linewidth=0.8)
    if chart.dot_names:
        axes.legend(frameon=False, ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))


def _draw_matrix(axes: Axes, chart: Matrix) -> None:
    num_classes, shares = len(chart.names), chart.shares
    image = axes.imshow(shares, cmap=MAP, norm=PowerNorm(GAMMA, 0, 1))  # 0 to 1 always: matrices can be compared
    axes.set_xlabel(_plain(tr("prediction")))
    axes.set_ylabel(_plain(tr("label")))
    shown = range(0, num_classes, math.ceil(num_classes / 100))  # a hundred lines of small type fill the height
    names, size = [_plain(short(chart.names[index])) for index in shown], _name_size(num_classes)
    axes.set_xticks(list(shown), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(list(shown), names, fontsize=size)
    axes.tick_params(length=2)  # short, since every class has one
    if num_classes <= NUMBERED_UP_TO:
        size = 9 if chart.counts.max(initial=0) < 10_000 else 7  # five digits are wider than a cell in 9 pt
        for (row, column), count in np.ndenumerate(chart.counts):
            if count:
                colour = "white" if shares[row, column] ** GAMMA > DARK else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    bar.ax.minorticks_off()  # a PowerNorm's scale would put them at places that mean nothing
    bar.set_label(_plain(tr("share of the label's images")))


def _draw_reliability(axes: Axes, chart: Reliability) -> None:
    # Bins have equal widths; 6 % of them is left as a gap between bars.
    middles, width = [(each.low + each.high) / 2 for each, _ in chart.filled], 0.94 / len(chart.bins)
    accuracy = _plain(tr("accuracy"))
    axes.bar(middles, [each.accuracy for each, _ in chart.filled], width, color=BAR, label=accuracy)
    axes.bar(
        middles, [share for _, share in chart.filled], 0.35 * width, color=GREY, label=_plain(tr("share of images"))
    )
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label=_plain(tr("perfect")))
    axes.set(xlabel=_plain(tr("confidence")), ylabel=accuracy, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_title(_plain(chart.title), fontsize=9)  # 9 pt is the largest size at which two titles fit side by side
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    _add_grid(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper left")  # above the diagonal, where there are few bars


def _name_size(num_names: int) -> float:
    """Font size of names beside an axis, in points."""
    return 10 if num_names <= NUMBERED_UP_TO else max(5.0, 10 - num_names / 20)


def _add_grid(axes: Axes) -> None:
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """Text from a recipe or the data as matplotlib shows it letter by letter: a dollar sign would start a formula."""
    return legible(printable(text)).replace("$", r"\$")
