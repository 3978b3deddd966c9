"""Compare runs: their numbers side by side, what differs in their recipes, and a test of every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifarlab.console import some
from cifarlab.drawing import page
from cifarlab.drawing.notebook import cell
from cifarlab.errors import UsageError, unknown
from cifarlab.language import in_a_row, in_english, tr, translatable
from cifarlab.recipe.toml import flatten
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import median_images_per_second
from cifarlab.studies.compare.conclusions import COLUMNS, basis, claim, conclude, headings, share_text
from cifarlab.studies.compare.entry import Entry, Measure, Member, read_entries
from cifarlab.studies.compare.pairs import Pair, test_pairs
from cifarlab.studies.compare.same_data import require_same_data

SHOWN_EXAMPLES = 16
"""Images of each kind of disagreement that JSON and the page show."""

_UNCOMPARED = ("name", "description", "format", "training.seed")
"""Fields of a recipe that explain no difference; seeds are listed apart."""

UNSET, YES, NO = translatable("unset"), translatable("yes"), translatable("no")
"""Values that are words."""
FACTS = {
    "seeds": translatable("seeds"),
    "device": translatable("device"),
    "precision": translatable("precision"),
    "torch": "torch",
    "cifarlab": "cifarlab",
}
"""What is not in the recipe and may differ, and how people read it."""

_IN_NOTEBOOK = ("num_parameters", "epochs", "seconds", "val_accuracy", "accuracy")
"""The numbers that a notebook has room for; `cifarlab.compare(..., html=...)` writes a page with all of them."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs and groups of seeds that were trained and evaluated on the same images."""

    split: str
    entries: tuple[Entry, ...]
    differences: dict[str, list[str]]
    """Path of a setting that is not the same in all recipes, machines and versions -> its text for each entry."""
    pairs: tuple[Pair, ...]

    def __repr__(self) -> str:
        entries = (f"{entry.label!r} {share_text(entry.accuracy)}" for entry in self.entries)
        return f"Comparison({self.split}: {some(list(entries), 4)})"

    def _repr_html_(self) -> str:
        titles = ["", *(headings(self.split)[key] for key in _IN_NOTEBOOK)]
        numbers = [(entry.label, self.numbers(entry)) for entry in self.entries]
        rows = [[label, *(COLUMNS[key][1](found[key]) for key in _IN_NOTEBOOK)] for label, found in numbers]
        conclusions = (page.paragraph(self.claim(pair)) for pair in self.pairs)
        note = tr("Parentheses hold 95 % intervals; ± is the standard deviation over seeds.")
        numbers_and_note = page.table(titles, rows), page.paragraph(note)
        return cell(tr("Comparison"), tr("{split} split", split=tr(self.split)), *conclusions, *numbers_and_note)

    def numbers(self, entry: Entry) -> dict[str, Measure | None]:
        """The numbers of an entry by name; `accuracy` is that on the evaluated split."""
        return {name: number(entry) for name, number in _NUMBERS.items()}

    def conclusion(self, pair: Pair) -> str:
        """One sentence: what may be concluded about a pair, and from what."""
        first, second = self.entries_of(pair)
        # Holm's correction was made for as many tests; pairs of a run and a group are not tested
        return conclude(pair, first, second, sum(each.p_value is not None for each in self.pairs))

    def claim(self, pair: Pair) -> str:
        """The same in short, for a list of all pairs, which `basis` explains once."""
        return claim(pair, *self.entries_of(pair))

    @property
    def basis(self) -> str:
        """What the claims about all pairs rest on, in sentences."""
        return in_a_row(basis(self.pairs, self.entries[0]))

    @property
    def settings(self) -> dict[str, dict[str, list[str]]]:
        """The settings that differ by section, each with its text for each entry, in the language that is spoken."""
        groups: dict[str, dict[str, list[str]]] = {}
        for path, texts in self.differences.items():
            section, _, key = path.rpartition(".")
            heading = f"[{section}]" if section else tr("Seeds, machine and versions")
            groups.setdefault(heading, {})[setting_name(key)] = [*map(value_text, texts)]
        return groups

    @property
    def front(self) -> list[Entry]:
        """The entries that no other beats in accuracy without training longer, the fastest first (Pareto's front)."""
        timed = [(found.value, entry) for entry in self.entries if (found := _NUMBERS["seconds"](entry))]
        front: list[Entry] = []
        for _, entry in sorted(timed, key=lambda each: (each[0], -each[1].accuracy.value)):
            if not front or entry.accuracy.value > front[-1].accuracy.value:
                front.append(entry)
        return front

    def entries_of(self, pair: Pair) -> tuple[Entry, Entry]:
        """The two entries of a pair."""
        by_label = {entry.label: entry for entry in self.entries}
        return by_label[pair.first], by_label[pair.second]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values; accuracies and differences are fractions."""
        runs = [
            {
                "name": entry.label,
                "path": str(entry.path),
                "num_seeds": len(entry.members),
                **{name: asdict(found) if found else None for name, found in self.numbers(entry).items()},
            }
            for entry in self.entries
        ]
        pairs = []
        for pair in self.pairs:
            # thousands of indices would bury the numbers; predictions-*.parquet has them all
            cut = {name: list(getattr(pair, name)[:SHOWN_EXAMPLES]) for name in ("first_wins", "second_wins")}
            values = {**asdict(pair), **cut, "is_different": pair.is_different}
            with in_english():
                pairs.append({"conclusion": self.conclusion(pair), **values})
        return {
            "split": self.split,
            "num_images": len(self.entries[0].correct),
            "fingerprint": self.entries[0].members[0].evaluation.fingerprint,
            "runs": runs,
            "differences": self.differences,
            "pairs": pairs,
        }


_NUMBERS: dict[str, Callable[[Entry], Measure | None]] = {
    "num_parameters": lambda entry: entry.measure(lambda member: member.facts.num_parameters),
    "epochs": lambda entry: entry.measure(lambda member: member.rows[-1]["epoch"] if member.rows else None),
    "seconds": lambda entry: entry.measure(lambda member: member.facts.elapsed_seconds),
    "images_per_second": lambda entry: entry.measure(lambda member: median_images_per_second(member.rows)),
    "train_accuracy": lambda entry: entry.train_accuracy,
    "val_accuracy": lambda entry: entry.val_accuracy,
    "accuracy": lambda entry: entry.accuracy,
    "calibration_error": lambda entry: entry.measure(lambda member: member.evaluation.calibration_error),
}

SORTS: dict[str, tuple[Callable[[Entry], Measure | None], int]] = {
    "parameters": (_NUMBERS["num_parameters"], 1),
    "epochs": (_NUMBERS["epochs"], 1),
    "time": (_NUMBERS["seconds"], 1),
    "speed": (_NUMBERS["images_per_second"], -1),
    "train": (_NUMBERS["train_accuracy"], -1),
    "val": (_NUMBERS["val_accuracy"], -1),
    "accuracy": (_NUMBERS["accuracy"], -1),
    "calibration": (_NUMBERS["calibration_error"], 1),
}
"""The numbers by which runs can be sorted, by their short names, each with the sign that puts the best first."""


def compare(paths: Sequence[Run | str | Path], *, split: str = "test", sort: str | None = None) -> Comparison:
    """Compare runs, or groups of seeds, that were evaluated on the same split of the same images.

    sort: name, or one of SORTS, the best first; unset: the order of `paths`.
    Raises UsageError for fewer than two, for runs that were not evaluated on `split` or that have other images, and
    CheckpointError for a run folder that cannot be read.
    """
    if sort is not None and sort not in ("name", *SORTS):
        raise UsageError(unknown("column", sort, ["name", *SORTS]))
    if len(paths) < 2:
        raise UsageError(tr("A comparison needs at least two runs: {command}", command="cifarlab compare RUN RUN..."))
    entries = read_entries(paths, split)  # the stored predictions: no network is loaded, no test split opened again
    require_same_data(entries)
    if sort is not None:
        entries.sort(key=lambda entry: _place(entry, sort))
    return Comparison(split, tuple(entries), _differences(entries), test_pairs(entries))


def setting_name(path: str) -> str:
    """What differs, as people read it: paths in a recipe are the same in every language."""
    return tr(FACTS[path]) if path in FACTS else path


def value_text(text: str) -> str:
    """The value of a setting as people read it."""
    return tr(text) if text in (UNSET, YES, NO) else text


def _place(entry: Entry, sort: str) -> tuple[bool, float, str]:
    """What an entry is sorted by; those without the number come last."""
    if sort == "name":
        return False, 0.0, entry.label
    number, sign = SORTS[sort]
    found = number(entry)
    return found is None, sign * found.value if found else 0.0, ""


def _differences(entries: Sequence[Entry]) -> dict[str, list[str]]:
    described = [_description(entry) for entry in entries]
    # in the order of the recipe; an older run may not have every setting
    keys = dict.fromkeys(key for each in described for key in each)
    rows = {key: [each.get(key, UNSET) for each in described] for key in keys}
    return {key: texts for key, texts in rows.items() if len(set(texts)) > 1}


def _description(entry: Entry) -> dict[str, str]:
    """Everything that may explain a difference, as text: recipe, seeds, machine, versions."""
    # [reference] says where the recipe comes from, which changes nothing in a training
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
    return ", ".join(dict.fromkeys(text(member) for member in entry.members))  # each text once, in the order of seeds


def _text(value: Any) -> str:
    if value is None:
        return UNSET
    if isinstance(value, tuple):
        return ", ".join(_text(each) for each in value) or "none"
    return {True: YES, False: NO}[value] if isinstance(value, bool) else str(value)
