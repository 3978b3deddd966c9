"""What people call splits and picture files: one table of each, for folders, lists, tables, archives and prediction."""

from __future__ import annotations

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
