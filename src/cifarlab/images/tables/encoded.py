"""Columns of encoded images."""

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
from cifarlab.images.tables.damage import damage


@dataclass(frozen=True)
class Column:
    """The images of one file: all rows, or those that `chosen`, bool (N,), marks."""

    path: Path
    name: str
    chosen: NDArray[np.bool_] | None = None


def contents(columns: Sequence[Column]) -> Iterator[Content]:
    """The images of all columns in order."""
    return (partial(_content, encoded) for encoded in _encoded(columns))


def names(columns: Sequence[Column]) -> Iterator[str]:
    """Where each image of all columns stands: its file and row."""
    for column in columns:
        with opened(column.path) as file:
            rows = range(file.metadata.num_rows) if column.chosen is None else np.flatnonzero(column.chosen)
        yield from (f"{column.path.name} row {row}" for row in rows)


def first_image(columns: Sequence[Column]) -> bytes:
    """The first image that is not empty, as it is encoded; no bytes where there is none."""
    return next((encoded for encoded in _encoded(columns) if isinstance(encoded, bytes)), b"")


def _content(encoded: bytes | str | None) -> bytes:
    if isinstance(encoded, str):
        raise DataError(f"the file holds only the path of this image, {printable(encoded)}")
    return encoded or b""


def _encoded(columns: Sequence[Column]) -> Iterator[bytes | str | None]:
    """Of each image its bytes; its path where the file holds that alone, as datasets writes what it did not embed."""
    for column in columns:
        row = 0
        with opened(column.path) as file:
            for batch in file.iter_batches(batch_size=128, columns=[column.name]):
                values = _values(batch.column(0), column.path)
                yield from values if column.chosen is None else compress(values, column.chosen[row:])
                row += len(values)


def _values(images: pa.Array, path: Path) -> list[bytes | str | None]:
    with damage(path, *ARROW_ERRORS):
        is_struct = pa.types.is_struct(images.type)
        contents: list[bytes | str | None] = (pc.struct_field(images, "bytes") if is_struct else images).to_pylist()
        if None not in contents or not is_struct or images.type.get_field_index("path") < 0:
            return contents
        paths = pc.struct_field(images, "path").to_pylist()
    return [place if content is None else content for content, place in zip(contents, paths, strict=True)]
