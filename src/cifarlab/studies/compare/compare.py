"""The whole comparison: entries, what differs in their recipes, and every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifarlab.errors import UsageError
from cifarlab.recipe.toml import flatten
from cifarlab.studies.compare.conclusions import conclude
from cifarlab.studies.compare.entry import Entry, Measure, Member, read_entries
from cifarlab.studies.compare.pairs import Pair, test_pairs
from cifarlab.studies.compare.same_data import require_same_data

SHOWN_EXAMPLES = 16
"""Images of each kind of disagreement that JSON and the page show."""

_UNCOMPARED = ("name", "description", "format", "training.seed")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs and groups of seeds that were trained and judged on the same images."""

    split: str
    entries: tuple[Entry, ...]
    differences: dict[str, list[str]]
    """What is not the same in all recipes, machines and versions: by its path, one text per entry."""
    pairs: tuple[Pair, ...]

    def numbers(self, entry: Entry) -> dict[str, Measure | None]:
        """The row of an entry; `accuracy` is that on the judged split."""
        return {name: number(entry) for name, number in _NUMBERS.items()}

    def conclusion(self, pair: Pair) -> str:
        """One sentence: what may be concluded about a pair, and from what."""
        first, second = self.entries_of(pair)
        return conclude(pair, first, second, sum(each.p_value is not None for each in self.pairs))

    def entries_of(self, pair: Pair) -> tuple[Entry, Entry]:
        """The two that a pair is about."""
        by_label = {entry.label: entry for entry in self.entries}
        return by_label[pair.first], by_label[pair.second]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; accuracies and differences are fractions."""
        return {
            "split": self.split,
            "num_images": len(self.entries[0].correct),
            "fingerprint": self.entries[0].members[0].evaluation.fingerprint,
            "runs": [self._values(entry) for entry in self.entries],
            "differences": self.differences,
            "pairs": [{"conclusion": self.conclusion(pair), **_pair_values(pair)} for pair in self.pairs],
        }

    def _values(self, entry: Entry) -> dict[str, Any]:
        return {
            "name": entry.label,
            "path": str(entry.path),
            "num_seeds": len(entry.members),
            **{name: asdict(found) if found else None for name, found in self.numbers(entry).items()},
        }


_NUMBERS: dict[str, Callable[[Entry], Measure | None]] = {
    "num_parameters": lambda entry: entry.measure(lambda member: member.facts.num_parameters),
    "epochs": lambda entry: entry.measure(lambda member: member.rows[-1]["epoch"] if member.rows else None),
    "seconds": lambda entry: entry.measure(lambda member: member.facts.elapsed_seconds),
    "images_per_second": lambda entry: entry.measure(lambda member: member.images_per_second),
    "train_accuracy": lambda entry: entry.train_accuracy,
    "val_accuracy": lambda entry: entry.val_accuracy,
    "accuracy": lambda entry: entry.accuracy,
    "calibration_error": lambda entry: entry.measure(lambda member: member.evaluation.calibration_error),
}


def compare(paths: Sequence[str | Path], *, split: str = "test") -> Comparison:
    """Compare runs, or groups of seeds, that were judged on the same split of the same images.

    Raises UsageError for fewer than two, for runs that were not judged or lie on different images, and CheckpointError
    for a run folder that cannot be read.
    """
    if len(paths) < 2:
        raise UsageError("A comparison needs at least two runs: cifarlab compare RUN RUN...")
    entries = read_entries(paths, split)
    require_same_data(entries)
    return Comparison(split, tuple(entries), _differences(entries), test_pairs(entries))


def _differences(entries: Sequence[Entry]) -> dict[str, list[str]]:
    described = [_description(entry) for entry in entries]
    keys = dict.fromkeys(key for each in described for key in each)
    rows = {key: [each.get(key, "unset") for each in described] for key in keys}
    return {key: texts for key, texts in rows.items() if len(set(texts)) > 1}


def _description(entry: Entry) -> dict[str, str]:
    """Everything that may explain a difference, as text: the recipe, the seeds, the machine, the versions."""
    flat = {
        key: _text(value)
        for key, value in flatten(entry.recipe).items()
        if key not in _UNCOMPARED and not key.startswith("reference.")
    }
    return {
        **flat,
        "seeds": _each(entry, lambda member: str(member.recipe.training.seed)),
        "device": _each(entry, lambda member: member.facts.runtime.device_name),
        "precision": _each(entry, lambda member: member.facts.runtime.precision),
        "torch": _each(entry, lambda member: member.facts.versions.get("torch", "unknown")),
        "cifarlab": _each(entry, lambda member: member.facts.cifarlab),
    }


def _each(entry: Entry, text: Callable[[Member], str]) -> str:
    return ", ".join(dict.fromkeys(text(member) for member in entry.members))


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return ", ".join(_text(each) for each in value) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _pair_values(pair: Pair) -> dict[str, Any]:
    cut = {name: list(getattr(pair, name)[:SHOWN_EXAMPLES]) for name in ("first_wins", "second_wins")}
    return {**asdict(pair), **cut, "is_different": pair.is_different}
