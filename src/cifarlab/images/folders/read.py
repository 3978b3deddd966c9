"""Folders of pictures and CSV lists of pictures, as sources.

A folder holds `train/<class>/*`, `val/<class>/*` and `test/<class>/*`, or just `<class>/*`, from which cifarlab then
draws train and test. A CSV has the columns image (relative to the CSV) and label, and split unless it is to be drawn.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.decode import read_file
from cifarlab.images.decoded import digest
from cifarlab.images.folders import own_split
from cifarlab.images.folders.csv import list_csv
from cifarlab.images.folders.listing import ImageFile, Listing, counts, look_alike_error, sorted_by_split
from cifarlab.images.folders.lists import METADATA, list_listed
from cifarlab.images.folders.scan import scan
from cifarlab.images.folders.split_folders import Meaning, understand
from cifarlab.images.images import Images
from cifarlab.images.pictures import Content, Pictures, load, sample_step
from cifarlab.images.source import Source, Understanding
from cifarlab.images.words import composed, is_picture
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec


def recognise_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder of pictures as a source; None for one that has neither folders nor pictures."""
    if spec.layout == "lists":
        raise DataError(
            tr(
                "{folder} has no list of its pictures with their classes.\n"
                "Looked for CSV files with columns such as image and label, and for {csv} and {jsonl}.",
                folder=printable(str(path)),
                csv=METADATA[0],
                jsonl=METADATA[1],
            )
        )
    with os.scandir(path) as entries:
        if not any(entry.is_dir() or is_picture(entry.name) for entry in entries):
            return None  # a mistyped path is not a data set without pictures
    return open_folder(path, spec, cache_dir)


def recognise_lists(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder in which lists say what its pictures are, as a source; None for a folder without such lists."""
    if spec.layout not in ("auto", "lists"):
        return None  # the user has said that the folders name the classes
    place = _place(path, cache_dir)
    found = list_listed(path, spec, place / own_split.FILE_NAME)
    return _open(*found, spec, cache_dir) if found else None


def open_folder(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A folder of pictures as a source: decoded once, then memory-mapped from `cache_dir`.

    Raises AmbiguousDataError for folders that can be read in two ways, DataError for classes that only test has and for
    links that are not followed. Pictures that cannot be read are found when a split is loaded.
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
        drawn, said = translatable("train and test are drawn from them"), translatable("{file} says the splits")
        rule += "; " + (drawn if is_drawn else said.format(file=own_split.FILE_NAME))
    listing = sorted_by_split(path, files, splits, is_drawn)
    # what a later reading needs to decide the same; bytes that are not UTF-8 cannot stand in a recipe
    names = meaning.split_names()
    settled_splits = {"split_names": names} if names and names.isprintable() else {}
    understanding = Understanding(
        "folder",
        translatable("{rule}.").format(rule=rule),
        tuple(listing.splits),
        counts(listing),
        {reason: names for reason, names in (tree.left_out | meaning.left_out).items() if names},
        {"source": str(root.absolute()), "layout": meaning.layout, **settled_splits},
        own_split=is_drawn,
    )
    return _open(listing, understanding, spec, cache_dir)


def open_csv(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """The pictures that a CSV lists, as a source; options and errors as for `open_folder`."""
    place = _place(path, cache_dir)
    return _open(*list_csv(path, spec, place / own_split.FILE_NAME), spec, cache_dir)


def _open(listing: Listing, understanding: Understanding, spec: DataSpec, cache_dir: Path) -> Source:
    label = {name: number for number, name in enumerate(listing.class_names)}
    train = next(iter(listing.splits.values()))  # or test, where that is all
    # of train for every split: one network needs one size, and test must not decide it
    sample = train[:: sample_step(len(train))]

    def read(split: str) -> Images:
        files = listing.splits[split]
        pictures = Pictures(
            source=listing.source,
            split=split,
            names=[file.name for file in files],
            labels=np.array([label[file.class_name] for file in files], np.int64),
            class_names=listing.class_names,
            contents=lambda: _contents(files),
            sample=lambda: _contents(sample),
            # size and date instead of a hash of the bytes, for which every start would read all files; permissions
            # count too, because they can hide a file; the sample, because other pictures there mean another size here
            state=digest(f"{file.size_bytes} {file.modified_ns} {file.mode_bits}" for file in (*files, *sample)),
        )
        return load(pictures, spec, cache_dir)

    return Source(listing.source, understanding, read)


def _root_of_names(path: Path, meaning: Meaning) -> Path:
    """The folder that pictures are named relative to, so that folders around a data set change no names and no splits.

    That is the innermost one that holds everything, unless the user's list of splits lies further out.
    """
    inner = path / meaning.root.name
    is_outside = (path / own_split.FILE_NAME).is_file() and not (inner / own_split.FILE_NAME).is_file()
    return path if is_outside else inner


def _files(path: Path, root: Path, meaning: Meaning) -> tuple[list[ImageFile], dict[str, str]]:
    """The pictures of all classes, and the split of each; "" where it is to be drawn."""
    skipped = len(f"{root.relative_to(path).as_posix()}/") if root != path else 0
    files, splits = list[ImageFile](), dict[str, str]()
    raw_names = dict[str, str]()
    for part in meaning.classes:
        # names go into tables, terminals and pages: what could break them becomes an escape here, once
        class_name = printable(composed(part.class_name))
        raw_name = raw_names.setdefault(class_name, part.class_name)
        if raw_name != part.class_name:  # a line break, and a backslash with an n
            raise look_alike_error(path, [(raw_name, part.class_name)])
        for folder in part.folders:
            for file, status in folder.pictures:
                name = f"{folder.name}/{file}"
                files.append(ImageFile.at(f"{path}/{name}", name[skipped:], class_name, status))
                splits[files[-1].name] = part.split
    return files, splits


def _contents(files: Iterable[ImageFile]) -> Iterator[Content]:
    return (partial(read_file, Path(file.path)) for file in files)


def _place(source: Path, cache_dir: Path) -> Path:
    """The folder in the cache for the split of one source: its name, for people, and a hash of its real path."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", source.stem).strip("-")[:40]
    return cache_dir / "folders" / f"{readable}-{digest}"
