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
from cifarlab.images.folders.listing import ImageFile, Listing, counts, sorted_by_split
from cifarlab.images.folders.lists import list_listed
from cifarlab.images.folders.scan import scan
from cifarlab.images.folders.split_folders import Meaning, understand
from cifarlab.images.images import Images
from cifarlab.images.pixel_cache import Card, load_pixels
from cifarlab.images.source import Source, Understanding
from cifarlab.images.words import SUFFIXES
from cifarlab.recipe import DataSpec


def recognise_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder of pictures as a source; None for one that has neither folders nor pictures."""
    with os.scandir(path) as entries:
        if not any(entry.is_dir() or Path(entry.name).suffix.lower() in SUFFIXES for entry in entries):
            return None
    return open_folder(path, spec, cache_dir)


def recognise_lists(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder in which lists say what its pictures are, as a source; None for one without."""
    place = _place(path, cache_dir)
    found = list_listed(path, spec, place / own_split.FILE_NAME) if spec.layout == "auto" else None
    return _open(*found, spec, place) if found else None


def open_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A folder of pictures as a source: decoded once, then memory-mapped from `cache_dir`.

    spec.image_size: side in pixels; None takes 32 where the median shorter side of the training pictures is at
    most 64 px, else 64. Raises AmbiguousDataError for folders that can be read in two ways, DataError for classes that
    only test has, bad links, bad pictures.
    """
    tree = scan(path, follow_links=spec.follow_links)
    meaning = understand(tree, spec)
    root = _root_of_names(path, meaning)
    place = _place(root, cache_dir)
    files, splits = _files(path, root, meaning)
    rule, is_drawn = meaning.rule, False
    if "" in splits.values():
        own_file = root / own_split.FILE_NAME
        is_drawn = not own_file.is_file()
        splits = own_split.assign(files, own_file, place / own_split.FILE_NAME)
        rule += "; train and test are drawn from them" if is_drawn else f"; {own_split.FILE_NAME} says the splits"
    listing = sorted_by_split(path, files, splits, (), is_drawn)
    understanding = Understanding(
        "folder",
        f"{rule[0].upper()}{rule[1:]}.",
        tuple(listing.splits),
        counts(listing),
        {reason: names for reason, names in (tree.left_out | meaning.left_out).items() if names},
        {"source": str(root.absolute()), "layout": meaning.layout, **_settled_splits(meaning)},
        own_split=is_drawn,
    )
    return _open(listing, understanding, spec, place)


def open_csv(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """The pictures that a CSV lists, as a source; options and errors as for `open_folder`."""
    place = _place(path, cache_dir)
    return _open(*list_csv(path, spec, place / own_split.FILE_NAME), spec, place)


def _open(listing: Listing, understanding: Understanding, spec: DataSpec, place: Path) -> Source:
    return Source(
        listing.source, understanding, lambda split: _read(listing, split, spec.image_size, spec.skip_bad, place)
    )


def _root_of_names(path: Path, meaning: Meaning) -> Path:
    """The folder that pictures are named relative to, so that folders around a data set change no names and no splits.

    It is the one with the user's list of splits, where there is one around.
    """
    inner = path / meaning.root.name
    is_outside = (path / own_split.FILE_NAME).is_file() and not (inner / own_split.FILE_NAME).is_file()
    return path if is_outside else inner


def _files(path: Path, root: Path, meaning: Meaning) -> tuple[list[ImageFile], dict[str, str]]:
    """The pictures of all classes, and the split of each; "" where it is to be drawn."""
    skipped = len(f"{root.relative_to(path).as_posix()}/") if root != path else 0
    files, splits = list[ImageFile](), dict[str, str]()
    for part in meaning.classes:
        class_name = printable(part.class_name)
        for folder in part.folders:
            for file, status in folder.pictures:
                name = f"{folder.name}/{file}"
                files.append(ImageFile.at(f"{path}/{name}", name[skipped:], class_name, status))
                splits[name[skipped:]] = part.split
    return files, splits


def _settled_splits(meaning: Meaning) -> dict[str, str]:
    """What names the split folders in the same way the next time; bytes that are not UTF-8 cannot stand in a recipe."""
    names = meaning.split_names()
    return {"split_names": names} if names and names.isprintable() else {}


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
