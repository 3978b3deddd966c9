"""Folders of pictures and CSV lists of pictures, as Images.

A folder holds `train/<class>/*`, `val/<class>/*` and `test/<class>/*`, or just `<class>/*`, then split by us.
A CSV has the columns image (relative to the CSV), label, and, unless it is to be split by us, split.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cifarlab.console import log
from cifarlab.data import own_split
from cifarlab.data.decode import stored_size
from cifarlab.data.images import Images
from cifarlab.data.listing import SUFFIXES, ImageFile, class_order, link_problem, printable, scan, some
from cifarlab.data.own_split import SPLIT_NAMES
from cifarlab.data.pixel_cache import Card, load_pixels
from cifarlab.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Listing:
    """A data set before decoding: its classes, and its pictures by split, sorted by class and name."""

    source: Path
    class_names: tuple[str, ...]
    splits: dict[str, list[ImageFile]]


def read_folder(
    path: Path, split: str, *, image_size: int | None = None, skip_bad: bool = False, cache_dir: Path
) -> Images:
    """Load one split of a folder of pictures: decoded once, then memory-mapped from `cache_dir`.

    image_size: side in pixels; None takes 32 where the median shorter side of the training pictures is at
    most 64 px, else 64. skip_bad: leave out what cannot be read, and list it in `skipped`.
    Raises DataError for a split that is not there, classes that only test has, bad links, bad pictures.
    """
    place = _place(path, cache_dir)
    return _read(_list_folder(path, place / own_split.FILE_NAME), split, image_size, skip_bad, place)


def read_csv(
    path: Path, split: str, *, image_size: int | None = None, skip_bad: bool = False, cache_dir: Path
) -> Images:
    """Load one split of the pictures that a CSV lists; options and errors as for `read_folder`."""
    place = _place(path, cache_dir)
    return _read(_list_csv(path, place / own_split.FILE_NAME), split, image_size, skip_bad, place)


def folder_splits(path: Path) -> tuple[str, ...]:
    """Which of train, val and test a folder has; one that names none is split into train and test."""
    return tuple(_list_folder(path, None).splits)


def csv_splits(path: Path) -> tuple[str, ...]:
    """Which of train, val and test a CSV has; where it names none it is split into train and test."""
    return tuple(_list_csv(path, None).splits)


def _read(listing: _Listing, split: str, image_size: int | None, skip_bad: bool, place: Path) -> Images:
    files = listing.splits.get(split)
    if files is None:
        raise DataError(
            f"{listing.source} has no {split} split. It has: {', '.join(listing.splits)}.\n"
            + ("Validation pictures are held out of train: see validation.size." if split == "val" else "")
        )
    image_size = image_size or _default_image_size(listing)
    pixels, card = load_pixels(files, listing.class_names, image_size, place, split)
    if card.skipped and not (skip_bad and card.num_images):
        raise DataError(_unreadable(listing.source, split, card))
    kept = [file for file in files if printable(file.name) not in card.skipped]
    index = {name: number for number, name in enumerate(listing.class_names)}
    labels = np.array([index[file.class_name] for file in kept], np.int64)
    skipped = tuple(f"{name}: {reason}" for name, reason in card.skipped.items())
    images = Images(pixels, labels, listing.class_names, None, _note(listing.source, card), skipped)
    _warn_of_empty_classes(images, split)
    return images


def _unreadable(source: Path, split: str, card: Card) -> str:
    lines = [f"{name}: {reason}" for name, reason in card.skipped.items()]
    return (
        f"{len(lines)} of {len(lines) + card.num_images} {split} pictures in {source} cannot be read:\n"
        f"{some(lines)}.\n"
        "Repair or remove them, or leave them out with data.skip_bad = true (--skip-bad)."
    )


def _note(source: Path, card: Card) -> str:
    modes = ", ".join(f"{count} {mode}" for mode, count in card.stored_modes.items())
    sizes = sorted(card.stored_sizes)
    stored = f"{sizes[0]} px" if len(sizes) == 1 else "several sizes"
    return f"from {printable(str(source))}, stored as {modes}, {stored}; decoded to RGB, {card.image_size} px"


def _warn_of_empty_classes(images: Images, split: str) -> None:
    empty = [name for name, count in zip(images.class_names, images.counts, strict=True) if count == 0]
    if empty:
        log.warning(
            "No %s picture for %d of %d classes: %s.", split, len(empty), images.num_classes, some(empty)
        )


def _default_image_size(listing: _Listing, num_sampled: int = 100) -> int:
    """32 where pictures evenly taken from train have a median shorter side of at most 64 px, else 64."""
    files = next(iter(listing.splits.values()))
    sides = []
    for file in files[:: max(1, len(files) // num_sampled)]:
        try:
            sides.append(min(stored_size(Path(file.path).read_bytes())))
        except (DataError, OSError) as error:
            log.debug("Not counted for the image size: %s: %s", printable(file.name), error)
    return 32 if not sides or statistics.median(sides) <= 64 else 64


def _place(source: Path, cache_dir: Path) -> Path:
    """Where the pixels and the split of one source are kept."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", source.stem).strip("-")[:40]
    return cache_dir / "folders" / f"{readable}-{digest}"


def _list_folder(root: Path, kept_file: Path | None) -> _Listing:
    found = scan(root)
    top = [name for name in found.folders if "/" not in name]
    has_splits = _are_splits(root, top, found.folders)
    depth = 1 if has_splits else 0  # of the class in a name
    files, loose = [], []
    for name, status in found.files:
        parts = name.split("/")
        if len(parts) < depth + 2 or (has_splits and _split(parts[0]) is None):
            loose.append(printable(name))
        else:
            files.append(ImageFile.at(f"{root}/{name}", name, printable(parts[depth]), status))
    if loose:
        log.warning(
            "%d pictures in %s lie in no class folder and are left out: %s.", len(loose), root, some(loose)
        )
    if has_splits:
        splits = {file.name: SPLIT_NAMES[file.name.split("/")[0].lower()] for file in files}
    else:
        splits = own_split.assign(files, root / own_split.FILE_NAME, kept_file)
    folders = [name.split("/") for name in found.folders if name.count("/") == depth]
    train_classes = [
        printable(parts[depth]) for parts in folders if not has_splits or _split(parts[0]) == "train"
    ]
    return _sort(root, files, splits, train_classes)


def _are_splits(root: Path, top: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether the top folders are splits, not classes."""
    by_split: dict[str | None, list[str]] = defaultdict(list)
    for name in top:
        by_split[_split(name)].append(name)
    others = [printable(name) for name in by_split.pop(None, [])]
    if "train" not in by_split and (others or not top):
        if below := [
            name for name in folders if name.count("/") == 1 and _split(name.split("/")[1]) == "train"
        ]:
            raise DataError(
                f"{root} holds no classes, but {below[0]}.\nDid you mean {(root / below[0]).parent}?"
            )
        return False
    for split, names in by_split.items():
        if len(names) > 1:
            raise DataError(f"{root} has several folders for {split}: {', '.join(names)}.\nKeep one of them.")
    if others:
        log.warning("Left out, because %s has a train folder: %s.", root, some(others))
    return True


def _split(folder: str) -> str | None:
    return SPLIT_NAMES.get(folder.lower())


def _list_csv(path: Path, kept_file: Path | None) -> _Listing:
    rows = _csv_rows(path)
    root, real_root = path.parent, os.path.realpath(path.parent)
    files, problems, splits = [], list[str](), dict[str, str]()
    for number, row in enumerate(rows, start=2):
        name, label, split = (os.path.normpath(row["image"] or ""), row["label"] or "", row.get("split"))
        problem = _row_problem(root, real_root, name, label, split)
        if name in splits:
            problem = "names a picture again"
        if problem:
            problems.append(f"row {number} ({printable(name)}) {problem}")
            continue
        splits[name] = SPLIT_NAMES[split] if split is not None else ""
        file = root / name
        files.append(
            ImageFile.at(str(file), name, printable(label.strip()), file.stat() if file.exists() else None)
        )
    if problems:
        raise DataError(f"{path} cannot be used: {some(problems)}.\nCorrect these rows.")
    if "" in splits.values():
        splits = own_split.assign(files, None, kept_file)
    return _sort(path, files, splits, {file.class_name for file in files if splits[file.name] == "train"})


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


def _row_problem(root: Path, real_root: str, name: str, label: str, split: str | None) -> str:
    """Say why a row cannot be used; a file that is missing or damaged is found when it is read."""
    if not label.strip():
        return "has no label"
    if split is not None and split not in SPLIT_NAMES:
        return f"has the split {printable(split)!r}; allowed: {', '.join(SPLIT_NAMES)}"
    if name == "." or "\0" in name:
        return "names no picture"
    if name.startswith(("/", "../")):
        return "lies outside of the folder of the CSV"
    path = root / name
    return link_problem(str(path), real_root) if path.exists() or path.is_symlink() else ""


def _sort(
    source: Path, files: Iterable[ImageFile], split_of: dict[str, str], train_classes: Iterable[str]
) -> _Listing:
    """Order pictures by class and name, and hold every split against the classes of train."""
    by_split: dict[str, list[ImageFile]] = {split: [] for split in SPLITS}
    for file in files:
        by_split[split_of[file.name]].append(file)
    found = {split: members for split, members in by_split.items() if members}
    if not found:
        raise DataError(
            f"No pictures in {source}. Looked for {', '.join(sorted(SUFFIXES))} "
            "in train/<class>/ and test/<class>/, or in <class>/."
        )
    used = {file.class_name for members in found.values() for file in members}
    class_names = class_order(train_classes) if "train" in found else class_order(used)
    if foreign := class_order(used - set(class_names)):
        raise DataError(
            f"{source} has {len(foreign)} classes that are not in train: {some(foreign)}.\n"
            f"Train has: {some(class_names)}. Add pictures of them to train, or remove them elsewhere."
        )
    rank = {name: number for number, name in enumerate(class_names)}
    for members in found.values():
        members.sort(key=lambda file: (rank[file.class_name], file.name))
    return _Listing(source, class_names, found)
