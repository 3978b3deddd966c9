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

from cifarlab.console import log, printable, some
from cifarlab.errors import DataError
from cifarlab.images.decode import stored_size
from cifarlab.images.folders import own_split
from cifarlab.images.folders.csv import list_csv
from cifarlab.images.folders.listing import Listing
from cifarlab.images.folders.lists import list_listed
from cifarlab.images.folders.split_folders import list_folder
from cifarlab.images.images import Images
from cifarlab.images.pixel_cache import Card, load_pixels
from cifarlab.images.source import Source, Understanding
from cifarlab.recipe import DataSpec


def recognise_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder of pictures as a source; None for one without folders."""
    has_folders = any(entry.is_dir() for entry in path.iterdir())
    return open_folder(path, spec, cache_dir) if has_folders else None


def recognise_lists(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder in which lists say what its pictures are, as a source; None for one without."""
    place = _place(path, cache_dir)
    found = list_listed(path, spec, place / own_split.FILE_NAME) if spec.layout == "auto" else None
    return _open(*found, spec, place) if found else None


def open_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A folder of pictures as a source: decoded once, then memory-mapped from `cache_dir`.

    spec.image_size: side in pixels; None takes 32 where the median shorter side of the training pictures is at
    most 64 px, else 64. Raises DataError for classes that only test has, bad links, bad pictures.
    """
    place = _place(path, cache_dir)
    listing = list_folder(path, place / own_split.FILE_NAME)
    return _open(listing, Understanding("folder", "", tuple(listing.splits), own_split=listing.own_split), spec, place)


def open_csv(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """The pictures that a CSV lists, as a source; options and errors as for `open_folder`."""
    place = _place(path, cache_dir)
    return _open(*list_csv(path, spec, place / own_split.FILE_NAME), spec, place)


def _open(listing: Listing, understanding: Understanding, spec: DataSpec, place: Path) -> Source:
    return Source(
        listing.source, understanding, lambda split: _read(listing, split, spec.image_size, spec.skip_bad, place)
    )


def _read(listing: Listing, split: str, image_size: int | None, skip_bad: bool, place: Path) -> Images:
    files = listing.splits[split]
    image_size = image_size or _default_image_size(listing)
    pixels, card = load_pixels(files, listing.class_names, image_size, place, split)
    if card.skipped and not (skip_bad and card.num_images):
        raise DataError(_unreadable(listing.source, split, card))
    kept = [file for file in files if printable(file.name) not in card.skipped]
    index = {name: number for number, name in enumerate(listing.class_names)}
    labels = np.array([index[file.class_name] for file in kept], np.int64)
    skipped = tuple(f"{name}: {reason}" for name, reason in card.skipped.items())
    names = tuple(file.name for file in kept)
    images = Images(pixels, labels, listing.class_names, None, _note(listing.source, card), skipped, names)
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
