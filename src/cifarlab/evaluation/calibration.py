"""Whether probabilities mean what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from cifarlab.evaluation.metrics import Floats, Ints, check, cross_entropy

NUM_BINS = 15
"""As in Guo et al. (2017)."""
TEMPERATURES = (0.05, 20.0)
"""Where the temperature is sought; the loss of a perfect or hopeless classifier has no minimum of its own."""


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability lies in (low, high]: their number, mean probability and accuracy.

    An empty bin has confidence and accuracy 0.
    """

    low: float
    high: float
    num_images: int
    confidence: float
    accuracy: float


def probabilities(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """The softmax of logits divided by a temperature, (N, C)."""
    return np.asarray(softmax(logits.astype(np.float64) / temperature, axis=1), dtype=np.float64)


def reliability(logits: Floats, labels: Ints, temperature: float = 1.0, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """Sort images by highest probability into bins of equal width: the bars of a reliability diagram."""
    check(logits, labels)
    confidence = probabilities(logits, temperature).max(axis=1)
    right = logits.argmax(axis=1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    count = np.bincount(place, minlength=num_bins)
    mean_confidence = np.bincount(place, confidence, num_bins) / np.maximum(count, 1)
    mean_right = np.bincount(place, right, num_bins) / np.maximum(count, 1)
    columns = (edges[:-1], edges[1:], count, mean_confidence, mean_right)
    return tuple(Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """The mean distance between probability and accuracy, bins weighted by their images; 0 is perfect.

    Guo et al. (2017), https://arxiv.org/abs/1706.04599, equation 3.
    """
    total = sum(each.num_images for each in bins)
    return sum(each.num_images * abs(each.accuracy - each.confidence) for each in bins) / total


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The temperature with the lowest cross-entropy on these images: those of val, never those of test.

    Guo et al. (2017), section 4.2. Sought within TEMPERATURES.
    """
    check(logits, labels)

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits / math.exp(log_temperature), labels)

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(math.exp(found.x))
