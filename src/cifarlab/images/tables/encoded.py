"""Read the encoded images in columns of parquet files, without holding more than a batch of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.pictures import Content
from cifarlab.images.tables.columns import ARROW_ERRORS, opened
from cifarlab.images.tables.damage import damage_errors
from cifarlab.language import translatable


@dataclass(frozen=True)
class Column:
    """The images of one file: all rows, or those that `chosen`, bool (N,), marks."""

    path: Path
    name: str
    chosen: NDArray[np.bool_] | None = None


def contents(columns: Sequence[Column]) -> Iterator[Content]:
    """Yield a function for each image of all columns, in order, which returns its bytes or raises DataError."""
    # Functions, because a broken image has to fail where its name is known and --skip-bad can leave it out.
    return (partial(_content, encoded) for encoded in _encoded(columns))


def names(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the place of each image of all columns: its file and row."""
    for column in columns:
        with opened(column.path) as file:
            rows = range(file.metadata.num_rows) if column.chosen is None else np.flatnonzero(column.chosen)
        yield from (f"{column.path.name} row {row}" for row in rows)


def first_image(columns: Sequence[Column]) -> bytes:
    """Return the first image that is not empty, as it is encoded; no bytes if there is none."""
    return next((encoded for encoded in _encoded(columns) if isinstance(encoded, bytes)), b"")


def _content(encoded: bytes | str | None) -> bytes:
    if isinstance(encoded, str):
        # stored with the decoded images, so it is English, and translated where it is shown
        reason = translatable("the file holds only the path of this image, {path}")
        raise DataError(reason.format(path=printable(encoded)))
    return encoded or b""


def _encoded(columns: Sequence[Column]) -> Iterator[bytes | str | None]:
    """Yield each image's bytes, or its path if the file holds only that."""
    for column in columns:
        row = 0
        with opened(column.path) as file:
            # Far fewer rows than a row group has: a column of images may be larger than the memory.
            for batch in file.iter_batches(batch_size=128, columns=[column.name]):
                values = _values(batch.column(0), column.path)
                yield from values if column.chosen is None else compress(values, column.chosen[row:])
                row += len(values)


def _values(images: pa.Array, path: Path) -> list[bytes | str | None]:
    with damage_errors(path, *ARROW_ERRORS):
        is_struct = pa.types.is_struct(images.type)
        contents: list[bytes | str | None] = (pc.struct_field(images, "bytes") if is_struct else images).to_pylist()
        # datasets leaves the bytes out, and only the path in, for images that it was not told to embed.
        if None not in contents or not is_struct or images.type.get_field_index("path") < 0:
            return contents
        paths = pc.struct_field(images, "path").to_pylist()
    return [place if content is None else content for content, place in zip(contents, paths, strict=True)]
