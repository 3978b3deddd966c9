"""Columns of encoded images -> pixels of one size."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from cifarlab.console import log, printable
from cifarlab.errors import DataError
from cifarlab.images.decode import decode
from cifarlab.images.tables.columns import ARROW_ERRORS, opened
from cifarlab.images.tables.damage import damage

SMALL = 64
"""Pixels; images of one size up to this keep it whatever is asked for: the device resizes faster."""
NO_SIZE = (32, 32)
"""Height and width of nothing, where no image can be decoded."""
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError),
    *(struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises for a damaged image."""


@dataclass(frozen=True)
class Column:
    """The images of one file: all rows, or those that `chosen`, bool (N,), marks."""

    path: Path
    name: str
    chosen: NDArray[np.bool_] | None = None


class _SizesDifferError(DataError):
    """The images of a split do not have one size."""


def decode_columns(
    columns: Sequence[Column], count: int, image_size: int | None, skip_bad: bool
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Pixels (count, 3, H, W), and of each image that cannot be decoded its row and what is wrong."""
    stored = _first_size(columns)
    if image_size is None:
        return _decode_rows(columns, count, stored, False, skip_bad)
    if max(stored) <= SMALL:
        try:
            return _decode_rows(columns, count, stored, False, skip_bad)
        except _SizesDifferError:
            log.debug("The images have several sizes: all are resized to %d px.", image_size)
    return _decode_rows(columns, count, (image_size, image_size), True, skip_bad)


def first_image(columns: Sequence[Column]) -> bytes:
    """The first image that is not empty, as it is encoded; no bytes where there is none."""
    return next((content for _, content in _contents(columns) if isinstance(content, bytes)), b"")


def _decode_rows(
    columns: Sequence[Column], count: int, size: tuple[int, int], resize: bool, skip_bad: bool
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    # One thread: for images this small, handing the interpreter lock over costs more than decoding gains.
    pixels = np.zeros((count, 3, *size), np.uint8)
    bad: dict[int, str] = {}
    for row, (where, content) in enumerate(_contents(columns)):
        try:
            pixels[row] = _decode(content, size, resize, where)
        except _SizesDifferError:
            raise
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{where}: {error}.\nTo leave such images out: --skip-bad.") from error
            bad[row] = f"{where}: {error}"
    return pixels, bad


def _decode(content: bytes | str | None, size: tuple[int, int], resize: bool, where: str) -> NDArray[np.uint8]:
    if not content:
        raise DataError("no image")
    if isinstance(content, str):
        raise DataError(f"the file holds only the path of this image, {printable(content)}")
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


def _first_size(columns: Sequence[Column]) -> tuple[int, int]:
    """Height and width of the first image that can be decoded."""
    for _, content in _contents(columns):
        try:
            _, height, width = decode(content if isinstance(content, bytes) else b"", None).shape
        except DataError:
            continue  # reported when its turn comes
        return height, width
    return NO_SIZE


def _contents(columns: Sequence[Column]) -> Iterator[tuple[str, bytes | str | None]]:
    """The encoded images of all columns in order, each with its place for error messages."""
    for column in columns:
        row = 0
        with opened(column.path) as file:
            for batch in file.iter_batches(batch_size=1024, columns=[column.name]):
                for content in _encoded(batch.column(0), column.path):
                    if column.chosen is None or column.chosen[row]:
                        yield f"{column.path.name} row {row}", content
                    row += 1


def _encoded(images: pa.Array, path: Path) -> list[bytes | str | None]:
    """Bytes; the path of an image where the file holds that alone, as datasets writes those that it did not embed."""
    with damage(path, *ARROW_ERRORS):
        is_struct = pa.types.is_struct(images.type)
        contents: list[bytes | str | None] = (pc.struct_field(images, "bytes") if is_struct else images).to_pylist()
        if None not in contents or not is_struct or images.type.get_field_index("path") < 0:
            return contents
        paths = pc.struct_field(images, "path").to_pylist()
    return [place if content is None else content for content, place in zip(contents, paths, strict=True)]
