"""Folders of pictures and CSV lists of pictures, as Images.

A folder holds `train/<class>/*`, `val/<class>/*` and `test/<class>/*`, or just `<class>/*`, then split by us.
A CSV has the columns image (relative to the CSV), label, and, unless it is to be split by us, split.
"""

from __future__ import annotations

import hashlib
import os
import re
import statistics
from pathlib import Path

import numpy as np

from cifarlab.console import log
from cifarlab.errors import DataError
from cifarlab.images.decode import stored_size
from cifarlab.images.folders import own_split
from cifarlab.images.folders.layouts import Listing, list_csv, list_folder
from cifarlab.images.folders.listing import printable, some
from cifarlab.images.images import Images
from cifarlab.images.pixel_cache import Card, load_pixels


def read_folder(
    path: Path, split: str, *, image_size: int | None = None, skip_bad: bool = False, cache_dir: Path
) -> Images:
    """Load one split of a folder of pictures: decoded once, then memory-mapped from `cache_dir`.

    image_size: side in pixels; None takes 32 where the median shorter side of the training pictures is at
    most 64 px, else 64. skip_bad: leave out what cannot be read, and list it in `skipped`.
    Raises DataError for a split that is not there, classes that only test has, bad links, bad pictures.
    """
    place = _place(path, cache_dir)
    return _read(list_folder(path, place / own_split.FILE_NAME), split, image_size, skip_bad, place)


def read_csv(
    path: Path, split: str, *, image_size: int | None = None, skip_bad: bool = False, cache_dir: Path
) -> Images:
    """Load one split of the pictures that a CSV lists; options and errors as for `read_folder`."""
    place = _place(path, cache_dir)
    return _read(list_csv(path, place / own_split.FILE_NAME), split, image_size, skip_bad, place)


def folder_splits(path: Path) -> tuple[str, ...]:
    """Which of train, val and test a folder has; one that names none is split into train and test."""
    return tuple(list_folder(path, None).splits)


def csv_splits(path: Path) -> tuple[str, ...]:
    """Which of train, val and test a CSV has; where it names none it is split into train and test."""
    return tuple(list_csv(path, None).splits)


def _read(listing: Listing, split: str, image_size: int | None, skip_bad: bool, place: Path) -> Images:
    files = listing.splits.get(split)
    if files is None:
        hint = "\nValidation pictures can be held out of train: see validation.size." if split == "val" else ""
        raise DataError(f"{listing.source} has no {split} split. It has: {', '.join(listing.splits)}.{hint}")
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
        log.warning("No %s picture for %d of %d classes: %s.", split, len(empty), images.num_classes, some(empty))


def _default_image_size(listing: Listing, num_sampled: int = 100) -> int:
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
