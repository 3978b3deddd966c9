"""Read CIFAR-10 and CIFAR-100 as published: archives of pickled or binary batches, and the folders they unpack to."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError, cause
from cifarlab.images.archives.official import LAYOUTS, NUM_VALUES, SIDE, Layout
from cifarlab.images.archives.pickles import read_pickle
from cifarlab.images.archives.tar import read_members
from cifarlab.images.decoded import files_state, keep
from cifarlab.images.folders.listing import refuse_look_alikes
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.language import listed, tr, translatable
from cifarlab.recipe.schema import DataSpec

PUBLISHED = translatable("the published pixels: the checksums agree")
CHANGED = translatable("official structure, but checksums other than the published ones")
UNCHECKED = translatable("official structure; no checksums of these files are published")
RULE = translatable("Its files are called like those of CIFAR's archive.")

META_OPERATIONS = 20_000
"""The most pickle operations that a file of class names may take: enough for some thousand names."""


def open_archive(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open an archive as a source; it is decoded once, then memory-mapped from `cache_dir`."""

    def read(split: str) -> Images:
        # Kept, so that 170 MB of gzip are unpacked at the first start only.
        return keep(path, split, [], files_state([path]), lambda scratch: read_archive(path, split), cache_dir)

    understanding = Understanding("archive", RULE, ("train", "test"))
    return Source(path, understanding, read)


def open_extracted(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open the folder that an archive unpacks to as a source."""
    # Nothing is kept: the batches hold plain pixels, so a copy would be no faster to read.
    understanding = Understanding("extracted", RULE, ("train", "test"))
    return Source(path, understanding, lambda split: read_extracted(path, split))


def recognise_cifar(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder that holds a CIFAR archive, or what one unpacks to, as a source; return None for any other."""
    for layout in LAYOUTS:
        # The unpacked files are preferred to the archive beside them, as torchvision leaves both.
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
    # Archives are told apart by the folder inside them, so a renamed file is still read.
    owners = {f"{layout.folder}/{name}": layout for layout in layouts for name in _files(layout, split)}
    limits = {f"{layout.folder}/{name}": size for layout in layouts for name, size in layout.limits.items()}
    wanted = {name: limits[name] for name in owners}
    try:
        # Twice the largest archive: room for headers and for files that nobody asks for, but not for a bomb.
        max_bytes = 2 * max(sum(layout.limits.values()) for layout in layouts)
        members = dict(read_members(path, wanted, max_bytes))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _broken(path, error, layouts) from error
    except OSError as error:
        raise DataError(tr("Cannot read {file}: {cause}.", file=path, cause=cause(error))) from error
    if not members:
        name = next(iter(wanted))
        raise DataError(tr("{path} is no CIFAR archive: it has no file like {name}.", path=path, name=name))
    layout = owners[next(iter(members))]
    contents = {name: members.get(f"{layout.folder}/{name}", b"") for name in _files(layout, split)}
    published = False
    if not layout.md5:  # known for the batches of pickled archives only; a binary archive is compared as a whole
        with path.open("rb") as file:
            published = hashlib.file_digest(file, _md5).hexdigest() == layout.archive.md5
    return _assemble(layout, split, contents, path, published=published)


def read_extracted(path: Path, split: str, layouts: Sequence[Layout] = LAYOUTS) -> Images:
    """Read one split of the folder that an archive unpacks to.

    Raises DataError when a file is missing, damaged, or not a regular file.
    """
    layout = extracted_layout(path, layouts)
    if layout is None:
        raise DataError(tr("{path} holds no official batches.", path=path))
    contents = {name: _read_file(path / name, layout.limits[name]) for name in _files(layout, split)}
    return _assemble(layout, split, contents, path, published=False)


def extracted_layout(path: Path, layouts: Sequence[Layout] = LAYOUTS) -> Layout | None:
    """Return the layout of the archive that the files of this folder came from; None if it is not a known one."""
    for layout in layouts:
        # One batch is enough, so that a folder with a missing batch is recognised and its error names the missing one.
        batches = [name for files in layout.splits.values() for name in files]
        if _has_file(path / layout.meta) and any(_has_file(path / name) for name in batches):
            return layout
    return None


def _broken(path: Path, error: Exception, layouts: Sequence[Layout]) -> DataError:
    """Make the error for an archive that cannot be unpacked."""
    want = next((layout.archive.size_bytes for layout in layouts if layout.archive.name == path.name), None)
    is_short = isinstance(error, EOFError)
    problem = tr("{path} is cut off") if is_short else tr("{path} is damaged ({reason})")
    sizes = tr("it has {have:,} bytes, the published file {want:,}") if want else tr("it has {have:,} bytes")
    return DataError(
        tr(
            "{problem}: {sizes}.\nDelete it and run the command again to download it anew.",
            problem=problem.format(path=path, reason=error),
            sizes=sizes.format(have=path.stat().st_size, want=want),
        )
    )


def _files(layout: Layout, split: str) -> list[str]:
    return [*layout.splits[split], layout.meta]


def _has_file(path: Path) -> bool:
    # CIFAR-100 has a file called `train`; in a folder of pictures that is the name of a subfolder.
    return path.exists() and not path.is_dir()


def _md5(content: bytes = b"") -> hashlib._Hash:
    # MD5 is all that was published. Systems in FIPS mode refuse it unless told that it does not guard anything.
    return hashlib.md5(content, usedforsecurity=False)


def _read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; return no bytes for one that is absent."""
    if not path.exists():
        return b""
    if not path.is_file():  # reading a pipe would wait for ever
        raise DataError(tr("{path} is not a regular file.", path=path))
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)  # one more than allowed tells that there are more, without reading them all
    except OSError as error:
        raise DataError(tr("Cannot read {file}: {cause}.", file=path, cause=cause(error))) from error
    if len(content) > limit:
        message = tr("{path} has more than the {limit:,} bytes that an official file can have.")
        raise DataError(message.format(path=path, limit=limit))
    return content


def _assemble(layout: Layout, split: str, contents: Mapping[str, bytes], origin: Path, *, published: bool) -> Images:
    if missing := [name for name, content in contents.items() if not content]:
        raise DataError(
            tr(
                "{path} is incomplete: {files} missing or empty.\nDownload {archive} again, or unpack it again.",
                path=origin,
                files=listed(missing),
                archive=layout.archive.name,
            )
        )
    class_names = _class_names(layout, contents[layout.meta], f"{origin}/{layout.meta}")
    files = layout.splits[split]
    parts = [
        _binary_records(layout, contents[name], number, f"{origin}/{name}")
        if layout.label_bytes
        else _pickled_records(layout, contents[name], number, len(class_names), f"{origin}/{name}")
        for name, number in files.items()
    ]
    published = published or all(_md5(contents[name]).hexdigest() == layout.md5.get(name) for name in files)
    return Images(
        pixels=np.concatenate([pixels for pixels, _ in parts]),
        labels=np.concatenate([labels for _, labels in parts]),
        class_names=class_names,
        original=True if published else None,  # other checksums do not prove other pixels, so False would say too much
        note=PUBLISHED if published else CHANGED if layout.md5 else UNCHECKED,
    )


def _pickled_records(
    layout: Layout, content: bytes, max_records: int, num_classes: int, origin: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the records of a batch: pixels (N, 3, 32, 32) and labels (N,)."""
    # N is not checked: data sets that others make in CIFAR's format have batches of any size.
    # The limit: a fine and a coarse label and a file name per record, up to a dozen operations each as Python 3 writes
    # them.
    batch = read_pickle(content, origin, max_operations=36 * max_records + 1000)
    pixels = batch.get(b"data")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (NUM_VALUES,) or pixels.dtype != np.uint8:
        found = f"{pixels.dtype.name} {pixels.shape}" if isinstance(pixels, np.ndarray) else tr("no array")
        message = tr("{origin}: data must be uint8 (N, {n}), found {found}.")
        raise DataError(message.format(origin=origin, n=NUM_VALUES, found=found))
    labels = batch.get(layout.labels_key)
    if isinstance(labels, np.ndarray):  # others' batches; the published ones hold lists
        labels = labels.ravel().tolist()
    if not isinstance(labels, list) or len(labels) != len(pixels):
        found = f"{len(labels)}" if isinstance(labels, list) else tr("no list")
        message = tr("{origin}: {n} labels are needed, found {found}.")
        raise DataError(message.format(origin=origin, n=len(pixels), found=found))
    if not all(type(label) is int for label in labels):  # isinstance would let True and False through
        raise DataError(tr("{origin}: labels must be whole numbers.", origin=origin))
    # A row is a red, a green and a blue plane, each row by row: the order (3, H, W) without any transposition.
    return pixels.reshape(-1, 3, SIDE, SIDE), _check_labels(np.array(labels, np.int64), num_classes, origin)


def _binary_records(
    layout: Layout, content: bytes, num_records: int, origin: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    width = layout.label_bytes + NUM_VALUES  # records without header or separator
    if len(content) != num_records * width:
        raise DataError(
            tr(
                "{origin} has {have:,} bytes; {n:,} records of {size:,} bytes make {want:,}.\n"
                "Download the archive again.",
                origin=origin,
                have=len(content),
                n=num_records,
                size=width,
                want=num_records * width,
            )
        )
    records = np.frombuffer(content, np.uint8).reshape(num_records, width)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)  # CIFAR-100's coarse label comes before the fine one
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    return pixels, _check_labels(labels, layout.num_classes, origin)


def _check_labels(labels: NDArray[np.int64], num_classes: int, origin: str) -> NDArray[np.int64]:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        record = wrong[0]
        raise DataError(
            tr(
                "{origin}: record {record} has the label {label}; there are {n} classes, 0 to {last}.",
                origin=origin,
                record=record,
                label=labels[record],
                n=num_classes,
                last=num_classes - 1,
            )
        )
    return labels


def _class_names(layout: Layout, content: bytes, origin: str) -> tuple[str, ...]:
    if layout.label_bytes:
        lines: object = [line for line in content.splitlines() if line.strip()]
    else:
        lines = read_pickle(content, origin, max_operations=META_OPERATIONS).get(layout.names_key)
    # A pickled data set of one's own may have any number of classes, a binary one the published number.
    if not isinstance(lines, list) or not lines or (layout.label_bytes and len(lines) != layout.num_classes):
        raise DataError(tr("{origin} must list {n} class names.", origin=origin, n=layout.num_classes))
    try:
        names = tuple(printable((line if isinstance(line, str) else str(line, "utf-8")).strip()) for line in lines)
    except (TypeError, UnicodeDecodeError) as error:
        raise DataError(tr("{origin}: class names must be plain text.", origin=origin)) from error
    refuse_look_alikes(Path(origin), names)
    if len(set(names)) < len(names):
        raise DataError(tr("{origin} lists a class name twice.", origin=origin))
    return names
