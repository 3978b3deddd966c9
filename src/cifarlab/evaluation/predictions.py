"""The predictions for every image of a split, in a parquet file that any data frame library reads."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifarlab.errors import CheckpointError, cause
from cifarlab.evaluation.parquet_file import read_parquet
from cifarlab.files import write_atomic
from cifarlab.language import tr


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions for a split, in its order: labels and predictions int64 (N,), logits float32 (N, C).

    names: the name of each image in its data set, if images have names there.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    logits: NDArray[np.float32]
    names: tuple[str, ...] | None = None


def write(
    path: Path, labels: NDArray[np.int64], logits: NDArray[np.float32], names: Sequence[str] | None = None
) -> None:
    """Store index, name (if images have names), label, prediction and logits (a list of float32) of every image.

    Raises MachineError if the disk is full or read-only.
    """
    columns = {
        "index": pa.array(np.arange(len(labels))),
        **({} if names is None else {"name": pa.array(map(_as_utf8, names), pa.string())}),
        "label": pa.array(labels),
        "prediction": pa.array(logits.argmax(axis=1).astype(np.int64)),
        "logits": pa.array(list(logits.astype(np.float32)), pa.list_(pa.float32())),
    }
    file = io.BytesIO()  # written in memory first, so that the file on disk is whole or absent
    pq.write_table(pa.table(columns), file)
    write_atomic(path, file.getvalue())


def _as_utf8(name: str) -> str:
    """Return a file's name with bytes that are not UTF-8 as escapes, since parquet stores UTF-8 only."""
    return name.encode("utf-8", "backslashreplace").decode()  # Linux file names may hold any bytes


def read(path: Path) -> Predictions:
    """Read what `write` stored; raises CheckpointError if the file is missing or something else."""
    try:
        table = read_parquet(path)
        labels, predictions = (table[name].to_numpy().astype(np.int64) for name in ("label", "prediction"))
        logits = np.stack(table["logits"].to_numpy()).astype(np.float32)
        names = tuple(map(str, table["name"].to_pylist())) if "name" in table.column_names else None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise CheckpointError(
            tr("Cannot read the predictions {path}: {cause}.", path=path, cause=cause(error))
        ) from error
    return Predictions(labels, predictions, logits, names)
