"""Where ticks stand and how numbers read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.drawing.charts.axis import Axis, number
from cifarlab.drawing.charts.svg_parts import Frame

values = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5)


def close(found: list[float], wanted: list[float]) -> bool:
    return found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (1, 20, [5, 10, 15, 20]),
        (-0.06, 0.04, [-0.06, -0.04, -0.02, 0, 0.02, 0.04]),
        (0.31, 2.1, [0.5, 1, 1.5, 2]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert close(Axis(low, high).ticks, ticks)


def test_counted_things_have_no_tick_between_them() -> None:
    assert close(Axis.along([1, 2, 3]).ticks, [1, 2, 3])
    assert close(Axis.along([1]).ticks, [0, 1, 2])
    assert close(Axis.along([1, 2.5]).ticks, [1, 1.5, 2, 2.5])


def test_logarithmic_ticks_are_powers_of_ten() -> None:
    assert close(Axis.along([1e-5, 1], log=True).ticks, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert close(Axis.along([2, 5], log=True).ticks, [2, 5])
    axis = Axis(1e-4, 1, log=True)
    assert [axis.share(value) for value in (1e-4, 1e-2, 1, 0)] == pytest.approx([0, 0.5, 1, 0])


@given(values, st.booleans(), st.booleans())
def test_any_values_lie_on_their_axis_and_have_ticks(found: list[float], percent: bool, along: bool) -> None:
    axis = Axis.along(found) if along else Axis.around(found, percent=percent)
    assert axis.low < axis.high
    assert all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value in found)
    assert 1 <= len(axis.ticks) <= 12
    assert all(-1e-6 <= axis.share(tick) <= 1 + 1e-6 for tick in axis.ticks)


def test_there_is_no_room_beyond_nothing_and_everything() -> None:
    axis = Axis.around([0.3, 1.0], percent=True)
    assert axis.high == 1 and 0 < axis.low < 0.3
    assert Axis.around([0.0, 3.0]).low == 0
    assert Axis.around([-0.2, 0.1], percent=True).low == pytest.approx(-0.212)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.001, "0.001"),
        (1e-5, "1e−5"),
        (-0.25, "−0.25"),
        (12345.6, "12,346"),
        (1234567.0, "1,234,567"),
        (1e12, "1e12"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_fractions_are_shown_as_percent() -> None:
    assert [Axis(0, 1, percent=True).text(value) for value in (0.5, 0.123456)] == ["50 %", "12.35 %"]


def test_a_frame_puts_the_low_end_at_the_lower_left() -> None:
    frame = Frame(Axis(1, 3), Axis(0, 10), 200, 100, left=20, right=30, top=10, bottom=40)
    assert frame.at(1, 0) == (20, 60) and frame.at(3, 10) == (170, 10) and frame.at(2, 5) == (95, 35)
    assert math.isclose(frame.at_x(1.5), 57.5)
