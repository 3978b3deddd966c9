"""Line charts in characters, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cifarlab.console import printable
from cifarlab.drawing.charts.axis import Axis
from cifarlab.drawing.charts.description import LineChart, Mark, Series

FEWEST_CELLS = 12
"""Columns of cells below which nothing can be seen in a chart."""


@dataclass(frozen=True)
class Glyphs:
    """The characters of a chart."""

    lines: str = "•◦▪▫"
    dot: str = "·"
    mark: str = "┊"
    tick: str = "┤"
    side: str = "│"
    corner: str = "└"
    floor: str = "─"
    below: str = "┬"
    minus: str = "−"


ASCII = Glyphs(lines="*o#=", dot=".", mark=":", tick="+", side="|", corner="+", floor="-", below="+", minus="-")
"""For terminals that know no others."""


def to_text(chart: LineChart, width: int, height: int = 12, glyphs: Glyphs = Glyphs()) -> list[str]:
    """Draw a chart in lines of at most `width` characters, of which `height` are for the lines of the chart.

    Empty where nothing can be drawn: no points, or too little room.
    """
    if chart.is_empty:
        return []
    x_axis, y_axis = chart.x_axis, chart.y_axis
    labels = {_row(y_axis, tick, height): _label(y_axis, tick, glyphs) for tick in y_axis.ticks}
    left = max(map(len, labels.values()), default=0)
    num_cells = width - left - 2  # a space and the axis
    if num_cells < FEWEST_CELLS:
        return []
    cells = [[" "] * num_cells for _ in range(height)]
    _draw_marks(cells, chart.marks, x_axis, glyphs.mark)
    # dots first, so that the lines of their means lie over them
    for number, line in sorted(enumerate(chart.lines), key=lambda each: not each[1].scattered):
        _draw(cells, line, x_axis, y_axis, glyphs.dot if line.scattered else _line_glyph(number, chart, glyphs))
    rows = [
        f"{labels.get(row, ''):>{left}} {glyphs.tick if row in labels else glyphs.side}{''.join(cells[row])}".rstrip()
        for row in range(height)
    ]
    legend = [
        f"{glyphs.dot if each.scattered else _line_glyph(number, chart, glyphs)} {printable(each.name)}"
        for number, each in enumerate(chart.series)
    ]
    legend += [f"{glyphs.mark} {printable(mark.text)}" for mark in chart.marks]
    indent = " " * (left + 1)
    return [
        chart.y_label,
        *rows,
        *(indent + line for line in _x_axis(x_axis, num_cells, glyphs)),
        *_packed([f"{chart.x_label}:", *legend] if chart.x_label else legend, width),
    ]


def _line_glyph(number: int, chart: LineChart, glyphs: Glyphs) -> str:
    """The glyph of a series by its place among those that are lines."""
    place = sum(not each.scattered for each in chart.series[:number])
    return glyphs.lines[place % len(glyphs.lines)]


def _row(axis: Axis, value: float, height: int) -> int:
    return round((1 - axis.share(value)) * (height - 1))


def _label(axis: Axis, tick: float, glyphs: Glyphs) -> str:
    return axis.text(tick).replace("−", glyphs.minus)


def _draw_marks(cells: list[list[str]], marks: Sequence[Mark], x_axis: Axis, glyph: str) -> None:
    for mark in marks:
        if x_axis.low <= mark.x <= x_axis.high:
            for row in cells:
                row[round(x_axis.share(mark.x) * (len(row) - 1))] = glyph


def _draw(cells: list[list[str]], line: Series, x_axis: Axis, y_axis: Axis, glyph: str) -> None:
    """Put a series into the cells; what lies beyond the y axis is cut off."""
    last = len(cells[0]) - 1
    places = [(x_axis.share(x) * last, y) for x, y in line.points]
    if not line.scattered:
        places = _each_column(places)
    for column, y in places:
        if y_axis.low <= y <= y_axis.high:
            cells[_row(y_axis, y, len(cells))][round(column)] = glyph


def _each_column(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of a line in every column between its ends, by linear interpolation."""
    found = [places[0]] if places else []
    for (x, y), (next_x, next_y) in pairwise(places):
        for column in range(round(x) + 1, round(next_x)):
            share = (column - x) / (next_x - x)
            found.append((column, y + share * (next_y - y)))
        found.append((next_x, next_y))
    return found


def _x_axis(axis: Axis, num_cells: int, glyphs: Glyphs) -> list[str]:
    """The axis with its ticks, and their labels as far as they have room."""
    floor, labels = [glyphs.floor] * num_cells, ""
    for tick in axis.ticks:
        column = round(axis.share(tick) * (num_cells - 1))
        text = _label(axis, tick, glyphs)
        start = min(max(column - len(text) // 2, 0), num_cells - len(text))
        if start >= len(labels) + (1 if labels else 0):
            floor[column] = glyphs.below
            labels = f"{labels:<{start}}{text}"
    return [glyphs.corner + "".join(floor), f" {labels}"]


def _packed(items: Sequence[str], width: int) -> list[str]:
    """Items side by side, in as many lines as they need."""
    lines = [items[0]] if items else []
    for item in items[1:]:
        if len(lines[-1]) + 3 + len(item) <= width:
            lines[-1] += f"   {item}"
        else:
            lines.append(item)
    return [line[:width] for line in lines]
