"""Parquet in the Hugging Face layout: a column of encoded images, one of labels, and files for each split."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from cifarlab.console import log
from cifarlab.errors import DataError
from cifarlab.images.archives.official import CIFAR10_NAMES, SIDE
from cifarlab.images.cache import keep_decoded
from cifarlab.images.decode import decode
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.images.words import SPLITS
from cifarlab.recipe import DataSpec

FILE_NAME = re.compile(r"(train|test|validation|val)(?:-\d+-of-(\d+)|-.*)?\.parquet")
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
SUBFOLDERS = ("", "data", "plain_text", "default", "cifar10", "cifar100")
SMALL = 64
"""Pixels; images of one size up to this keep it whatever is asked for: the device resizes faster."""
RE_ENCODED = "pixels were re-encoded as JPEG; they are not the original ones"
JPEG_START = b"\xff\xd8"
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises for a damaged image."""

Files = Mapping[str, Sequence[Path]]
"""Of each split, shards in order."""


def parquet_files(path: Path) -> Files:
    """Find the files of each split in a folder; a single file is the split that its name says, else train.

    Raises DataError when a shard is missing.
    """
    if path.is_file():
        match = FILE_NAME.fullmatch(path.name)
        return {_split(match): (path,)} if match else {"train": (path,)}
    for subfolder in SUBFOLDERS:
        found: dict[str, list[Path]] = defaultdict(list)
        for file in sorted((path / subfolder).glob("*.parquet")):
            if match := FILE_NAME.fullmatch(file.name):
                found[_split(match)].append(file)
        if found:
            return {split: _complete(files) for split, files in found.items()}
    return {}


def recognise_parquet(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder of parquet files as a source; None for one without."""
    return open_parquet(path, spec, cache_dir) if parquet_files(path) else None


def open_parquet(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """A parquet file, or a folder of them, as a source; decoded once, then memory-mapped from `cache_dir`."""
    files = parquet_files(path)
    every = [file for shards in files.values() for file in shards]
    splits = tuple(split for split in SPLITS if split in files)

    def read(split: str) -> Images:
        options = [split, spec.image_size, spec.skip_bad]
        return keep_decoded(
            every,
            options,
            lambda: read_parquet(path, split, image_size=spec.image_size, skip_bad=spec.skip_bad),
            cache_dir,
        )

    return Source(path, Understanding("parquet", "The names of the parquet files say their splits.", splits), read)


def read_parquet(path: Path, split: str, *, image_size: int | None = None, skip_bad: bool = False) -> Images:
    """Read and decode one split.

    Images keep their stored size; larger ones than 64 px, or of several sizes, are resized to `image_size`
    if it is given. With `skip_bad`, images that cannot be decoded are left out and listed. Raises DataError
    for damaged files, images and labels, and for images of several sizes without `image_size`.
    """
    files = parquet_files(path)
    class_names = _class_names(path, files)
    labels = np.concatenate([_checked_labels(file, len(class_names)) for file in files[split]])
    first, size = _first(files[split])
    pixels, bad = _decode_all(files[split], len(labels), size, image_size, skip_bad)
    is_cifar = class_names == CIFAR10_NAMES or _column(files[split][0], LABEL_COLUMNS) == "fine_label"
    lossy = is_cifar and pixels.shape[2:] == (SIDE, SIDE) and first.startswith(JPEG_START)
    return Images(
        np.delete(pixels, list(bad), axis=0) if bad else pixels,
        np.delete(labels, list(bad)) if bad else labels,
        class_names,
        original=False if lossy else None,
        note=RE_ENCODED if lossy else "decoded from parquet",
        skipped=tuple(bad.values()),
    )


def _split(match: re.Match[str]) -> str:
    return "val" if match[1] == "validation" else match[1]


def _complete(files: list[Path]) -> tuple[Path, ...]:
    """The shards, when none of those that the names promise is missing."""
    match = FILE_NAME.fullmatch(files[0].name)
    if match and match[2] and int(match[2]) != len(files):
        raise DataError(
            f"{files[0].parent} has {len(files)} of the {int(match[2])} files like {files[0].name}.\n"
            "Put the missing ones beside them."
        )
    return tuple(files)


class _SizesDifferError(DataError):
    """The images of a split do not have one size."""


def _decode_all(
    files: Sequence[Path], count: int, stored: tuple[int, int], image_size: int | None, skip_bad: bool
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Pixels (count, 3, H, W), and of each image that cannot be decoded its row and what is wrong."""
    if image_size is None:
        return _decode_rows(files, count, stored, False, skip_bad)
    if max(stored) <= SMALL:
        try:
            return _decode_rows(files, count, stored, False, skip_bad)
        except _SizesDifferError:
            log.debug("The images have several sizes: all are resized to %d px.", image_size)
    return _decode_rows(files, count, (image_size, image_size), True, skip_bad)


def _decode_rows(
    files: Sequence[Path], count: int, size: tuple[int, int], resize: bool, skip_bad: bool
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    # One thread: for images this small, handing the interpreter lock over costs more than decoding gains.
    pixels = np.zeros((count, 3, *size), np.uint8)
    bad: dict[int, str] = {}
    for row, (where, content) in enumerate(_contents(files)):
        try:
            pixels[row] = _decode(content, size, resize, where)
        except _SizesDifferError:
            raise
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{where}: {error}.\nTo leave such images out: --skip-bad.") from error
            bad[row] = f"{where}: {error}"
    return pixels, bad


def _decode(content: bytes | None, size: tuple[int, int], resize: bool, where: str) -> NDArray[np.uint8]:
    if not content:
        raise DataError("no image")
    array = _decode_plain(content, size)
    if array is None:
        array = decode(content, size if resize else None)
    if array.shape[1:] != size:
        raise _SizesDifferError(
            f"{where} has {array.shape[2]} x {array.shape[1]} pixels; the first {size[1]} x {size[0]}.\n"
            "Set data.image_size, and all are resized to it."
        )
    return array


def _decode_plain(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode an RGB image of this size the fast way; None for any other, and for a broken one."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            unusual = "exif" in image.info or "transparency" in image.info
            if image.mode != "RGB" or image.size != size[::-1] or unusual:
                return None
            return np.frombuffer(image.tobytes(), np.uint8).reshape(*size, 3).transpose(2, 0, 1)
    except _BROKEN:
        return None


def _first(files: Sequence[Path]) -> tuple[bytes, tuple[int, int]]:
    """The first image that can be decoded, with its height and width; CIFAR's when there is none."""
    for _, content in _contents(files):
        try:
            _, height, width = decode(content or b"", None).shape
        except DataError:
            continue  # reported when its turn comes
        return content or b"", (height, width)
    return b"", (SIDE, SIDE)


def _contents(files: Sequence[Path]) -> Iterator[tuple[str, bytes | None]]:
    """The encoded images of all files in order, each with its place for error messages."""
    for path in files:
        column = _column(path, IMAGE_COLUMNS)
        row = 0
        with _damage(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                for content in _encoded(batch.column(0), path):
                    yield f"{path.name} row {row}", content
                    row += 1


def _encoded(images: pa.Array, path: Path) -> list[bytes | None]:
    if pa.types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = pc.struct_field(images, "bytes")
    if not (pa.types.is_binary(images.type) or pa.types.is_large_binary(images.type)):
        raise DataError(f"{path}: the images must be encoded bytes, found {images.type}.")
    contents: list[bytes | None] = images.to_pylist()
    return contents


def _labels(path: Path) -> NDArray[np.int64]:
    """All labels of one file; raises DataError when one is missing."""
    column = _column(path, LABEL_COLUMNS)
    with _damage(path), pq.ParquetFile(path) as file:
        labels = file.read(columns=[column]).column(0)
    if labels.null_count or not pa.types.is_integer(labels.type):
        raise DataError(
            f"{path}: every {column} must be a whole number, found {labels.type}, {labels.null_count} empty."
        )
    array: NDArray[np.int64] = labels.to_numpy().astype(np.int64)
    return array


def _checked_labels(path: Path, num_classes: int) -> NDArray[np.int64]:
    labels = _labels(path)
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise DataError(
            f"{path}: row {wrong[0]} has the label {labels[wrong[0]]}; "
            f"there are {num_classes} classes, 0 to {num_classes - 1}."
        )
    return labels


def _class_names(path: Path, files: Files) -> tuple[str, ...]:
    """From the metadata; else CIFAR-10's for a folder of that name; else numbers up to the largest label."""
    every = [file for shards in files.values() for file in shards]
    with _damage(every[0]):
        metadata = pq.read_schema(every[0]).metadata or {}
    names = _declared_names(metadata.get(b"huggingface", b"{}"), _column(every[0], LABEL_COLUMNS), every[0])
    if names:
        return names
    num_classes = 1 + max(int(labels.max(initial=-1)) for labels in map(_labels, every))
    if path.name == "cifar10" and num_classes == len(CIFAR10_NAMES):
        return CIFAR10_NAMES
    return tuple(str(number) for number in range(num_classes))


def _declared_names(metadata: bytes, column: str, path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(metadata).get("info", {}).get("features", {}).get(column, {}).get("names", [])
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: its metadata cannot be read: {error}.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: the class names in its metadata are no list of strings.")
    return tuple(names)


def _column(path: Path, candidates: tuple[str, ...]) -> str:
    """The first of `candidates` that the file has."""
    with _damage(path):
        names = pq.read_schema(path).names
    for candidate in candidates:
        if candidate in names:
            return candidate
    raise DataError(f"{path} needs a column {' or '.join(candidates)}; it has {', '.join(names)}.")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"Cannot read {path}: {str(error).splitlines()[0]}.") from error
