"""The numbers and conclusions of a comparison in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cifarlab.drawing.wording import duration
from cifarlab.language import in_a_row, ntr, tr, translatable
from cifarlab.studies.compare.entry import Entry, Measure
from cifarlab.studies.compare.pairs import Pair


def conclude(pair: Pair, first: Entry, second: Entry, num_tests: int) -> str:
    """What may be concluded about a pair out of `num_tests`, from what, and which seeds did not count."""
    return in_a_row([_conclusion(pair, first, second, num_tests), *_diverged(first, second)])


def claim(pair: Pair, first: Entry, second: Entry) -> str:
    """The same in one short sentence, for a list of pairs that `basis` explains once."""
    if pair.method == "none":
        single = second if first.is_group else first
        return tr(
            "{first} and {second}: nothing can be concluded, as {single} was trained only once.",
            first=pair.first,
            second=pair.second,
            single=single.label,
        )
    low, high = _positive_interval(pair)
    evidence = tr("({low} to {high}, {p})", low=points(low), high=points(high), p=_corrected_p_text(pair))
    difference = points(abs(pair.difference))
    fields = {"first": pair.first, "second": pair.second, "points": difference, "evidence": evidence}
    if pair.is_different:
        said = tr("{sentence}.", sentence=_better(pair, evidence))
    elif pair.smallest_difference is None:
        said = tr("No difference between {first} and {second} is shown: {points} points {evidence}.", **fields)
    else:
        said = tr(
            "No difference between {first} and {second} is shown: {points} points {evidence}; one of about {smallest} "
            "points or more would be likely to show.",
            **fields,
            smallest=points(pair.smallest_difference),
        )
    return in_a_row([said, *_diverged(first, second)])


def basis(pairs: Sequence[Pair], entry: Entry) -> list[str]:
    """What the claims about pairs rest on, in sentences; entry: any of those that are compared."""
    methods = {pair.method for pair in pairs}
    num_tests = sum(pair.p_value is not None for pair in pairs)
    found = []
    if num_tests > 1:
        found.append(
            tr(
                "Brackets hold 95 % intervals; they and the p-values are corrected for {n} pairs (Holm).",
                n=num_tests,
            )
        )
    elif num_tests:
        found.append(tr("Brackets hold 95 % intervals."))
    if "McNemar" in methods:
        # McNemar's test knows the luck of the images, not that of a training
        found.append(
            tr(
                "Single runs are compared on the same {n:,} {split} images (McNemar's test): this holds for these "
                "trainings, and for the recipes only if other seeds agree.",
                n=len(entry.correct),
                split=tr(entry.members[0].evaluation.split),
            )
        )
    if "Welch" in methods:
        found.append(
            tr("Groups are compared over their seeds (Welch's test), so this holds for further trainings too.")
        )
    if "none" in methods:
        found.append(tr("Only several seeds show how much chance there is in a training."))
    return found


def _conclusion(pair: Pair, first: Entry, second: Entry, num_tests: int) -> str:
    if pair.method == "none":
        single, group = (second, first) if first.is_group else (first, second)
        return tr(
            "Nothing can be concluded about {first} and {second}: {single} was trained once, and only several seeds, "
            "as of {group}, show how much chance there is in a training.",
            first=pair.first,
            second=pair.second,
            single=single.label,
            group=group.label,
        )
    found = _finding(pair, num_tests)
    if pair.method == "Welch":
        seeds = _seeds_text(len(first.members), len(second.members))
        message = (
            tr("Over {seeds} {finding}; this is more than luck.")
            if pair.is_different
            else tr("Over {seeds} {finding}; more seeds could show one.")
        )
        return message.format(seeds=seeds, finding=found)
    # McNemar's test knows the luck of the images, not that of a training; and "not shown" is not "equal": the reader
    # needs to know how large a difference would have been noticed
    message = (
        tr(
            "On these {n:,} {split} images {finding}; this holds for these two trainings, and for the recipes only if "
            "other seeds agree."
        )
        if pair.is_different
        else tr(
            "On these {n:,} {split} images {finding}; only one of about {smallest} points or more would be likely to "
            "show."
        )
    )
    smallest = points(pair.smallest_difference or 0)
    split = tr(first.members[0].evaluation.split)
    return message.format(n=len(first.correct), split=split, finding=found, smallest=smallest)


def _seeds_text(first: int, second: int) -> str:
    if first == second:
        return tr("{n} seeds each", n=first)
    return tr("{first} and {second} seeds", first=first, second=second)


def _finding(pair: Pair, num_tests: int) -> str:
    """Which of a tested pair is better and by how much, or that no difference is shown; a part of a sentence."""
    low, high = _positive_interval(pair)
    message = (
        tr("(95 % interval {low} to {high}, {p}, corrected for {n} pairs)")
        if num_tests > 1
        else tr("(95 % interval {low} to {high}, {p})")
    )
    evidence = message.format(low=points(low), high=points(high), p=_corrected_p_text(pair), n=num_tests)
    if pair.is_different:
        return _better(pair, evidence)
    return tr(
        "no difference between {first} and {second} is shown: {points} points {evidence}",
        first=pair.first,
        second=pair.second,
        points=points(abs(pair.difference)),
        evidence=evidence,
    )


def _better(pair: Pair, evidence: str) -> str:
    better, worse = (pair.first, pair.second) if pair.difference >= 0 else (pair.second, pair.first)
    return tr(
        "{better} is better than {worse} by {points} points {evidence}",
        better=better,
        worse=worse,
        points=points(abs(pair.difference)),
        evidence=evidence,
    )


def _positive_interval(pair: Pair) -> tuple[float, float]:
    """The interval from the better one's side, from which the difference is positive."""
    assert pair.interval is not None
    return pair.interval if pair.difference >= 0 else (-pair.interval.high, -pair.interval.low)


def _corrected_p_text(pair: Pair) -> str:
    assert pair.adjusted_p_value is not None
    return p_text(pair.adjusted_p_value)


def _diverged(first: Entry, second: Entry) -> list[str]:
    # the mean is over the seeds that went well, which flatters the recipe
    return [
        ntr(
            "{n:,} seed of {label} diverged and did not count.",
            "{n:,} seeds of {label} diverged and did not count.",
            entry.num_diverged,
            n=entry.num_diverged,
            label=entry.label,
        )
        for entry in (first, second)
        if entry.num_diverged
    ]


def headings(split: str) -> dict[str, str]:
    """The heading of every number."""
    of_split = tr("{split} accuracy", split=tr(split))
    return {key: of_split if key == "accuracy" else tr(heading) for key, (heading, _) in COLUMNS.items()}


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
    low, high = (f"{100 * end:.1f}" for end in found.interval)
    return tr("{accuracy} ({low} to {high})", accuracy=text, low=low, high=high)


def _written(write: Callable[[float], str]) -> Callable[[Measure | None], str]:
    """Write the value of a Measure; a dash when there is none."""
    return lambda found: "–" if found is None else write(found.value)


COLUMNS: dict[str, tuple[str, Callable[[Measure | None], str]]] = {
    "num_parameters": (translatable("parameters"), _written(lambda value: f"{value:,.0f}")),
    "epochs": (translatable("epochs"), _written(lambda value: f"{value:,.6g}")),
    "seconds": (translatable("time"), _written(duration)),
    "images_per_second": (translatable("images/s"), _written(lambda value: f"{value:,.0f}")),
    "train_accuracy": (translatable("train accuracy"), share_text),
    "val_accuracy": (translatable("best validation"), share_text),
    "accuracy": (translatable("accuracy"), share_text),
    "calibration_error": (translatable("calibration error"), share_text),
}
"""The heading of every number and how it is written; `accuracy` is that on the evaluated split."""
