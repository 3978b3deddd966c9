from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm, t, ttest_ind

from cifarlab.evaluation.statistics import (
    Welch,
    balanced_interval,
    corrected_confidence,
    holm,
    mcnemar,
    mean_and_sd,
    p_above,
    paired_interval,
    ratio_interval,
    smallest_difference,
    welch,
    wilson,
)


@pytest.mark.parametrize(
    ("num_correct", "num_images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_of_newcombe(num_correct: int, num_images: int, low: float, high: float) -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3."""
    found = wilson(num_correct, num_images)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_n17_the_interval_of_one_class_is_wilson_s_and_of_two_newcombe_s() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339.

    The difference of two shares is their sum with the second one's complement.
    """
    assert balanced_interval([7], [10]) == pytest.approx(wilson(7, 10))
    low, high = balanced_interval([56, 80 - 48], [70, 80])
    assert (round(2 * low - 1, 4), round(2 * high - 1, 4)) == (0.0524, 0.3339)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=6))
def test_n17_the_balanced_interval_holds_the_balanced_accuracy(classes: list[tuple[int, int]]) -> None:
    totals, correct = [total for total, _ in classes], [min(right, total) for total, right in classes]
    low, high = balanced_interval(correct, totals)
    mean = sum(right / total for right, total in zip(correct, totals, strict=True)) / len(totals)
    assert 0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1


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


@pytest.mark.parametrize(
    ("values", "target", "p_value"),
    [
        ([0.94, 0.942, 0.939, 0.943], 0.94, 0.176694),
        ([0.94, 0.942, 0.939, 0.943], 0.945, 0.988997),
        ([0.9, 0.9, 0.9], 0.8, 1.0),
    ],
)
def test_the_claim_that_a_mean_is_above_a_target(values: list[float], target: float, p_value: float) -> None:
    assert p_above(values, target) == pytest.approx(p_value, rel=1e-4)


# Two classifiers on the same images


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(86, 150, 3.716e-05), (121, 59, 4.434e-06), (0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (0, 6, 0.03125)],
)
def test_mcnemar_of_textbooks(only_first: int, only_second: int, p_value: float) -> None:
    """Agresti (1990), page 350, approval of a president, with the exact p-value that R's exact2x2 gives; the table
    with 121 and 59 from the article on the test in Wikipedia, with the p-value of statsmodels; and powers of one half.
    """
    assert mcnemar(only_first, only_second) == pytest.approx(p_value, rel=2e-4)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_a_binomial_test_and_takes_no_side(only_first: int, only_second: int) -> None:
    found = mcnemar(only_first, only_second)
    assert found == mcnemar(only_second, only_first)
    if only_first + only_second:
        assert found == pytest.approx(binomtest(only_first, only_first + only_second).pvalue, rel=1e-9)


def test_paired_interval_of_tango() -> None:
    """Tango (1998) and Fagerland, Lydersen and Laake (2014), table 2, airways of 21 children: -0.517 to -0.026.

    McNemar's exact p-value is 0.07 there, so 0 belongs to the interval that goes with it.
    """
    low, high = paired_interval(1, 7, 21)
    assert (round(low, 3), high) == (-0.517, 0.0)
    low, high = paired_interval(10, 70, 210)  # ten times as many
    assert -0.517 < low < (10 - 70) / 210 < high < -0.026


@pytest.mark.parametrize("num_images", [1, 2, 5, 6, 9, 17, 30])
@pytest.mark.parametrize("confidence", [0.95, 0.9, 0.99, 0.9999])
def test_n34_the_interval_excludes_zero_exactly_where_the_test_rejects(num_images: int, confidence: float) -> None:
    """All tables of so many images; at 99.99 % the exact test is the less cautious of the two."""
    for only_first in range(num_images + 1):
        for only_second in range(num_images + 1 - only_first):
            low, high = paired_interval(only_first, only_second, num_images, confidence)
            assert (low <= 0 <= high) == (mcnemar(only_first, only_second) > 1 - confidence)
            assert -1 <= low <= (only_first - only_second) / num_images <= high <= 1
            mirrored = paired_interval(only_second, only_first, num_images, confidence)
            assert mirrored == pytest.approx((-high, -low), abs=1e-11)


def test_n34_five_images_to_none_are_no_difference() -> None:
    assert mcnemar(5, 0) == 0.0625
    assert paired_interval(5, 0, 300).low == 0
    assert paired_interval(6, 0, 300).low > 0


@settings(max_examples=50)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 10_000), st.floats(0.5, 0.9999))
def test_n34_large_counts_agree_too(only_first: int, only_second: int, both: int, confidence: float) -> None:
    num_images = max(1, only_first + only_second + both)
    low, high = paired_interval(only_first, only_second, num_images, confidence)
    assert (low <= 0 <= high) == (mcnemar(only_first, only_second) > 1 - confidence)
    assert low <= (only_first - only_second) / num_images <= high


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.0), (0.1, 0.0), (0.1, 0.05), (0.1, 0.1), (0.3, 0.2)])
@pytest.mark.parametrize("num_images", [30, 100])
def test_n34_the_interval_holds_the_true_difference_in_about_95_of_100_cases(
    first: float, second: float, num_images: int
) -> None:
    """The exact probability, summed over all tables. Given the number that differ it would be 0.49 for the first."""
    held = 0.0
    for num_differing in range(num_images + 1):
        differ = binom.pmf(num_differing, num_images, first + second)
        for only_first in range(num_differing + 1):
            share = differ * binom.pmf(only_first, num_differing, first / (first + second))
            if share > 1e-9:
                low, high = paired_interval(only_first, num_differing - only_first, num_images)
                held += share * (low <= first - second <= high)
    assert 0.92 < held <= 1


@pytest.mark.parametrize("counts", [(1, 1, 1), (-1, 0, 5), (0, 0, 0)])
def test_paired_interval_refuses_impossible_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        paired_interval(*counts)


@pytest.mark.parametrize(("share", "difference", "num_images"), [(0.5, 0.4, 23), (0.45, 0.15, 155)])
def test_smallest_difference_of_connor(share: float, difference: float, num_images: int) -> None:
    """Worked sample sizes by the formula of Connor (1987), page 209: so many images are the first that suffice."""
    assert smallest_difference(share, num_images) <= difference < smallest_difference(share, num_images - 1)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_mcnemar_shows_the_smallest_difference_in_four_of_five_cases(share: float) -> None:
    num_images = 2000
    difference = smallest_difference(share, num_images)
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    draws = np.random.default_rng(0).multinomial(num_images, shares, 2000)
    shown = np.mean([mcnemar(int(first), int(second)) <= 0.05 for first, second, _ in draws])
    assert 0.75 < shown < 0.85


@pytest.mark.parametrize("num_images", [8, 100, 10_000])
def test_smallest_difference_counts_on_the_fewest_images_that_could_show_anything(num_images: int) -> None:
    share = (norm.ppf(0.975) + norm.ppf(0.8)) ** 2 / num_images
    difference = smallest_difference(share, num_images)
    assert smallest_difference(0.0, num_images) == pytest.approx(difference, rel=1e-9)
    assert smallest_difference(1.01 * share, num_images) > difference


def test_smallest_difference_at_the_ends() -> None:
    assert smallest_difference(0.5, 1) == 1 and smallest_difference(0.0, 7) == 1
    assert 0 < smallest_difference(0.0, 10_000) < smallest_difference(0.1, 10_000) < 0.01


# Several seeds


def test_welch_of_a_textbook() -> None:
    """The two samples of the article on Student's t-test in Wikipedia: t 1.959, 7.031 degrees, p 0.09077."""
    first = [30.02, 29.99, 30.11, 29.97, 30.01, 29.99]
    second = [29.89, 29.93, 29.72, 29.98, 30.02, 29.98]
    found = welch(first, second)
    assert found.difference == pytest.approx(0.095, abs=1e-9)
    assert (round(found.degrees, 3), round(found.p_value, 5)) == (7.031, 0.09077)
    middle, half = sum(found.interval) / 2, (found.interval.high - found.interval.low) / 2
    assert middle == pytest.approx(0.095) and half / 0.095 == pytest.approx(t.ppf(0.975, 7.0306) / 1.9590, rel=1e-3)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=8, unique=True),
    st.lists(st.floats(0, 1), min_size=2, max_size=8, unique=True),
)
def test_welch_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    if max(np.std(first), np.std(second)) < 1e-6:
        return  # where scipy warns of lost digits
    found, wanted = welch(first, second), ttest_ind(first, second, equal_var=False)
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval(0.95)), rel=1e-6, abs=1e-9)


def test_without_spread_nothing_is_shown() -> None:
    """Seeds that agree by chance, as on a class of few images, are no proof."""
    assert welch([0.5, 0.5], [0.9, 0.9]) == Welch(pytest.approx(-0.4), (-1, 1), 2, 1)


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=6),
    st.lists(st.integers(0, 100), min_size=2, max_size=6),
    st.floats(0.5, 0.999),
)
def test_n34_the_interval_over_seeds_agrees_with_its_test(
    first: list[int], second: list[int], confidence: float
) -> None:
    found = welch([value / 100 for value in first], [value / 100 for value in second], confidence)
    low, high = found.interval
    if abs(found.p_value - (1 - confidence)) > 1e-9:
        assert (low <= 0 <= high) == (found.p_value > 1 - confidence)


def test_welch_needs_two_seeds() -> None:
    with pytest.raises(ValueError, match="at least two"):
        welch([0.9], [0.8, 0.7])


# Many tests at once


def test_holm_of_a_textbook() -> None:
    """The example of the article on the Holm-Bonferroni method in Wikipedia, as R's p.adjust gives it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_rejects_what_bonferroni_rejects_in_benjamini_and_hochberg() -> None:
    """The fifteen p-values of Benjamini and Hochberg (1995), section 4.1: three stay below 0.05."""
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p_values += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    found = holm(p_values)
    assert [value <= 0.05 for value in found] == [True] * 3 + [False] * 12
    assert found[:4] == pytest.approx([0.0015, 0.0056, 0.0247, 0.1140])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(raised >= value and raised <= 1 for raised, value in zip(found, p_values, strict=True))
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    assert [found[place] for place in order] == sorted(found)


@given(st.lists(st.floats(1e-12, 1), min_size=1, max_size=8), st.integers(5, 400))
def test_n34_a_corrected_interval_agrees_with_the_corrected_p_value(others: list[float], num_differing: int) -> None:
    """Whatever else was tested beside it."""
    only_first = num_differing * 2 // 3
    counts = (only_first, num_differing - only_first)
    adjusted = holm([mcnemar(*counts), *others])[0]
    low, high = paired_interval(*counts, 1000, corrected_confidence(mcnemar(*counts), adjusted))
    if abs(adjusted - 0.05) > 1e-9:
        assert (low <= 0 <= high) == (adjusted > 0.05)


def test_the_confidence_of_a_single_test_is_not_corrected() -> None:
    assert corrected_confidence(0.02, 0.02) == 0.95
    assert corrected_confidence(0.02, 0.06) == pytest.approx(1 - 0.05 / 3)
    assert corrected_confidence(0.0, 0.0) == 0.95


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=2, max_size=12))
def test_a_ratio_of_pairs_has_the_interval_of_students_t_on_logarithms(pairs: list[tuple[float, float]]) -> None:
    ratio, (low, high) = ratio_interval([a for a, _ in pairs], [b for _, b in pairs])
    logs = np.log([a / b for a, b in pairs])
    assert ratio == pytest.approx(math.exp(logs.mean()), rel=1e-9)
    if (error := logs.std(ddof=1) / math.sqrt(len(logs))) > 1e-6:
        expected = t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=error)
        assert np.log([low, high]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_ratio_of_one_pair_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two values, found 1"):
        ratio_interval([1.0], [2.0])
