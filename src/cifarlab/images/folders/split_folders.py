"""What the folders of a data set mean: which are its splits, which its classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cifarlab.console import log, printable, some
from cifarlab.errors import DataError
from cifarlab.images.folders import own_split
from cifarlab.images.folders.listing import ImageFile, Listing, sorted_by_split
from cifarlab.images.folders.scan import scan
from cifarlab.images.words import split_of


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
    is_drawn = not has_splits and not (root / own_split.FILE_NAME).is_file()
    if has_splits:
        assigned: dict[str, str] = {file.name: split_of(file.name.split("/")[0]) or "" for file in files}
    else:
        assigned = own_split.assign(files, root / own_split.FILE_NAME, kept_file)
    folders = [name.split("/") for name in found.folders if name.count("/") == depth]
    train_folders = [parts for parts in folders if not has_splits or split_of(parts[0]) == "train"]
    return sorted_by_split(root, files, assigned, [printable(parts[depth]) for parts in train_folders], is_drawn)


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
