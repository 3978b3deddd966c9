"""How sure a number is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """The ends of a confidence interval, as fractions."""

    low: float
    high: float


def wilson(num_correct: int, num_images: int, confidence: float = 0.95) -> Interval:
    """The confidence interval of an accuracy; it never leaves 0..1 and works for 0 and for N of N.

    Wilson (1927), doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta (2001).
    Raises ValueError without images or for more correct than there are.
    """
    if not 0 <= num_correct <= num_images or num_images == 0:
        raise ValueError(f"{num_correct} correct of {num_images} images is impossible")
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_correct / num_images
    scale = 1 + z**2 / num_images
    centre = (share + z**2 / (2 * num_images)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / num_images + z**2 / (4 * num_images**2))
    # at the ends the formula gives exactly 0 and 1, but for rounding
    low = 0.0 if num_correct == 0 else centre - half
    high = 1.0 if num_correct == num_images else centre + half
    return Interval(low, high)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of one number per seed; ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"a standard deviation needs at least two values, found {len(values)}")
    return statistics.fmean(values), statistics.stdev(values)
