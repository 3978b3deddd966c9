"""A closer look at single images: where the network looked, and what it had learned that looks alike to it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifarlab.errors import CheckpointError, cause
from cifarlab.evaluation.examples import picture
from cifarlab.evaluation.parquet_file import read_parquet
from cifarlab.files import write_atomic
from cifarlab.language import tr

NEIGHBOUR = pa.struct(
    {"index": pa.int64(), "name": pa.string(), "label": pa.int64(), "similarity": pa.float64(), "png": pa.binary()}
)
SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "method": pa.string(),
        "heat": pa.list_(pa.list_(pa.float32())),
        "deletion": pa.float64(),
        "random_deletion": pa.float64(),
        "neighbours": pa.list_(NEIGHBOUR),
    }
)


@dataclass(frozen=True)
class Neighbour:
    """A training image, by its place in the training split, with its PNG; name: of its file, if it has one.

    similarity: cosine, in -1..1, of its features and those of the image whose neighbour it is.
    """

    index: int
    name: str
    label: int
    similarity: float
    png: bytes


@dataclass(frozen=True, eq=False)
class Detail:
    """What is known about one image, by its index in the split.

    heat: evidence for the predicted class, float32 (h, w) with h = w = 0 for a network without feature maps; method
    names the map. deletion, random_deletion: the scores of the deletion test for the map and, on average, for random
    maps. neighbours: the most similar training images, most similar first.
    """

    index: int
    method: str
    heat: NDArray[np.float32]
    deletion: float
    random_deletion: float
    neighbours: tuple[Neighbour, ...]

    @property
    def means_something(self) -> bool:
        """Whether deleting what the map marks lowers the probability faster than deleting at random."""
        return bool(self.heat.size) and self.deletion < self.random_deletion


def write(path: Path, details: Sequence[Detail]) -> None:
    """Store details; raises MachineError if the disk is full or read-only."""
    rows = [
        {**vars(each), "heat": each.heat.tolist(), "neighbours": [vars(other) for other in each.neighbours]}
        for each in details
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file, compression="none")  # PNGs are compressed already
    write_atomic(path, file.getvalue())


def read(path: Path) -> dict[int, Detail]:
    """Read what `write` stored, by the images' indices; raises CheckpointError if the file is something else."""
    try:
        table = read_parquet(path)
        if table.schema.remove_metadata() != SCHEMA:
            raise ValueError(tr("it is not a table of details"))
        found = [_detail(row) for row in table.to_pylist()]
    except (CheckpointError, OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise CheckpointError(tr("Cannot read the details {path}: {cause}.", path=path, cause=cause(error))) from error
    return {each.index: each for each in found}


def _detail(row: dict[str, Any]) -> Detail:
    """Check one row; raises ValueError or TypeError for one that `write` does not write."""
    neighbours = tuple(Neighbour(**each) for each in row["neighbours"])
    heat = np.array(row["heat"], np.float32)
    heat = heat if heat.size else np.zeros((0, 0), np.float32)
    tests = row["deletion"], row["random_deletion"]
    numbers = [*tests, *(each.similarity for each in neighbours)]
    if heat.ndim != 2 or not np.isfinite(heat).all() or not all(map(math.isfinite, numbers)):
        raise ValueError(tr("its numbers contradict each other"))
    if min(row["index"], *(min(each.index, each.label) for each in neighbours), row["index"]) < 0:
        raise ValueError(tr("it has negative indices"))
    for each in neighbours:
        picture(each.png)
    return Detail(row["index"], row["method"], heat, *tests, neighbours)
