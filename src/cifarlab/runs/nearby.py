"""Which folders are runs, what lies beside them, and how new ones are called."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from cifarlab.language import listed, tr
from cifarlab.runs.paths import RECIPE_FILE


def own_folders(root: Path) -> Iterator[Path]:
    """The folder of a run and all below it, except the runs inside a study: another process may hold their locks."""
    for name, folders, files in os.walk(root):
        if Path(name) != root and RECIPE_FILE in files:
            folders.clear()  # os.walk then does not descend
        else:
            yield Path(name)


def numbered(root: Path, name: str) -> Iterator[Path]:
    """The names that a new run may have: root/name, root/name-2, root/name-3, ..."""
    return (root / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: it has a recipe."""
    try:
        return (folder / RECIPE_FILE).is_file()
    except OSError:  # a name too long for the file system
        return False


def neighbours(folder: Path) -> str:
    """Name the runs beside a folder that is not one, for the error about it."""
    runs = sorted(path.parent.name for path in folder.parent.glob(f"*/{RECIPE_FILE}"))
    if not runs:
        return tr("There are no runs in {folder}.", folder=folder.parent)
    return tr("Runs in {folder}: {names}.", folder=folder.parent, names=listed(runs[:8]))
