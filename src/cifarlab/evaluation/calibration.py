"""Calibration: whether the images predicted with probability p are right in a share p of the cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from cifarlab.evaluation.metrics import Floats, Ints, check, cross_entropy, num_correct

NUM_BINS = 15  # as in Guo et al. (2017)
TEMPERATURES = (0.05, 20.0)  # bounds of the search

# Standard deviation of the prior on the logarithm of a temperature, whose mean is 0: 95 % of temperatures then lie
# between 0.38 and 2.7, as those of Guo et al. (2017) do. A thousand images outweigh it by far.
SPREAD = 0.5

# With fewer mistakes the probabilities are not sharpened. A coefficient of a logistic regression, which the temperature
# is, needs ten events (Peduzzi et al., 1996, J. Clin. Epidemiol. 49, 1373-1379); without any mistake, sharper would
# always fit better.
FEWEST_MISTAKES = 10


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability is in (low, high]: their number, mean highest probability and accuracy.

    An empty bin has confidence and accuracy 0.
    """

    low: float
    high: float
    num_images: int
    confidence: float
    accuracy: float


def probabilities(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the softmax of logits (N, C) divided by a temperature, float64 (N, C)."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=1), dtype=np.float64)


def reliability(logits: Floats, labels: Ints, temperature: float = 1.0, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """Sort images by highest probability into bins of equal width, the bars of a reliability diagram."""
    check(logits, labels)
    confidence = probabilities(logits, temperature).max(axis=1)
    right = logits.argmax(axis=1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    # side="left" closes bins on the right, (low, high]; a probability of exactly 0 would get bin -1, hence the clip.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    count = np.bincount(place, minlength=num_bins)
    mean_confidence = np.bincount(place, confidence, num_bins) / np.maximum(count, 1)
    mean_right = np.bincount(place, right, num_bins) / np.maximum(count, 1)
    columns = (edges[:-1], edges[1:], count, mean_confidence, mean_right)
    return tuple(Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean distance between probability and accuracy, bins weighted by their images; 0 is perfect.

    Guo et al. (2017), https://arxiv.org/abs/1706.04599, equation 3.
    """
    total = sum(each.num_images for each in bins)
    return sum(each.num_images * abs(each.accuracy - each.confidence) for each in bins) / total


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the temperature with the highest posterior probability given these images, from val, never from test.

    With many images that is the one with the lowest cross-entropy, as in Guo et al. (2017), section 4.2. With few,
    which would be fitted to chance, it stays near 1 (SPREAD), and at or above 1 if there are hardly any mistakes to
    learn from (FEWEST_MISTAKES).
    """
    check(logits, labels)

    def loss(log_temperature: float) -> float:
        """The negative logarithm of the posterior, up to a constant."""
        likelihood = len(labels) * cross_entropy(logits / math.exp(log_temperature), labels)
        return likelihood + (log_temperature / SPREAD) ** 2 / 2

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    # Accuracy does not depend on the temperature, so the mistakes can be counted on the raw logits.
    num_mistakes = len(labels) - num_correct(logits, labels)
    return max(float(math.exp(found.x)), 1.0 if num_mistakes < FEWEST_MISTAKES else 0.0)
