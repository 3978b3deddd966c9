from __future__ import annotations

import math
from itertools import pairwise

import pytest

from cifarlab.drawing.charts.description import LineChart, Mark, Series
from cifarlab.drawing.charts.text import ASCII, to_text


def chart(*series: Series, **options: object) -> LineChart:
    return LineChart("Title", "step", "loss", series, **options)  # type: ignore[arg-type]


def plot(lines: list[str], height: int = 12) -> list[str]:
    """The cells, without the axis and its labels."""
    return [line[line.index(next(mark for mark in "┤│" if mark in line)) + 1 :] for line in lines[1 : height + 1]]


RISING = Series("a", [(x, x) for x in range(1, 11)])


def test_a_rising_line_fills_every_column_once_from_the_bottom_left_to_the_top_right() -> None:
    cells = plot(to_text(chart(RISING), 40))
    columns = {column: row for row, line in enumerate(cells) for column, glyph in enumerate(line) if glyph == "•"}
    assert sorted(columns) == list(range(max(columns) + 1)) and max(columns) > 30
    assert list(dict(sorted(columns.items())).values()) == sorted(columns.values(), reverse=True)
    assert sum(line.count("•") for line in cells) == len(columns)


def test_a_logarithmic_axis_spreads_decades_evenly() -> None:
    points = [(10.0**power, 1.0 if power % 2 else 2.0) for power in range(-4, 1)]
    cells = plot(to_text(chart(Series("a", points, scattered=True), x_log=True), 60))
    columns = sorted(column for line in cells for column, glyph in enumerate(line) if glyph == "·")
    steps = [after - before for before, after in pairwise(columns)]
    assert len(columns) == 5 and max(steps) - min(steps) <= 1


def test_ticks_stand_where_their_values_are() -> None:
    lines = to_text(chart(Series("a", [(0, 0.0), (1, 1.0)]), y_limits=(0.0, 1.0)), 40, height=11)
    labelled = {row: line.split()[0] for row, line in enumerate(lines[1:12]) if "┤" in line}
    assert labelled == {0: "1", 2: "0.8", 4: "0.6", 6: "0.4", 8: "0.2", 10: "0"}


def test_what_lies_beyond_the_limits_is_cut_off() -> None:
    lines = to_text(chart(Series("a", [(0, 0.5), (1, 50.0), (2, math.nan)], scattered=True), y_limits=(0.0, 1.0)), 40)
    assert sum(line.count("·") for line in plot(lines)) == 1


def test_marks_and_series_are_named_and_told_apart() -> None:
    lines = to_text(chart(RISING, Series("b", [(1, 5.0)], scattered=True), marks=[Mark(5, "best: 5")]), 80)
    assert lines[-1] == "step:   • a   · b   ┊ best: 5"
    column = plot(lines)[0].index("┊")
    assert all(line[column] in "┊•·" for line in plot(lines))


def test_names_are_text() -> None:
    assert "\\x1b[31m" in to_text(chart(Series("\x1b[31m", [(1, 1.0), (2, 2.0)])), 80)[-1]


@pytest.mark.parametrize("width", [24, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = to_text(chart(RISING, marks=[Mark(3, "a mark with a long name")], x_log=True), width)
    assert lines and max(map(len, lines)) <= width


def test_nothing_is_drawn_without_points_or_room() -> None:
    assert to_text(chart(Series("a", [(1, math.nan)])), 80) == []
    assert to_text(chart(RISING), 12) == []


def test_other_terminals_get_ascii() -> None:
    points = [(10.0**power, 1.0 - power) for power in range(-6, 1)]
    text = "\n".join(to_text(chart(Series("a", points), marks=[Mark(1e-3, "here")], x_log=True), 60, glyphs=ASCII))
    assert text.isascii() and "*" in text and "1e-6" in text
