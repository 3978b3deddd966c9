"""Confidence intervals of accuracies, and tests of differences between them.

Everything is a closed formula or a root of one; nothing is drawn at random, so results repeat exactly.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtr, stdtrit

POWER = 0.8  # of the test in smallest_difference: the usual choice (J. Cohen, Statistical Power Analysis, 1988)


class Interval(NamedTuple):
    """The ends of a confidence interval, as fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class Welch:
    """The result of Welch's test: two means over seeds, the first minus the second."""

    difference: float
    interval: Interval
    degrees: float
    """Degrees of freedom by Welch and Satterthwaite, in general not a whole number."""
    p_value: float


def wilson(num_correct: int, num_images: int, confidence: float = 0.95) -> Interval:
    """Return the confidence interval of an accuracy: Wilson's, which stays within 0..1 and holds for 0 and N of N.

    Wilson (1927), doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta (2001), Statistical
    Science 16, 101-133. Raises ValueError without images or for more correct ones than there are.
    """
    if not 0 <= num_correct <= num_images or num_images == 0:
        raise ValueError(f"{num_correct} correct of {num_images} images is impossible")
    z = _normal_quantile((1 + confidence) / 2)  # two-sided: 1.96 for 95 %
    # All p with |share - p| <= z · sqrt(p (1 - p) / n): the standard error is that of p, not of the observed share,
    # which is 0 at 0 and N of N. The centre is pulled towards 1/2.
    share = num_correct / num_images
    scale = 1 + z**2 / num_images
    centre = (share + z**2 / (2 * num_images)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / num_images + z**2 / (4 * num_images**2))
    # At the ends the formula gives exactly 0 and 1, apart from rounding.
    low = 0.0 if num_correct == 0 else centre - half
    high = 1.0 if num_correct == num_images else centre + half
    return Interval(low, high)


def balanced_interval(num_correct: Sequence[int], num_images: Sequence[int], confidence: float = 0.95) -> Interval:
    """Return the confidence interval of the mean of the accuracies of several classes, each on images of its own.

    Newcombe's method, as Zou and Donner (2008), doi:10.1002/sim.3095, generalise it. For one class it is Wilson's
    interval.
    """
    # Squared distances from each accuracy to the ends of its Wilson interval stand for variances, so they add up; those
    # below and above separately, since the intervals are not symmetric.
    low = high = mean = 0.0
    for correct, total in zip(num_correct, num_images, strict=True):
        interval, share = wilson(correct, total, confidence), correct / total
        mean, low, high = mean + share, low + (share - interval.low) ** 2, high + (interval.high - share) ** 2
    num_classes = len(num_images)  # of the sums, to turn them into a mean
    return Interval(max(0.0, (mean - math.sqrt(low)) / num_classes), min(1.0, (mean + math.sqrt(high)) / num_classes))


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (n - 1) of one number per seed; ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"a standard deviation needs at least two values, found {len(values)}")
    return statistics.fmean(values), statistics.stdev(values)


def p_above(values: Sequence[float], target: float) -> float:
    """Return the one-sided p-value of the claim that the mean of all seeds is above `target`, from those that were run.

    Student's t-test (Student, 1908, doi:10.1093/biomet/6.1.1). Raises ValueError for fewer than two values.
    """
    mean, sd = mean_and_sd(values)
    # Without any spread there is no estimate of chance, so nothing is claimed.
    return float(stdtr(len(values) - 1, (target - mean) / sd * math.sqrt(len(values)))) if sd else 1.0


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value for two classifiers evaluated on the same images.

    only_first and only_second are the numbers of images that just one of the two gets right. McNemar (1947),
    doi:10.1007/BF02295996, with the exact binomial distribution instead of chi-square.
    """
    # If the classifiers were equally good, each such image would go to either with probability 1/2; images that both or
    # neither get right say nothing. Twice the smaller tail, which exceeds 1 where the two counts are equal.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def paired_interval(only_first: int, only_second: int, num_images: int, confidence: float = 0.95) -> Interval:
    """Return the confidence interval of the difference of two accuracies on the same images, consistent with `mcnemar`.

    It contains every difference that a test does not reject: 0 if mcnemar gives more than 1 - confidence, all others
    by the score test of Tango (1998), Statistics in Medicine 17, 891-908, whose interval is recommended by Fagerland,
    Lydersen and Laake (2014), doi:10.1002/sim.6148. So interval and p-value never contradict each other.
    Raises ValueError for more images that differ than there are.
    """
    if min(only_first, only_second, num_images - only_first - only_second) < 0 or num_images == 0:
        raise ValueError(f"{only_first} and {only_second} of {num_images} images is impossible")
    if only_second > only_first:
        low, high = paired_interval(only_second, only_first, num_images, confidence)
        return Interval(0.0 - high, 0.0 - low)  # not -high, which would print as -0.0
    z = _normal_quantile((1 + confidence) / 2)
    # The score test also for differences other than 0, because mcnemar's distribution takes the number of images that
    # differ as given, while that is chance too.
    low = _score_end(only_first, only_second, num_images, z)
    high = _score_end(only_first, only_second, num_images, -z)
    is_rejected = mcnemar(only_first, only_second) <= 1 - confidence
    # Near 0 the two tests may disagree. mcnemar decides, and the end is moved to 0 or just above (the smallest float).
    return Interval(max(low, math.ulp(0.0)) if is_rejected else min(low, 0.0), high)


def smallest_difference(share_differing: float, num_images: int, alpha: float = 0.05) -> float:
    """Return the difference of two accuracies that McNemar's test detects with probability POWER on so many images.

    share_differing is the fraction of images that exactly one of the two classifiers gets right. Connor (1987),
    doi:10.2307/2531957, gives the number of images for a difference; here it is solved for the difference. With fewer
    than 8 images no difference can be detected, and the result is 1.
    """
    z_alpha, z_power = _normal_quantile(1 - alpha / 2), _normal_quantile(POWER)
    if num_images < (z_alpha + z_power) ** 2:
        return 1.0
    # At least the smallest share with which any difference could be detected.
    share = max(share_differing, (z_alpha + z_power) ** 2 / num_images)
    # num_images d² = (z_alpha √share + z_power √(share - d²))², a quadratic equation in d
    root = z_power * math.sqrt(num_images + z_power**2 - z_alpha**2)
    return min(1.0, math.sqrt(share) * (z_alpha * math.sqrt(num_images) + root) / (num_images + z_power**2))


def welch(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Welch:
    """Compare the means of two groups of seeds whose variances may differ.

    Welch (1947), doi:10.1093/biomet/34.1-2.28. The interval excludes 0 exactly if the p-value is at most
    1 - confidence. Raises ValueError for a group of fewer than two.
    """
    (mean_1, sd_1), (mean_2, sd_2) = mean_and_sd(first), mean_and_sd(second)
    part_1, part_2 = sd_1**2 / len(first), sd_2**2 / len(second)
    difference, error = mean_1 - mean_2, math.sqrt(part_1 + part_2)
    # Without any spread in either group there is no estimate of chance, so nothing is claimed: p = 1, and the interval
    # holds every possible difference of two accuracies.
    if error == 0:
        return Welch(difference, Interval(-1.0, 1.0), len(first) + len(second) - 2, 1.0)
    degrees = (part_1 + part_2) ** 2 / (part_1**2 / (len(first) - 1) + part_2**2 / (len(second) - 1))
    # stdtrit and stdtr: quantile and distribution function of Student's t.
    half = error * float(stdtrit(degrees, (1 + confidence) / 2))
    p_value = 2 * float(stdtr(degrees, -abs(difference) / error))
    return Welch(difference, Interval(difference - half, difference + half), degrees, p_value)


def ratio_interval(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> tuple[float, Interval]:
    """Return the mean ratio of paired measurements, first to second, and its interval.

    The ratio is the geometric mean, by Student's t on the logarithms. Raises ValueError for fewer than two pairs.
    """
    mean, sd = mean_and_sd([math.log(a / b) for a, b in zip(first, second, strict=True)])
    half = float(stdtrit(len(first) - 1, (1 + confidence) / 2)) * sd / math.sqrt(len(first))
    return math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number: the chance of any false positive among them stays below the chosen level.

    They keep their order and are at most 1. Holm (1979), https://www.jstor.org/stable/4615733.
    """
    values: NDArray[np.float64] = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)  # n for the smallest p-value, n - 1 for the next, ...
    # The running maximum keeps a larger p-value from being adjusted to less than a smaller one.
    raised = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    adjusted: NDArray[Any] = np.empty_like(values)
    adjusted[order] = raised
    return [float(value) for value in adjusted]


def corrected_confidence(p_value: float, adjusted: float, level: float = 0.05) -> float:
    """Return the confidence level of an interval that is consistent with a p-value adjusted for the number of tests.

    Such an interval excludes 0 exactly if the adjusted p-value is at most `level`. It is wider than that of a single
    test: the chance that any of them wrongly excludes 0 is at most `level`.
    """
    # p / adjusted is the share of the level that Holm's method leaves to this test.
    return 1 - level * (p_value / adjusted if adjusted > 0 else 1.0)


def _score_end(only_first: int, only_second: int, num_images: int, z: float) -> float:
    """Return the difference in -1..1 at which Tango's score statistic, which decreases with it, is z."""

    def excess(difference: float) -> float:
        return _score(only_first, only_second, num_images, difference) - z

    from scipy.optimize import brentq  # here, because its import takes 0.3 s and few commands compare runs

    # The statistic is 0 at the estimate, so the lower end (z > 0) lies below it and the upper end above.
    estimate = (only_first - only_second) / num_images
    low, high = (-1.0, estimate) if z > 0 else (estimate, 1.0)
    if excess(low) <= 0:
        return low
    return high if excess(high) >= 0 else float(brentq(excess, low, high, xtol=1e-12))


def _score(only_first: int, only_second: int, num_images: int, difference: float) -> float:
    """Return by how many standard errors the counts exceed what a true difference predicts; Tango (1998), section 3.

    At a difference of 0 it is McNemar's statistic, (only_first - only_second) / sqrt(only_first + only_second).
    """
    distance = only_first - only_second - num_images * difference
    linear = (2 * num_images - only_first + only_second) * difference - only_first - only_second
    constant = only_second * difference * (1 - difference)
    # Maximum likelihood estimate, given this difference, of the share of images that only the second gets right: the
    # larger root of a quadratic equation.
    share = (math.sqrt(max(linear**2 + 8 * num_images * constant, 0.0)) - linear) / (4 * num_images)
    variance = num_images * (2 * share + difference * (1 - difference))
    if variance <= 0:  # at the ends -1 and 1, or without images that differ
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _normal_quantile(probability: float) -> float:
    return statistics.NormalDist().inv_cdf(probability)
