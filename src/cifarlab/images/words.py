"""What people call splits and picture files: one table of each, for folders, lists, tables, archives and prediction."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What people call a split -> what it is called here."""

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif"}
"""Endings of files that are taken for pictures, in lower case; what they hold is decided by their bytes."""


def split_of(word: str) -> str | None:
    """The split that a folder, file or cell of this name stands for; None when it does not name one."""
    return SPLIT_NAMES.get(word.strip().lower())


_NUMBER = re.compile(r"(-?)0*([0-9]+)(?:\.([0-9]*?)0*)?")


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of different names that a reader would take for the same, each sorted.

    These differ in case, white space, invisible characters or Unicode form alone ("Cat" and "cat ", "é" as one
    character and as two), or are the same number ("1" and "1.0").
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[_as_seen(name)].add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _as_seen(name: str) -> str:
    # The compatible form can bring spaces in ("¨" is a space and an accent); folding the case, and leaving characters
    # out, can undo it.
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) != "Cf")
    seen = unicodedata.normalize("NFKC", visible)
    if number := _NUMBER.fullmatch(seen):
        sign, whole, fraction = number.groups()
        return f"{sign}{whole}.{fraction or ''}"
    return seen
