from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from cifarlab.evaluation.statistics import mean_and_sd, wilson


@pytest.mark.parametrize(
    ("num_correct", "num_images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_of_newcombe(num_correct: int, num_images: int, low: float, high: float) -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3."""
    found = wilson(num_correct, num_images)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 50_000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy_and_holds_the_accuracy(num_images: int, share: float, confidence: float) -> None:
    num_correct = round(share * num_images)
    found = wilson(num_correct, num_images, confidence)
    wanted = binomtest(num_correct, num_images).proportion_ci(confidence, method="wilson")
    assert found == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert 0 <= found.low <= num_correct / num_images <= found.high <= 1


def test_wilson_is_symmetric_and_exact_at_the_ends() -> None:
    assert wilson(0, 1).low == 0 and wilson(1, 1).high == 1
    assert wilson(3, 10).low == pytest.approx(1 - wilson(7, 10).high)


@pytest.mark.parametrize(("num_correct", "num_images"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(num_correct: int, num_images: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        wilson(num_correct, num_images)


def test_mean_and_sample_deviation() -> None:
    assert mean_and_sd([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx((5, math.sqrt(32 / 7)))


def test_one_seed_has_no_deviation() -> None:
    with pytest.raises(ValueError, match="at least two"):
        mean_and_sd([0.9])
