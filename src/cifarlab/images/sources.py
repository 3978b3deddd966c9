"""From the name of a source to its images: where data is looked for, how its format is recognised, who reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
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
from cifarlab.language import tr, translatable
from cifarlab.notes import notes_shown
from cifarlab.recipe.mistakes import section_from
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS

NAMES = ("sample", *DATASETS)
"""Sources that are not paths."""
DATA_VARIABLE = "CIFARLAB_DATA"
"""The environment variable that names a folder in which cifar10 and cifar100 are looked for."""

Opener = Callable[[Path, DataSpec, Path], Source]
"""Understands a path as the options say, without reading pixels; the last argument is the cache folder."""


def open_packed(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A zip or tar archive: one of CIFAR's own, or a folder in any layout, which is unpacked once."""
    # cifar-10-batches-py/...: these hold pickles, which have a reader of their own that needs nothing unpacked
    if any(name.startswith(f"{layout.folder}/") for name in first_names(path) for layout in LAYOUTS):
        return open_archive(path, spec, cache_dir)
    folder, left_out = unpack(path, cache_dir)
    with _errors_naming(path, folder):
        found = recognise(folder, spec)
        if found is None:
            raise DataError(tr("{folder} holds no pictures in a layout that cifarlab reads.", folder=folder))

    def read(split: str) -> Images:
        with _errors_naming(path, folder):
            images = found.read(split)
        return replace(images, note=images.note.replace(str(folder), str(path)))

    parts = (left_out, found.understanding.left_out)  # by the unpacking, and by the reader of the folder
    reasons = dict.fromkeys(reason for part in parts for reason in part)
    understanding = replace(
        found.understanding,
        rule=translatable("{rule} (Unpacked from the archive.)").format(rule=found.understanding.rule),
        left_out={reason: sorted(name for part in parts for name in part.get(reason, ())) for reason in reasons},
        # the archive, because the folder in the cache may be removed at any time
        settled={**found.understanding.settled, "source": str(path.absolute())},
    )
    return Source(path, understanding, read)


@contextmanager
def _errors_naming(path: Path, folder: Path) -> Iterator[None]:
    """Let errors name the archive, not the folder in the cache that it was unpacked to."""
    try:
        yield
    except DataError as error:
        raise type(error)(str(error).replace(str(folder), str(path))) from error


# No .txt: what such a list says is known only from the files around it (Food-101, CUB-200).
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
"""End of a file's name -> what reads it."""

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
"""What reads a folder: the first that recognises its content. Original pixels win over re-encoded ones.

The last takes any folder with pictures; the others also look into folders that wrap a data set.
"""


@notes_shown()  # a download is said to be one
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
        log.warning(tr("{place}: {problem}", place=printable(str(found.path)), problem=warning.text))
    return found.load(split)


def data_spec(source: str | Path, **options: object) -> DataSpec:
    """The `DataSpec` of a source with options given as keywords; raises RecipeError for one that is not allowed."""
    # by the reader of recipes, so that a mistake is explained alike in Python and in a recipe
    return section_from(DataSpec, {"source": str(source), **options}, "data")


def open_source(spec: DataSpec, data_dir: Path | None = None) -> Source:
    """Find a source on this machine, or download it; it is scanned once, and knows its splits and what is left out.

    Raises UsageError for an unknown name, DataError for a path that does not exist, holds no data, or can be understood
    in more than one way.
    """
    found = find(spec, data_dir)
    if found is None:
        archive = download(DATASETS[spec.source].archive, cache_dir())
        found = open_archive(archive, spec, cache_dir())
    # a list of names in another order than the data's would silently relabel the classes
    if spec.class_names and not found.understanding.numbered:
        raise DataError(
            tr(
                "{path} names its classes itself.\n"
                "data.class_names (--class-names) is for data whose labels are numbers alone.",
                path=found.path,
            )
        )
    log.debug("Found %s: %s at %s", spec.source, found.kind, found.path)
    return found


def find(spec: DataSpec, data_dir: Path | None = None) -> Source | None:
    """Find a source on this machine; None for one that has to be downloaded. Raises what `open_source` raises."""
    if spec.source == "sample":
        return open_sample(cache_dir())
    if spec.source in DATASETS:
        return _find_named(spec, data_dir)
    path = _existing(spec.source)
    if (found := recognise(path, spec)) is None:
        raise DataError(
            tr(
                "cifarlab cannot read {path}.\n"
                "It reads the CIFAR archives and their folders, folders of pictures (<class>/*.png, "
                "train/<class>/*.png), lists of pictures (CSV, ...), parquet, npz, npy, IDX, SVHN's .mat and "
                "CIFAR-10-C.",
                path=path,
            )
        )
    # absolute, so that a run finds its data from any working folder
    settled = {"source": str(found.path.absolute()), **found.understanding.settled}
    return replace(found, understanding=replace(found.understanding, settled=settled))


def _existing(source: str) -> Path:
    """The path of a file or folder; raises UsageError for a misspelt name, DataError for a path without data."""
    shown = printable(source if len(source) <= 200 else f"{source[:200]}...")
    try:
        path = Path(source).expanduser()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.parent == Path() and not path.suffix:  # "cifar-10" is a name, "pics/cats" and "cats.zip" are paths
            wrong = unknown("data set", source, NAMES)
            raise UsageError(f"{wrong}\n{tr('The path of a file or folder works too.')}") from error
        raise DataError(tr("There is no data at {path}.", path=shown)) from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
        raise DataError(tr("{path} cannot be looked at: {cause}.", path=shown, cause=cause(error))) from error
    if not source or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(tr("{path} is neither a file nor a folder.", path=shown or repr(source)))
    return path


def recognise(path: Path, spec: DataSpec) -> Source | None:
    """Recognise the format of a file or folder and open it; None if cifarlab does not read it."""
    if path.is_file():
        name = path.name.lower()
        opener = next((opener for ending, opener in FILES.items() if name.endswith(ending)), None)
        return opener(path, spec, cache_dir()) if opener else None
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(tr("Cannot list {folder}: permission denied.", folder=printable(str(path))))
    *by_files, by_pictures = FOLDERS
    # each folder by all readers before the one inside it; lazily, because the first that recognises it is enough
    found = (look(folder, spec, cache_dir()) for folder in _and_inside(path) for look in by_files)
    return next((source for source in found if source is not None), None) or by_pictures(path, spec, cache_dir())


def _and_inside(path: Path) -> Iterator[Path]:
    """A folder, and the folders that it only wraps: archives often unpack to a folder inside another."""
    yield path
    with os.scandir(path) as entries:
        # no links, which could lead in a circle; no __MACOSX beside the data, which zip files from macOS have
        folders = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False) and not litter(entry.name)]
    # a lone folder called train is a split, whose name would be lost inside it
    if len(folders) == 1 and split_of(folders[0].name) is None:
        yield from _and_inside(folders[0])


def cache_dir() -> Path:
    """The user's cache folder on this platform, for downloads and decoded images."""
    return platformdirs.user_cache_path("cifarlab")


def _find_named(spec: DataSpec, data_dir: Path | None) -> Source | None:
    """A data set that has a name, in `data_dir`, the folder of the variable or the cache; None if it is in none."""
    if data_dir is not None and not _is_folder(data_dir):
        raise DataError(tr("The data folder {folder} does not exist.", folder=printable(str(data_dir)[:200])))
    places = [place for place in (data_dir, _folder_of_variable(), cache_dir()) if place is not None]
    # a folder called cifar10 in any format, the official archive unpacked (cifar-10-batches-py), the archive itself
    names = [spec.source]
    for layout in LAYOUTS:
        names += [layout.folder, layout.archive.name] if layout.dataset == spec.source else []
    for path in (place / name for place in places for name in names):
        if not path.exists():
            continue
        if (found := recognise(path, spec)) is not None:
            return found
        log.warning(tr("{path} holds nothing that cifarlab reads; looking elsewhere.", path=path))
    return None


def _folder_of_variable() -> Path | None:
    """The folder that DATA_VARIABLE names; a warning, and None, if it is not there."""
    variable = os.environ.get(DATA_VARIABLE)
    if not variable:
        return None
    path = Path(os.path.expanduser(variable))  # noqa: PTH111 Path's own raises for a user who does not exist
    if _is_folder(path):
        return path
    text = tr("{variable} is set to {path}, which is not a folder; looking elsewhere.")
    log.warning(text.format(variable=DATA_VARIABLE, path=printable(variable[:200])))
    return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file system can hold
        return False
