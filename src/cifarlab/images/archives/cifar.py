"""CIFAR-10 and CIFAR-100 as published: archives of pickled or binary batches, and the folders they hold."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.archives.official import LAYOUTS, NUM_VALUES, SIDE, Layout
from cifarlab.images.archives.pickles import read_pickle
from cifarlab.images.archives.tar import read_members
from cifarlab.images.decoded import files_state, keep
from cifarlab.images.folders.listing import refuse_look_alikes
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.recipe.schema import DataSpec

PUBLISHED = "the published pixels: the checksums agree"
CHANGED = "official structure, but checksums other than the published ones"
UNCHECKED = "official structure; no checksums of these files are published"

META_OPERATIONS = 20_000
"""Of a pickle with the names of some thousand classes."""


def open_archive(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """An archive as a source; decoded once, then memory-mapped from `cache_dir`."""

    def read(split: str) -> Images:
        return keep(path, split, [], files_state([path]), lambda scratch: read_archive(path, split), cache_dir)

    understanding = Understanding("archive", "Its files are called like those of CIFAR's archive.", ("train", "test"))
    return Source(path, understanding, read)


def open_extracted(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """The folder that an archive unpacks to, as a source."""
    understanding = Understanding("extracted", "Its files are called like those of CIFAR's archive.", ("train", "test"))
    return Source(path, understanding, lambda split: read_extracted(path, split))


def recognise_cifar(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder with a CIFAR archive, or with what one unpacks to, as a source; None for any other."""
    for layout in LAYOUTS:
        for folder in (path, path / layout.folder):
            if extracted_layout(folder, [layout]):
                return open_extracted(folder, spec, cache_dir)
        if (path / layout.archive.name).is_file():
            return open_archive(path / layout.archive.name, spec, cache_dir)
    return None


def read_archive(path: Path, split: str, layouts: Sequence[Layout] = LAYOUTS) -> Images:
    """Read one split of an archive without unpacking it to disk.

    Raises DataError when the file is cut off, damaged, or not one of the archives in `layouts`.
    """
    owners = {f"{layout.folder}/{name}": layout for layout in layouts for name in _files(layout, split)}
    limits = {f"{layout.folder}/{name}": size for layout in layouts for name, size in layout.limits.items()}
    wanted = {name: limits[name] for name in owners}
    try:
        members = dict(read_members(path, wanted, _max_bytes(layouts)))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(_damaged(path, error, layouts)) from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    if not members:
        raise DataError(f"{path} is no CIFAR archive: it has no file like {next(iter(wanted))}.")
    layout = owners[next(iter(members))]
    contents = {name: members.get(f"{layout.folder}/{name}", b"") for name in _files(layout, split)}
    published = not layout.md5 and _file_md5(path) == layout.archive.md5
    return _assemble(layout, split, contents, path, published=published)


def read_extracted(path: Path, split: str, layouts: Sequence[Layout] = LAYOUTS) -> Images:
    """Read one split of the folder that an archive unpacks to.

    Raises DataError when a file is missing, damaged, or not a regular file.
    """
    layout = extracted_layout(path, layouts)
    if layout is None:
        raise DataError(f"{path} holds no official batches.")
    contents = {name: _read_file(path / name, layout.limits[name]) for name in _files(layout, split)}
    return _assemble(layout, split, contents, path, published=False)


def extracted_layout(path: Path, layouts: Sequence[Layout] = LAYOUTS) -> Layout | None:
    """Which archive the files of this folder came from; None if from no known one."""
    for layout in layouts:
        batches = [name for files in layout.splits.values() for name in files]
        if _is_there(path / layout.meta) and any(_is_there(path / name) for name in batches):
            return layout
    return None


def _files(layout: Layout, split: str) -> list[str]:
    return [*layout.splits[split], layout.meta]


def _max_bytes(layouts: Sequence[Layout]) -> int:
    """What an archive may unpack to: twice the largest, for headers and for files that nobody asks for."""
    return 2 * max(sum(layout.limits.values()) for layout in layouts)


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _is_there(path: Path) -> bool:
    """Whether there is a file; a folder of images may have a subfolder `train`, like CIFAR-100 a file."""
    return path.exists() and not path.is_dir()


def _read_file(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; no bytes of one that is absent."""
    if not path.exists():
        return b""
    if not path.is_file():
        raise DataError(f"{path} is not a regular file.")
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    if len(content) > limit:
        raise DataError(f"{path} has more than the {limit:,} bytes that an official file can have.")
    return content


def _assemble(layout: Layout, split: str, contents: Mapping[str, bytes], origin: Path, *, published: bool) -> Images:
    if missing := [name for name, content in contents.items() if not content]:
        raise DataError(
            f"{origin} is incomplete: {', '.join(missing)} missing or empty.\n"
            f"Download {layout.archive.name} again, or unpack it again."
        )
    class_names = _class_names(layout, contents[layout.meta], f"{origin}/{layout.meta}")
    files = layout.splits[split]
    parts = [
        _binary_records(layout, contents[name], number, f"{origin}/{name}")
        if layout.label_bytes
        else _pickled_records(layout, contents[name], number, len(class_names), f"{origin}/{name}")
        for name, number in files.items()
    ]
    published = published or all(
        hashlib.md5(contents[name], usedforsecurity=False).hexdigest() == layout.md5.get(name) for name in files
    )
    return Images(
        pixels=np.concatenate([pixels for pixels, _ in parts]),
        labels=np.concatenate([labels for _, labels in parts]),
        class_names=class_names,
        original=True if published else None,
        note=PUBLISHED if published else CHANGED if layout.md5 else UNCHECKED,
    )


def _pickled_records(
    layout: Layout, content: bytes, max_records: int, num_classes: int, origin: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The records of a batch, of which those that others make in CIFAR's format have any number."""
    # In each a fine and a coarse label and a file name: up to a dozen operations each, as Python 3 writes them.
    batch = read_pickle(content, origin, max_operations=36 * max_records + 1000)
    pixels = batch.get(b"data")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (NUM_VALUES,) or pixels.dtype != np.uint8:
        found = f"{pixels.dtype.name} {pixels.shape}" if isinstance(pixels, np.ndarray) else "no array"
        raise DataError(f"{origin}: data must be uint8 (N, {NUM_VALUES}), found {found}.")
    labels = batch.get(layout.labels_key)
    if isinstance(labels, np.ndarray):
        labels = labels.ravel().tolist()
    if not isinstance(labels, list) or len(labels) != len(pixels):
        found = f"{len(labels)}" if isinstance(labels, list) else "no list"
        raise DataError(f"{origin}: {len(pixels)} labels are needed, found {found}.")
    if not all(type(label) is int for label in labels):
        raise DataError(f"{origin}: labels must be whole numbers.")
    return pixels.reshape(-1, 3, SIDE, SIDE), _check_labels(np.array(labels, np.int64), num_classes, origin)


def _binary_records(
    layout: Layout, content: bytes, num_records: int, origin: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    width = layout.label_bytes + NUM_VALUES
    if len(content) != num_records * width:
        raise DataError(
            f"{origin} has {len(content):,} bytes; {num_records:,} records of {width:,} bytes "
            f"make {num_records * width:,}.\nDownload the archive again."
        )
    records = np.frombuffer(content, np.uint8).reshape(num_records, width)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    return pixels, _check_labels(labels, layout.num_classes, origin)


def _check_labels(labels: NDArray[np.int64], num_classes: int, origin: str) -> NDArray[np.int64]:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        record = wrong[0]
        raise DataError(
            f"{origin}: record {record} has the label {labels[record]}; "
            f"there are {num_classes} classes, 0 to {num_classes - 1}."
        )
    return labels


def _class_names(layout: Layout, content: bytes, origin: str) -> tuple[str, ...]:
    if layout.label_bytes:
        lines: object = [line for line in content.splitlines() if line.strip()]
    else:
        lines = read_pickle(content, origin, max_operations=META_OPERATIONS).get(layout.names_key)
    if not isinstance(lines, list) or not lines or (layout.label_bytes and len(lines) != layout.num_classes):
        raise DataError(f"{origin} must list {layout.num_classes} class names.")
    try:
        names = tuple(printable((line if isinstance(line, str) else str(line, "utf-8")).strip()) for line in lines)
    except (TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{origin}: class names must be plain text.") from error
    refuse_look_alikes(Path(origin), names)
    if len(set(names)) < len(names):
        raise DataError(f"{origin} lists a class name twice.")
    return names


def _damaged(path: Path, error: Exception, layouts: Sequence[Layout]) -> str:
    have = path.stat().st_size
    want = next((layout.archive.size_bytes for layout in layouts if layout.archive.name == path.name), None)
    sizes = f"it has {have:,} bytes" + (f", the published file {want:,}" if want else "")
    problem = "cut off" if isinstance(error, EOFError) else f"damaged ({error})"
    return f"{path} is {problem}: {sizes}.\nDelete it and run the command again to download it anew."
