"""The numbers and conclusions of a comparison in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cifarlab.console import count
from cifarlab.drawing.wording import duration
from cifarlab.studies.compare.entry import Entry, Measure
from cifarlab.studies.compare.pairs import Pair


def conclude(pair: Pair, first: Entry, second: Entry, num_tests: int) -> str:
    """What may be concluded about a pair out of `num_tests`, from what, and which seeds did not count."""
    return f"{_conclusion(pair, first, second, num_tests)}{_diverged(first, second)}"


def claim(pair: Pair, first: Entry, second: Entry) -> str:
    """The same in one short sentence, for a list of pairs that `basis` explains once."""
    if pair.method == "none":
        single = second if first.is_group else first
        return f"{pair.first} and {pair.second}: nothing can be concluded, as {single.label} was trained only once."
    numbers = _numbers(pair, "", "")
    if not pair.is_different and pair.smallest_difference is not None:
        numbers += f"; one of about {points(pair.smallest_difference)} points or more would be likely to show"
    if not pair.is_different:  # else it begins with a name, which keeps its letters
        numbers = f"N{numbers[1:]}"
    return f"{numbers}.{_diverged(first, second)}"


def basis(pairs: Sequence[Pair], entry: Entry) -> list[str]:
    """What the claims about pairs rest on, in sentences; entry: any of those that are compared."""
    methods = {pair.method for pair in pairs}
    num_tests = sum(pair.p_value is not None for pair in pairs)
    found = []
    if num_tests:
        corrected = f"; they and the p-values are corrected for {num_tests} pairs (Holm)" if num_tests > 1 else ""
        found.append(f"Brackets hold 95 % intervals{corrected}.")
    if "McNemar" in methods:
        # McNemar's test knows the luck of the images, not that of a training
        images = f"{len(entry.correct):,} {entry.members[0].evaluation.split} images"
        found.append(
            f"Single runs are compared on the same {images} (McNemar's test): this holds for these trainings, and for "
            "the recipes only if other seeds agree."
        )
    if "Welch" in methods:
        found.append("Groups are compared over their seeds (Welch's test), so this holds for further trainings too.")
    if "none" in methods:
        found.append("Only several seeds show how much chance there is in a training.")
    return found


def _conclusion(pair: Pair, first: Entry, second: Entry, num_tests: int) -> str:
    if pair.method == "none":
        single, group = (second, first) if first.is_group else (first, second)
        return (
            f"Nothing can be concluded about {pair.first} and {pair.second}: {single.label} was trained once, and only "
            f"several seeds, as of {group.label}, show how much chance there is in a training."
        )
    numbers = _numbers(pair, "95 % interval ", f", corrected for {num_tests} pairs" if num_tests > 1 else "")
    if pair.method == "Welch":
        num_first, num_second = len(first.members), len(second.members)
        counts = f"{num_first} seeds each" if num_first == num_second else f"{num_first} and {num_second} seeds"
        seeds = f"Over {counts} {numbers}"
        return f"{seeds}; this is more than luck." if pair.is_different else f"{seeds}; more seeds could show one."
    images = f"On these {len(first.correct):,} {first.members[0].evaluation.split} images {numbers}"
    if pair.is_different:
        # McNemar's test knows the luck of the images, not that of a training
        return f"{images}; this holds for these two trainings, and for the recipes only if other seeds agree."
    # "not shown" is not "equal": the reader needs to know how large a difference would have been noticed
    return (
        f"{images}; only one of about {points(pair.smallest_difference or 0)} points or more would be likely to show."
    )


def _numbers(pair: Pair, interval: str, corrected: str) -> str:
    """Which of a tested pair is better and by how much, or that no difference is shown."""
    assert pair.interval is not None and pair.adjusted_p_value is not None
    # told from the better one's side, so that the difference is positive and the interval turned round with it
    better, worse = (pair.first, pair.second) if pair.difference >= 0 else (pair.second, pair.first)
    low, high = pair.interval if pair.difference >= 0 else (-pair.interval.high, -pair.interval.low)
    nothing = f"no difference between {pair.first} and {pair.second} is shown:"
    verdict = f"{better} is better than {worse} by" if pair.is_different else nothing
    return (
        f"{verdict} {points(abs(pair.difference))} points ({interval}{points(low)} to {points(high)}, "
        f"{p_text(pair.adjusted_p_value)}{corrected})"
    )


def _diverged(first: Entry, second: Entry) -> str:
    # the mean is over the seeds that went well, which flatters the recipe
    return "".join(
        f" {count(entry.num_diverged, 'seed')} of {entry.label} diverged and did not count."
        for entry in (first, second)
        if entry.num_diverged
    )


def headings(split: str) -> dict[str, str]:
    """The heading of every number."""
    return {key: f"{split} accuracy" if key == "accuracy" else heading for key, (heading, _) in COLUMNS.items()}


def points(fraction: float) -> str:
    """A difference of fractions in percentage points: "−1.25"."""
    return f"{100 * fraction:.2f}".replace("-", "−")  # a minus sign, as wide as a digit


def p_text(p_value: float) -> str:
    """A p-value for people: "p = 0.031" or "p < 0.0001"."""
    # further digits promise more than the test's assumptions hold
    return f"p = {p_value:.2g}" if p_value >= 0.0001 else "p < 0.0001"


def share_text(found: Measure | None) -> str:
    """A fraction as a percentage with its interval, or with its standard deviation over seeds."""
    if found is None:
        return "–"
    if found.sd is not None:
        return f"{100 * found.value:.2f} ± {100 * found.sd:.2f} %"
    text = f"{100 * found.value:.2f} %"
    if found.interval is None:
        return text
    return f"{text} ({100 * found.interval.low:.1f} to {100 * found.interval.high:.1f})"


def _written(write: Callable[[float], str]) -> Callable[[Measure | None], str]:
    """Write the value of a Measure; a dash when there is none."""
    return lambda found: "–" if found is None else write(found.value)


COLUMNS: dict[str, tuple[str, Callable[[Measure | None], str]]] = {
    "num_parameters": ("parameters", _written(lambda value: f"{value:,.0f}")),
    "epochs": ("epochs", _written(lambda value: f"{value:,.6g}")),
    "seconds": ("time", _written(duration)),
    "images_per_second": ("images/s", _written(lambda value: f"{value:,.0f}")),
    "train_accuracy": ("train accuracy", share_text),
    "val_accuracy": ("best validation", share_text),
    "accuracy": ("accuracy", share_text),
    "calibration_error": ("calibration error", share_text),
}
"""The heading of every number and how it is written; `accuracy` is that on the evaluated split."""
