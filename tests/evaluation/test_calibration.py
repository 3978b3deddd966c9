from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from cifarlab.evaluation.calibration import (
    TEMPERATURES,
    expected_calibration_error,
    fit_temperature,
    probabilities,
    reliability,
)
from cifarlab.evaluation.metrics import cross_entropy


def two_classes(confidences: list[float]) -> np.ndarray:
    """Logits that give class 0 these probabilities."""
    return np.log([[share, 1 - share] for share in confidences])


def test_calibration_error_by_hand() -> None:
    """Bin (0.6, 0.8]: 2 images, confidence 0.7, accuracy 0.5; bin (0.8, 1]: 2 images, 0.9, accuracy 1."""
    logits, labels = two_classes([0.65, 0.75, 0.85, 0.95]), np.array([0, 1, 0, 0])
    bins = reliability(logits, labels, num_bins=5)
    assert [each.num_images for each in bins] == [0, 0, 0, 2, 2]
    assert bins[3].confidence == pytest.approx(0.7) and bins[3].accuracy == 0.5
    assert bins[4].confidence == pytest.approx(0.9) and bins[4].accuracy == 1.0
    assert expected_calibration_error(bins) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it() -> None:
    """Two equal logits: probability exactly 0.5, the upper end of the first of two bins."""
    bins = reliability(np.zeros((1, 2)), np.array([0]), num_bins=2)
    assert [each.num_images for each in bins] == [1, 0]


def test_probability_one_belongs_to_the_last_bin() -> None:
    bins = reliability(np.array([[0.0, 1000.0]]), np.array([1]))
    assert len(bins) == 15 and bins[-1].num_images == 1
    assert expected_calibration_error(bins) == 0


def test_probabilities_that_mean_what_they_say_have_no_error() -> None:
    logits = two_classes([0.75] * 4)
    assert expected_calibration_error(reliability(logits, np.array([0, 0, 0, 1]))) == pytest.approx(0, abs=1e-12)


@given(st.integers(1, 60), st.integers(1, 5), st.floats(0.1, 10), st.integers(0, 2**32 - 1))
def test_every_image_is_in_one_bin(num_images: int, num_classes: int, temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = 3 * random.normal(size=(num_images, num_classes))
    bins = reliability(logits, random.integers(0, num_classes, num_images), temperature)
    assert sum(each.num_images for each in bins) == num_images
    assert all(each.low < each.confidence <= each.high + 1e-12 for each in bins if each.num_images)
    assert 0 <= expected_calibration_error(bins) <= 1


@given(st.floats(0.55, 0.98), st.floats(0.5, 4))
def test_temperature_has_a_closed_form_for_one_margin(share: float, margin: float) -> None:
    """All images have the margin m, a share p is right: sigmoid(m / T) = p is best."""
    right = round(1000 * share)
    logits = np.tile([margin, 0.0], (1000, 1))
    labels = np.repeat([0, 1], [right, 1000 - right])
    wanted = margin / math.log(right / (1000 - right))
    assert fit_temperature(logits, labels) == pytest.approx(np.clip(wanted, *TEMPERATURES), rel=1e-3)


def test_temperature_agrees_with_another_minimiser() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 10, 500)
    logits = 4 * random.normal(size=(500, 10))
    logits[np.arange(500), labels] += 5
    found = minimize(lambda t: cross_entropy(logits / t[0], labels), [1.0], method="Nelder-Mead", tol=1e-9)
    assert fit_temperature(logits, labels) == pytest.approx(found.x[0], rel=1e-4)


def test_temperature_of_a_perfect_classifier_stays_in_bounds() -> None:
    found = fit_temperature(np.array([[10.0, 0.0], [0.0, 10.0]]), np.array([0, 1]))
    assert TEMPERATURES[0] <= found < 1


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[1.0, 3.0, 2.0]])
    assert np.allclose(probabilities(logits, 2.0), probabilities(logits / 2))
    assert probabilities(logits).sum() == pytest.approx(1)


def test_nothing_to_calibrate_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        reliability(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="no images"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
