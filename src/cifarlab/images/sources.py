"""From the name of a source to its images: where data is looked for, how its format is told, who reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import platformdirs

from cifarlab.console import log, printable
from cifarlab.errors import DataError, UsageError, cause, unknown
from cifarlab.images.archives.cifar import open_archive, recognise_cifar
from cifarlab.images.archives.download import download
from cifarlab.images.archives.official import DATASETS, LAYOUTS
from cifarlab.images.folders.read import open_csv, recognise_folder, recognise_lists
from cifarlab.images.folders.scan import litter
from cifarlab.images.folders.unpack import first_names, unpack
from cifarlab.images.images import Images
from cifarlab.images.quality import left_out
from cifarlab.images.sample import open_sample
from cifarlab.images.source import Source
from cifarlab.images.tables.corruptions import open_npy, recognise_corruptions
from cifarlab.images.tables.idx import open_idx, recognise_idx
from cifarlab.images.tables.named_arrays import open_npz, recognise_npy, recognise_npz
from cifarlab.images.tables.parquet import open_parquet, recognise_parquet
from cifarlab.images.tables.svhn import open_mat, recognise_svhn
from cifarlab.images.words import split_of
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS
from cifarlab.recipe.toml import section_from

NAMES = ("sample", *DATASETS)
"""Sources that are not paths."""
DATA_VARIABLE = "CIFARLAB_DATA"

Opener = Callable[[Path, DataSpec, Path], Source]
"""Understands a path as the options say, reading no pixels; the last argument is the cache folder."""


def open_packed(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A zip or tar archive: one of CIFAR's own, or a folder in any layout, which is unpacked once."""
    if any(name.startswith(f"{layout.folder}/") for name in first_names(path) for layout in LAYOUTS):
        return open_archive(path, spec, cache_dir)
    folder, left_out = unpack(path, cache_dir)
    with _called(path, folder):
        found = recognise(folder, spec)
        if found is None:
            raise DataError(f"{folder} holds no pictures in a layout that cifarlab reads.")

    def read(split: str) -> Images:
        with _called(path, folder):
            images = found.read(split)
        return replace(images, note=images.note.replace(str(folder), str(path)))

    understanding = replace(
        found.understanding,
        rule=f"{found.understanding.rule} (Unpacked from the archive.)",
        left_out=_together(left_out, found.understanding.left_out),
        settled={**found.understanding.settled, "source": str(path.absolute())},
    )
    return Source(path, understanding, read)


def _together(*parts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    reasons = dict.fromkeys(reason for part in parts for reason in part)
    return {reason: sorted(name for part in parts for name in part.get(reason, ())) for reason in reasons}


@contextmanager
def _called(path: Path, folder: Path) -> Iterator[None]:
    """Errors name the archive, not the folder in the cache that it was unpacked to."""
    try:
        yield
    except DataError as error:
        raise type(error)(str(error).replace(str(folder), str(path))) from error


FILES: dict[str, Opener] = {
    ".tar.gz": open_packed,
    ".tgz": open_packed,
    ".tar": open_packed,
    ".tar.bz2": open_packed,
    ".tar.xz": open_packed,
    ".zip": open_packed,
    ".parquet": open_parquet,
    ".npz": open_npz,
    ".npy": open_npy,
    "-ubyte": open_idx,
    "-ubyte.gz": open_idx,
    ".mat": open_mat,
    ".csv": open_csv,
    ".tsv": open_csv,
    ".jsonl": open_csv,
}
"""Who reads a file, by the end of its name."""

Recogniser = Callable[[Path, DataSpec, Path], Source | None]
"""An opener that looks at a folder first: None when it holds another format."""

FOLDERS: tuple[Recogniser, ...] = (
    recognise_cifar,
    recognise_parquet,
    recognise_idx,
    recognise_svhn,
    recognise_npz,
    recognise_npy,
    recognise_corruptions,
    recognise_lists,
    recognise_folder,
)
"""Who reads a folder: the first that knows its content. Original pixels win over re-encoded ones.

The last takes any folder with pictures; the others look into folders that wrap a data set, too.
"""


def load_images(
    source: str | Path = "cifar10",
    split: str = "train",
    *,
    image_size: int | None = None,
    data_dir: Path | None = None,
    skip_bad: bool = False,
) -> Images:
    """Load one split of a data set.

    source: cifar10, cifar100, sample, or the path of a data set in any of the formats of FILES and FOLDERS.
    split: train, val or test. data_dir: where cifar10 and cifar100 are looked for first; then in $CIFARLAB_DATA and the
    user's cache; then they are downloaded. The other options are fields of `DataSpec`.

    Raises UsageError for a name or split that does not exist, DataError for data that is missing or
    damaged, and MachineError when it cannot be kept.
    """
    if split not in SPLITS:
        raise UsageError(unknown("split", split, SPLITS))
    spec = data_spec(source, image_size=image_size, skip_bad=skip_bad)
    found = open_source(spec, data_dir)
    for warning in left_out(found.understanding):
        log.warning("%s: %s", printable(str(found.path)), warning.text)
    return found.load(split)


def data_spec(source: str | Path, **options: object) -> DataSpec:
    """The `DataSpec` of a source with options given as keywords; raises RecipeError for one that is not allowed."""
    return section_from(DataSpec, {"source": str(source), **options}, "data")


def open_source(spec: DataSpec, data_dir: Path | None = None) -> Source:
    """Find a source on this machine, or download it; scanned once, it knows its splits and what is left out.

    Raises UsageError for an unknown name, DataError for a path that does not exist, holds no data, or can be understood
    in more than one way.
    """
    found = find(spec, data_dir)
    if found is None:
        archive = download(DATASETS[spec.source].archive, cache_dir())
        found = open_archive(archive, spec, cache_dir())
    if spec.class_names and not found.understanding.numbered:
        raise DataError(
            f"{found.path} names its classes itself.\n"
            "data.class_names (--class-names) is for data whose labels are numbers alone."
        )
    log.debug("Found %s: %s at %s", spec.source, found.kind, found.path)
    return found


def find(spec: DataSpec, data_dir: Path | None = None) -> Source | None:
    """Find a source on this machine; None for one that has to be downloaded. Raises what `open_source` raises."""
    if spec.source == "sample":
        return open_sample()
    if spec.source in DATASETS:
        return _find_named(spec, data_dir)
    path = _existing(spec.source)
    if (found := recognise(path, spec)) is None:
        raise DataError(
            f"{path} is nothing that cifarlab reads.\n"
            "It reads the CIFAR archives and their folders, folders of pictures (<class>/*.png, train/<class>/*.png), "
            "lists of pictures (CSV, ...), parquet, npz, npy, IDX, SVHN's .mat and CIFAR-10-C."
        )
    settled = {"source": str(found.path.absolute()), **found.understanding.settled}
    return replace(found, understanding=replace(found.understanding, settled=settled))


def _existing(source: str) -> Path:
    """The path of a file or folder; raises UsageError for what may be a misspelt name, DataError for anything else."""
    shown = printable(source if len(source) <= 200 else f"{source[:200]}...")
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.parent == Path() and not path.suffix:
            raise UsageError(
                f"{unknown('data set', source, NAMES)}\nThe path of a file or folder works too."
            ) from error
        raise DataError(f"There is no data at {shown}.") from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
        raise DataError(f"{shown} cannot be looked at: {cause(error)}.") from error
    if not source or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{shown or repr(source)} is neither a file nor a folder.")
    return path


def recognise(path: Path, spec: DataSpec) -> Source | None:
    """Tell the format of a file or folder; None if it is none that cifarlab reads."""
    if path.is_file():
        name = path.name.lower()
        opener = next((opener for ending, opener in FILES.items() if name.endswith(ending)), None)
        return opener(path, spec, cache_dir()) if opener else None
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"Cannot list {printable(str(path))}: permission denied.")
    *by_files, by_pictures = FOLDERS
    found = (look(folder, spec, cache_dir()) for folder in _and_inside(path) for look in by_files)
    return next((source for source in found if source is not None), None) or by_pictures(path, spec, cache_dir())


def _and_inside(path: Path) -> Iterator[Path]:
    """A folder, and the folders that it only wraps: archives often unpack to a folder inside another."""
    yield path
    with os.scandir(path) as entries:
        folders = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False) and not litter(entry.name)]
    if len(folders) == 1 and split_of(folders[0].name) is None:
        yield from _and_inside(folders[0])


def cache_dir() -> Path:
    """Where downloads and decoded images are kept: the user's cache folder of this platform."""
    return platformdirs.user_cache_path("cifarlab")


def _find_named(spec: DataSpec, data_dir: Path | None) -> Source | None:
    if data_dir is not None and not _is_folder(data_dir):
        raise DataError(f"The data folder {printable(str(data_dir)[:200])} does not exist.")
    places = [place for place in (data_dir, _folder_of_variable(), cache_dir()) if place is not None]
    for path in _candidates(spec.source, places):
        if not path.exists():
            continue
        if (found := recognise(path, spec)) is not None:
            return found
        log.warning("%s holds nothing that cifarlab reads; looking elsewhere.", path)
    return None


def _folder_of_variable() -> Path | None:
    variable = os.environ.get(DATA_VARIABLE)
    if not variable:
        return None
    path = Path(os.path.expanduser(variable))  # noqa: PTH111 Path's own raises for a user who does not exist
    if _is_folder(path):
        return path
    log.warning("%s is set to %s, which is not a folder; looking elsewhere.", DATA_VARIABLE, printable(variable[:200]))
    return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file system can hold
        return False


def _candidates(name: str, places: Iterable[Path]) -> Iterator[Path]:
    """Where a data set of this name may lie: as a folder in any format, unpacked, or as an archive."""
    for place in places:
        yield place / name
        for layout in LAYOUTS:
            if layout.dataset == name:
                yield place / layout.folder
                yield place / layout.archive.name
