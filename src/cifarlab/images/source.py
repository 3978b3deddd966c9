"""A data set that has been found and understood, before its pixels are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifarlab.console import printable, some
from cifarlab.errors import DataError, UsageError
from cifarlab.images.archives.recognise import recognised
from cifarlab.images.images import Images, join
from cifarlab.language import listed, tr, translatable

# Stored in manifests word for word, and shown to users in their language.
HIDDEN, SYSTEM = translatable("hidden"), translatable("of the system")
OURS, NOT_PICTURES = translatable("written by cifarlab"), translatable("not pictures")
"""Reasons for leaving files and folders out that nobody has to act on."""
EMPTY, LOOSE = translatable("folders without pictures"), translatable("pictures in no class folder")
BESIDE = translatable("folders beside the splits")
UNLABELLED = translatable("pictures of splits without class folders")
UNLISTED, WITHOUT_LABELS = translatable("pictures in no list"), translatable("pictures of splits without labels")
"""Reasons that a user should know of: what is left out may have been meant to be used."""
NO_LABELS, NO_ROWS = translatable("without labels"), translatable("empty")
NO_IMAGES, NO_SPLIT = translatable("without images"), translatable("not called after a split")
"""The same for the splits of tables and arrays, and for files and arrays."""

_SHOWN = 5
"""Names that are shown and stored for each reason; a million of them would make a manifest unreadable."""


@dataclass(frozen=True)
class Understanding:
    """How a reader understood a path: shown by `cifarlab data show`, stored in every run that was trained on it.

    kind: the format, in a word ("folder", "csv", "parquet", ...). rule: one sentence that says which rule decided what
    the parts mean, to be `retold`. splits: those that exist, in the order train, val, test. counts: split -> class ->
    pictures, if that is known without decoding any; else empty. left_out: reason -> names of what is not used for that
    reason.
    settled: the fields of `DataSpec` that make every later reading decide the same way, even if files are added.
    numbered: whether the classes are numbers in the data, which `DataSpec.class_names` may name.
    own_split: whether cifarlab drew train and test, because the data set comes without splits.
    """

    kind: str
    rule: str
    splits: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settled: Mapping[str, str] = field(default_factory=dict)
    numbered: bool = False
    own_split: bool = False

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON; for what was left out, it has the number and the first names."""
        left_out = {
            reason: {"count": len(names), "first": list(names[:_SHOWN])} for reason, names in self.left_out.items()
        }
        return {
            "kind": self.kind,
            "rule": self.rule,
            "splits": list(self.splits),
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "left_out": left_out,
            "settled": dict(self.settled),
            "numbered": self.numbered,
            "own_split": self.own_split,
        }


def left_out_lines(left_out: Mapping[str, Sequence[str]], *, worth_a_warning: bool | None = None) -> list[str]:
    """A line for each reason to leave something out: all, or only those that are, or are not, worth a warning."""
    lines = []
    for reason, names in left_out.items():
        if worth_a_warning in (None, reason not in (HIDDEN, SYSTEM, OURS, NOT_PICTURES)):
            # "40,000 .xml" instead of five of their names: a kind that may have been meant as pictures stands out
            kinds = Counter(Path(name).suffix.lower() or Path(name).name for name in names)
            # names instead where every file has a kind of its own
            by_kind = [f"{count:,} {kind}" for kind, count in kinds.most_common()]
            shown = by_kind if reason == NOT_PICTURES and len(by_kind) < len(names) else list(names)
            few = some([printable(each) for each in shown], _SHOWN)
            lines.append(tr("{reason}: {n:,} ({names})", reason=tr(reason), n=len(names), names=few))
    return lines


@dataclass(frozen=True)
class Source:
    """A data set on this machine: scanned once, it knows its splits; `read` loads one of them."""

    path: Path
    understanding: Understanding
    read: Callable[[str], Images]

    @property
    def kind(self) -> str:
        """The format, in a word."""
        return self.understanding.kind

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist, in the order train, val, test."""
        return self.understanding.splits

    def require_test(self) -> None:
        """Raise DataError when there is no test split: before it is trained for, or an opening is written down."""
        if "test" not in self.splits:
            text = tr("{path} has no test split. It has: {splits}.\nTo train without a test, add --no-test.")
            if "test" in self.understanding.left_out.get(NO_LABELS, ()):
                text = tr(
                    "{path} has no test split. It has: {splits}; its test split is without labels.\n"
                    "To train without a test, add --no-test."
                )
            raise DataError(text.format(path=self.path, splits=listed(self.splits)))

    def load(self, split: str) -> Images:
        """Load one split; raises UsageError if it does not exist, DataError for what cannot be read."""
        if split not in self.splits:  # never another one instead: val is not drawn here, and test is not train
            raise UsageError(
                tr(
                    "{path} has no {split} split; it has {splits}.\n"
                    "A validation split is held out of train by validation.size.",
                    path=self.path,
                    split=split,
                    splits=listed(self.splits),
                )
            )
        # whatever the format: CIFAR-10's published pixels may come as a folder of PNG files
        return recognised(self.read(split))

    def load_all(self) -> Images:
        """Load the images of all splits as one, split by split; raises DataError for what cannot be read."""
        return recognised(join([self.read(split) for split in self.splits]))
