from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.recipe.duration import duration_steps, parse_duration, part_of, training_steps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 epochs", (5.0, "epoch")),
        ("1 epoch", (1.0, "epoch")),
        ("0.5epochs", (0.5, "epoch")),
        ("100 steps", (100.0, "step")),
        ("1 step", (1.0, "step")),
        ("10 %", (10.0, "%")),
        ("2.5%", (2.5, "%")),
    ],
)
def test_parse_duration_reads_every_unit(text: str, expected: tuple[float, str]) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "epochs", "-1 epochs", "5 minutes", "5  epochs", "1e3 steps", "5 epochs ", "nan steps"]
)
def test_c03_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration reads"):
        parse_duration(text)


def test_c03_an_infinite_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="a duration reads") as caught:
        parse_duration("9" * 400 + " steps")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("text", "steps"), [("2 epochs", 20), ("0.25 epochs", 3), ("7 steps", 7), ("10 %", 40), ("100 %", 400)]
)
def test_duration_steps_resolves_against_epoch_and_total(text: str, steps: int) -> None:
    assert duration_steps(text, steps_per_epoch=10, total_steps=400) == steps


@pytest.mark.parametrize(
    ("epochs", "per_epoch", "steps"), [(0.07, 100, 7), (1.1, 10, 11), (0.29, 100, 29), (1e-9, 5, 1), (2, 7, 14)]
)
def test_n38_a_training_has_the_steps_that_were_typed(epochs: float, per_epoch: int, steps: int) -> None:
    assert training_steps(epochs, per_epoch) == steps


@given(st.integers(1, 10**6), st.integers(0, 6), st.integers(1, 10**4))
def test_n38_steps_are_rounded_as_decimals_are(digits: int, places: int, count: int) -> None:
    """Against the decimal arithmetic of the standard library."""
    typed = Decimal(digits).scaleb(-places)
    amount = typed * count
    assert training_steps(float(typed), count) == amount.to_integral_value(ROUND_CEILING)
    assert part_of(float(typed), count) == amount.to_integral_value(ROUND_HALF_UP)
    assert duration_steps(f"{typed:f} epochs", count, 1) == amount.to_integral_value(ROUND_HALF_UP)
    percent = amount / 100
    assert duration_steps(f"{typed:f} %", 1, count) == percent.to_integral_value(ROUND_HALF_UP)


@given(st.integers(0, 10**6), st.integers(1, 10**4), st.integers(1, 10**4))
def test_epochs_are_a_multiple_of_the_steps_of_one(amount: int, per_epoch: int, total: int) -> None:
    assert duration_steps(f"{amount} epochs", per_epoch, total) == amount * per_epoch
    assert duration_steps(f"{amount} steps", per_epoch, total) == amount
