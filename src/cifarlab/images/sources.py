"""From the name of a source to its images: where data is looked for, how its format is told, who reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from cifarlab.console import log
from cifarlab.errors import DataError, UsageError, unknown
from cifarlab.images.archives.cifar import extracted_layout, read_archive, read_extracted
from cifarlab.images.archives.download import download
from cifarlab.images.archives.official import DATASETS, LAYOUTS
from cifarlab.images.cache import keep_decoded
from cifarlab.images.folders.read import csv_splits, folder_splits, read_csv, read_folder
from cifarlab.images.images import Images
from cifarlab.images.sample import load_sample
from cifarlab.images.tables.parquet import parquet_files, read_parquet

SPLITS = ("train", "val", "test")
NAMES = ("sample", *DATASETS)
"""Sources that are no path."""
DATA_VARIABLE = "CIFARLAB_DATA"

Kind = Literal["sample", "archive", "extracted", "parquet", "csv", "folder"]


@dataclass(frozen=True)
class Found:
    """A source that is on this machine."""

    kind: Kind
    path: Path


def load_images(
    source: str | Path = "cifar10",
    split: str = "train",
    *,
    image_size: int | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
) -> Images:
    """Load one split of a data set.

    source: cifar10, cifar100, sample, or the path of an archive, parquet folder, image folder or CSV.
    split: train, val or test. image_size: side in pixels to which a folder's images are resized; small
    images of one size keep theirs. data_dir: where cifar10 and cifar100 are looked for first; then in
    $CIFARLAB_DATA and the user's cache; then they are downloaded. skip_bad: leave out images that cannot be
    read, and list them.

    Raises UsageError for a name or split that does not exist, DataError for data that is missing or
    damaged, and MachineError when it cannot be kept.
    """
    if split not in SPLITS:
        raise UsageError(unknown("split", split, SPLITS))
    found = find(source, data_dir=data_dir)
    if found is None:
        found = Found("archive", download(DATASETS[str(source)].archive, cache_dir()))
    if split not in (available := _splits(found)):
        raise UsageError(
            f"{source} has no {split} split; it has {', '.join(available)}.\n"
            "A validation split is held out of train by validation.size."
        )
    log.debug("Reading %s of %s from %s", split, source, found.path)
    return _read(found, split, image_size, skip_bad)


def splits(source: str | Path, *, data_dir: Path | None = None) -> tuple[str, ...]:
    """Which of train, val and test a source has, in this order; nothing is downloaded.

    Raises UsageError and DataError like `load_images`.
    """
    found = find(source, data_dir=data_dir)
    return ("train", "test") if found is None else _splits(found)


def find(source: str | Path, *, data_dir: Path | None = None) -> Found | None:
    """Find a source on this machine and tell its format; None for a data set that has to be downloaded.

    Raises UsageError for an unknown name, DataError for a path that does not exist or holds no data.
    """
    if source == "sample":
        return Found("sample", Path("sample"))
    if isinstance(source, str) and source in DATASETS:
        return _find_named(source, data_dir)
    path = Path(source).expanduser()
    if not path.exists():
        if path.parent == Path() and not path.suffix:
            raise UsageError(
                f"{unknown('data set', str(source), NAMES)}\nA path to an archive, folder or CSV works too."
            )
        raise DataError(f"There is no data at {path}.")
    if (found := recognise(path)) is None:
        raise DataError(
            f"{path} is nothing that cifarlab reads.\n"
            "It reads the CIFAR archives and their folders, train-*.parquet, folders <class>/*.png, and CSV."
        )
    return found


def locate(source: str | Path, *, data_dir: Path | None = None) -> Path | None:
    """Where a source lies on this machine; None when it would have to be downloaded. Raises what `find` raises."""
    found = find(source, data_dir=data_dir)
    return found.path if found else None


def recognise(path: Path) -> Found | None:
    """Tell the format of a file or folder; None if it is none. Original pixels win over re-encoded ones."""
    if path.is_file():
        endings: dict[str, Kind] = {
            ".tar.gz": "archive",
            ".tgz": "archive",
            ".parquet": "parquet",
            ".csv": "csv",
        }
        return next((Found(kind, path) for ending, kind in endings.items() if path.name.endswith(ending)), None)
    for layout in LAYOUTS:
        for folder in (path, path / layout.folder):
            if extracted_layout(folder, [layout]):
                return Found("extracted", folder)
        if (path / layout.archive.name).is_file():
            return Found("archive", path / layout.archive.name)
    if parquet_files(path):
        return Found("parquet", path)
    has_folders = any(entry.is_dir() for entry in path.iterdir())
    return Found("folder", path) if has_folders else None


def cache_dir() -> Path:
    """Where downloads and decoded images are kept: the user's cache folder of this platform."""
    return platformdirs.user_cache_path("cifarlab")


def _find_named(name: str, data_dir: Path | None) -> Found | None:
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"The data folder {data_dir} does not exist.")
    variable = os.environ.get(DATA_VARIABLE)
    if variable and not Path(variable).expanduser().is_dir():
        log.warning("%s is set to %s, which is no folder; looking elsewhere.", DATA_VARIABLE, variable)
    for path in _candidates(name, data_dir, variable):
        if not path.exists():
            continue
        if (found := recognise(path)) is not None:
            return found
        log.warning("%s holds nothing that cifarlab reads; looking elsewhere.", path)
    return None


def _candidates(name: str, data_dir: Path | None, variable: str | None) -> Iterator[Path]:
    """Where a data set of this name may lie: as a folder in any format, unpacked, or as an archive."""
    for place in (data_dir, Path(variable).expanduser() if variable else None, cache_dir()):
        if place is not None:
            yield place / name
            for layout in LAYOUTS:
                if layout.dataset == name:
                    yield place / layout.folder
                    yield place / layout.archive.name


def _splits(found: Found) -> tuple[str, ...]:
    if found.kind == "parquet":
        files = parquet_files(found.path)
        return tuple(split for split in SPLITS if split in files)
    if found.kind == "csv":
        return csv_splits(found.path)
    if found.kind == "folder":
        return folder_splits(found.path)
    return ("train", "test")


def _read(found: Found, split: str, image_size: int | None, skip_bad: bool) -> Images:
    path, cache = found.path, cache_dir()
    if found.kind == "sample":
        return load_sample(split)
    if found.kind == "archive":
        return keep_decoded([path], [split], lambda: read_archive(path, split), cache)
    if found.kind == "extracted":
        return read_extracted(path, split)
    if found.kind == "parquet":
        files = [file for shards in parquet_files(path).values() for file in shards]
        options = [split, image_size, skip_bad]
        return keep_decoded(
            files, options, lambda: read_parquet(path, split, image_size=image_size, skip_bad=skip_bad), cache
        )
    read = read_csv if found.kind == "csv" else read_folder
    return read(path, split, image_size=image_size, skip_bad=skip_bad, cache_dir=cache)
