"""CSV lists of pictures."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import DataError
from cifarlab.images import words
from cifarlab.images.folders import own_split
from cifarlab.images.folders.listing import ImageFile, Listing, sorted_by_split
from cifarlab.images.folders.scan import link_problem
from cifarlab.images.words import SPLIT_NAMES


def list_csv(path: Path, kept_file: Path | None) -> Listing:
    """List the pictures that a CSV names; one without a split column is split as `kept_file` (then) says."""
    files, problems, split_of = [], list[str](), dict[str, str]()
    link_refused = _link_check(path.parent)
    for number, row in enumerate(_csv_rows(path), start=1):
        name, label = os.path.normpath(row["image"] or ""), (row["label"] or "").strip()
        file, split = path.parent / name, row.get("split")
        if problem := _row_problem(name, label, split) or link_refused(file):
            problems.append(f"row {number} ({printable(name)}) {problem}")
        elif name in split_of:
            problems.append(f"row {number} ({printable(name)}) names a picture again")
        else:
            split_of[name] = words.split_of(split or "") or ""
            files.append(ImageFile.at(str(file), name, printable(label), _status(file)))
    if problems:
        raise DataError(f"{path} cannot be used: {some(problems)}.\nCorrect these rows.")
    is_drawn = "" in split_of.values()
    if is_drawn:
        split_of = own_split.assign(files, None, kept_file)
    return sorted_by_split(path, files, split_of, (), is_drawn)


def _csv_rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, csv.Error) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    if missing := {"image", "label"} - set(columns):
        raise DataError(
            f"{path} lacks the column {' and '.join(sorted(missing))}. Found: {', '.join(columns)}.\n"
            "Its first row names the columns: image, label and, if wanted, split."
        )
    return rows


def _row_problem(name: str, label: str, split: str | None) -> str:
    """Say why a row cannot be used; a file that is missing or damaged is found when it is read."""
    if not label:
        return "has no label"
    if split is not None and words.split_of(split) is None:
        return f"has the split '{printable(split)}'; allowed: {', '.join(SPLIT_NAMES)}"
    if name == "." or "\0" in name:
        return "names no picture"
    return "lies outside of the folder of the CSV" if name.startswith(("/", "../")) else ""


def _link_check(root: Path) -> Callable[[Path], str]:
    """Make a function that says why a link on the way to a file below `root` is not followed, or nothing."""
    real_root, seen = Path(os.path.realpath(root)), dict[Path, bool]()

    def check(file: Path) -> str:
        folder = file.parent
        if folder not in seen:  # one look per folder, because there may be many files
            seen[folder] = Path(os.path.realpath(folder)) != real_root / folder.relative_to(root)
        return link_problem(str(file), str(real_root)) if seen[folder] or file.is_symlink() else ""

    return check


def _status(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
