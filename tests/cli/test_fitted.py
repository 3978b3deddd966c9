"""Tables that fit: nothing is lost and nothing is wider than the terminal, however narrow that is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cifarlab.cli.fitted import Column, fitted, wrapped

COLUMNS = (
    Column("run"),
    Column("parameters", 2, "{} parameters", right=True),
    Column("accuracy", 1),
    Column("augmentation", 3, most=12),
)
ROWS = [
    ("resnet18-with-cutout-and-a-long-schedule", "11,173,962", "95.20 %\n(94.8 to 95.6)", "crops, flips, cutout"),
    ("b", "", "9.00 %", "none"),
]


def texts(width: int, groups: dict[str, list[tuple[str, ...]]] | None = None) -> list[str]:
    return [line.plain for line in fitted(COLUMNS, groups or {"": ROWS}, width)]


def test_with_enough_room_a_row_is_a_line_for_each_line_of_its_cells() -> None:
    assert texts(120) == [
        "run                                       parameters  accuracy        augmentation",
        "resnet18-with-cutout-and-a-long-schedule  11,173,962  95.20 %         crops,",
        "                                                      (94.8 to 95.6)  flips,",
        "                                                                      cutout",
        "b                                                  –  9.00 %          none",
    ]


def test_what_does_not_fit_follows_below_in_the_order_of_ranks() -> None:
    assert texts(40) == [
        "run                       accuracy",
        "resnet18-with-cutout-     95.20 %",
        "and-a-long-schedule       (94.8 to 95.6)",
        "  11,173,962 parameters",
        "  crops, flips, cutout",
        "b                         9.00 %",
        "  none",
    ]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    lines = texts(width, {"A heading that is longer than that\nwith a line": ROWS})
    assert max(map(cell_len, lines)) <= width
    shown = re.sub(r"\s", "", "".join(lines))
    for word in ("11,173,962", "95.20%", "9.00%"):
        assert word in shown


def test_headings_stand_above_their_rows_and_have_the_same_columns() -> None:
    lines = texts(120, {"First": ROWS[:1], "Second": ROWS[1:]})
    assert lines.index("First") < lines.index("Second") == len(lines) - 2
    assert lines[-1].index("9.00") == lines[0].index("accuracy")


def test_n56_control_characters_are_shown_and_counted() -> None:
    (_, row) = fitted((Column("a"), Column("b")), {"": [("\x1b[31m", "x")]}, 80)
    assert row.plain == "\\x1b[31m  x"


# Breaking names


def test_names_break_after_their_hyphens_beside_digits_too() -> None:
    assert wrapped("resnet18-imagenet-stem", 14) == ["resnet18-", "imagenet-stem"]
    assert wrapped("runs/timm:resnet18", 12) == ["runs/timm:", "resnet18"]
    assert wrapped("", 5) == [""]


def test_a_word_without_such_a_place_is_cut() -> None:
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]


def test_chinese_breaks_anywhere_but_not_before_its_commas_and_within_its_brackets() -> None:
    assert wrapped("准确率，见下。", 8) == ["准确率，", "见下。"]
    assert wrapped("相差 3.91 个百分点（1.33 到 6.54）", 20) == ["相差 3.91 个百分点", "（1.33 到 6.54）"]


@given(st.text("ab 轮批", max_size=60), st.integers(2, 20))
def test_lines_of_chinese_are_measured_in_columns(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.text("ab -/:_", max_size=60), st.integers(1, 20))
def test_nothing_is_lost_and_no_line_is_too_long(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
