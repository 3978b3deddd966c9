from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from cifarlab.evaluation.calibration import (
    FEWEST_MISTAKES,
    SPREAD,
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


@given(st.floats(0.65, 0.95), st.floats(0.5, 2.0))
def test_temperature_has_a_closed_form_for_one_margin(share: float, temperature: float) -> None:
    """All images have the margin m, a share p is right: sigmoid(m / T) = p is best. 10,000 images outweigh what was
    known before.
    """
    right = round(10_000 * share)
    margin = temperature * math.log(right / (10_000 - right))
    logits = np.tile([margin, 0.0], (10_000, 1))
    labels = np.repeat([0, 1], [right, 10_000 - right])
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.02)


def test_temperature_agrees_with_another_minimiser() -> None:
    labels, logits = np.random.default_rng(1).integers(0, 10, 500), 4 * np.random.default_rng(2).normal(size=(500, 10))
    logits[np.arange(500), labels] += 5

    def surprise(temperature: np.ndarray) -> float:
        return 500 * cross_entropy(logits / temperature[0], labels) + math.log(temperature[0]) ** 2 / (2 * SPREAD**2)

    found = minimize(surprise, [1.0], method="Nelder-Mead", tol=1e-9)
    assert fit_temperature(logits, labels) == pytest.approx(found.x[0], rel=1e-4)


def small_set(num_images: int, margin: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes as a small network gives them, right the more often the larger the margin."""
    labels = random.integers(0, 3, num_images)
    logits = 2 * random.normal(size=(num_images, 3))
    logits[np.arange(num_images), labels] += margin
    return logits, labels


@pytest.mark.parametrize("seed", range(10))
def test_n33_a_perfect_validation_part_never_makes_the_test_worse(seed: int) -> None:
    """Ten small sets whose validation part is all right, by being easier than the test or by chance."""
    random = np.random.default_rng(seed)
    num_images = int(random.integers(2, 60))
    logits, labels = small_set(num_images, 9.0, random)
    perfect = logits.argmax(1) == labels
    temperature = fit_temperature(logits[perfect], labels[perfect])
    test_logits, test_labels = small_set(400, 4.0, random)
    assert 0.6 < (test_logits.argmax(1) == test_labels).mean() < 0.95
    with_temperature = cross_entropy(test_logits / temperature, test_labels)
    assert with_temperature <= cross_entropy(test_logits, test_labels)


@given(st.integers(1, 300), st.floats(0.01, 30), st.integers(0, FEWEST_MISTAKES - 1), st.integers(0, 2**32 - 1))
def test_n33_with_few_mistakes_probabilities_are_not_made_surer(
    num_images: int, margin: float, num_mistakes: int, seed: int
) -> None:
    logits, labels = small_set(num_images, 0.0, np.random.default_rng(seed))
    labels = logits.argmax(1)
    logits[np.arange(num_images), labels] += margin
    labels[:num_mistakes] = (labels[:num_mistakes] + 1) % 3
    assert 1.0 <= fit_temperature(logits, labels) <= TEMPERATURES[1]


def test_n33_no_temperature_at_all_without_a_mistake() -> None:
    assert fit_temperature(np.array([[10.0, 0.0], [0.0, 10.0]]), np.array([0, 1])) == 1.0


def test_n33_one_sure_mistake_of_few_images_is_no_proof_of_much() -> None:
    """The lowest cross-entropy of 9 right and 1 wrong at a margin of 20 lies at a temperature of 9.1."""
    logits, labels = np.tile([20.0, 0.0], (10, 1)), np.array([0] * 9 + [1])
    assert 1.0 < fit_temperature(logits, labels) < 5.0


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_n33_many_images_give_the_lowest_cross_entropy(factor: float) -> None:
    """What 5,000 images of ten classes lose by what was known before is less than a millionth."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 5000)
    logits = 2 * random.normal(size=(5000, 10))
    logits[np.arange(5000), labels] += 4
    logits *= factor
    losses = [cross_entropy(logits / temperature, labels) for temperature in np.geomspace(0.1, 10, 4000)]
    assert cross_entropy(logits / fit_temperature(logits, labels), labels) < min(losses) + 1e-6


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[1.0, 3.0, 2.0]])
    assert np.allclose(probabilities(logits, 2.0), probabilities(logits / 2))
    assert probabilities(logits).sum() == pytest.approx(1)


def test_nothing_to_calibrate_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        reliability(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="no images"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
