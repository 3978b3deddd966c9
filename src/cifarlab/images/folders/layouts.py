"""Which pictures are in which class and split: of a folder, and of a CSV."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cifarlab.console import log
from cifarlab.errors import DataError
from cifarlab.images.folders import own_split
from cifarlab.images.folders.listing import ImageFile, class_order, link_problem, printable, scan, some
from cifarlab.images.words import SPLIT_NAMES, SPLITS, SUFFIXES, split_of


@dataclass(frozen=True)
class Listing:
    """A data set before decoding: its classes, and its pictures by split, sorted by class and name."""

    source: Path
    class_names: tuple[str, ...]
    splits: dict[str, list[ImageFile]]


def list_folder(root: Path, kept_file: Path | None) -> Listing:
    """List the pictures below a folder; one without split folders is split as `kept_file` (then) says."""
    found = scan(root)
    has_splits = _has_split_folders(root, found.folders)
    depth = 1 if has_splits else 0  # of the class in a name
    files, loose = [], []
    for name, status in found.files:
        parts = name.split("/")
        if len(parts) < depth + 2 or (has_splits and split_of(parts[0]) is None):
            loose.append(printable(name))
        else:
            files.append(ImageFile.at(f"{root}/{name}", name, printable(parts[depth]), status))
    if loose:
        log.warning("Left out, because they lie in no class folder of %s: %s.", root, some(loose))
    if has_splits:
        assigned = {file.name: SPLIT_NAMES[file.name.split("/")[0].lower()] for file in files}
    else:
        assigned = own_split.assign(files, root / own_split.FILE_NAME, kept_file)
    folders = [name.split("/") for name in found.folders if name.count("/") == depth]
    train_folders = [parts for parts in folders if not has_splits or split_of(parts[0]) == "train"]
    return _sorted_by_split(root, files, assigned, [printable(parts[depth]) for parts in train_folders])


def _has_split_folders(root: Path, folders: Sequence[str]) -> bool:
    """Whether the top folders are splits, not classes: one is called train, or all have names of splits."""
    by_split: dict[str | None, list[str]] = defaultdict(list)
    for name in folders:
        if "/" not in name:
            by_split[split_of(name)].append(name)
    others = [printable(name) for name in by_split.pop(None, [])]
    if "train" not in by_split and (others or not by_split):
        _check_depth(root, folders)
        return False
    for split, names in by_split.items():
        if len(names) > 1:
            raise DataError(f"{root} has several folders for {split}: {', '.join(names)}.\nKeep one of them.")
    if others:
        log.warning("Left out, because %s has split folders: %s.", root, some(others))
    return True


def _check_depth(root: Path, folders: Sequence[str]) -> None:
    """Refuse the folder above the data set, which would be read as one class."""
    for name in folders:
        above, _, last = name.rpartition("/")
        if above and "/" not in above and split_of(last) == "train":
            raise DataError(f"{root} holds a train folder one level down.\nDid you mean {root / above}?")


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
            split_of[name] = SPLIT_NAMES[split.lower()] if split is not None else ""
            files.append(ImageFile.at(str(file), name, printable(label), _status(file)))
    if problems:
        raise DataError(f"{path} cannot be used: {some(problems)}.\nCorrect these rows.")
    if "" in split_of.values():
        split_of = own_split.assign(files, None, kept_file)
    return _sorted_by_split(path, files, split_of, ())


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
    if split is not None and split_of(split) is None:
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


def _sorted_by_split(
    source: Path, files: Iterable[ImageFile], split_of: Mapping[str, str], class_folders: Iterable[str]
) -> Listing:
    """Order pictures by class and name; the classes are those of train, empty folders among them included."""
    by_split: dict[str, list[ImageFile]] = {split: [] for split in SPLITS}
    for file in files:
        by_split[split_of[file.name]].append(file)
    splits = {split: members for split, members in by_split.items() if members}
    if not splits:
        raise DataError(
            f"No pictures in {source}. Looked for {', '.join(sorted(SUFFIXES))} "
            "in train/<class>/ and test/<class>/, or in <class>/."
        )
    used = {split: {file.class_name for file in members} for split, members in splits.items()}
    learnt = used.get("train", set().union(*used.values()))
    class_names = class_order(learnt | set(class_folders))
    if foreign := class_order(set().union(*used.values()) - learnt):
        raise DataError(
            f"{source} has {len(foreign)} classes without a picture in train: {some(foreign)}.\n"
            f"Train has: {some(class_order(learnt))}. Add pictures of them to train, or remove them."
        )
    rank = {name: number for number, name in enumerate(class_names)}
    for members in splits.values():
        members.sort(key=lambda file: (rank[file.class_name], file.name))
    return Listing(source, class_names, splits)
