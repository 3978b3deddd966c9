"""The numbers of a training, epoch by epoch: the table in metrics.csv."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import SupportsIndex, overload

from cifarlab.errors import UsageError, unknown
from cifarlab.language import tr

COLUMNS = (
    "epoch",
    "step",
    "elapsed_seconds",
    "train/loss",
    "train/accuracy",
    "train/images",
    "val/loss",
    "val/accuracy",
    "lr",
    "images_per_second",
)
"""The columns of metrics.csv. Accuracies are fractions; train/images is the number of images behind train/accuracy; an
epoch without validation leaves its fields empty."""

COLUMNS_BEFORE = tuple(name for name in COLUMNS if name != "train/images")
"""The columns of runs from before the images behind train/accuracy were counted."""

Row = Mapping[str, float | int | None]


class Metrics(list[dict[str, float | None]]):
    """A table with one row per epoch; a field without a value is None.

    A number gives a row, a name a column: `metrics[-1]["val/loss"]` is that of the last epoch, `metrics["val/loss"]`
    has those of all epochs. It is a list of dicts, which `pandas.DataFrame(metrics)` and other tables take as they are.
    """

    @overload
    def __getitem__(self, place: SupportsIndex, /) -> dict[str, float | None]: ...
    @overload
    def __getitem__(self, place: slice, /) -> Metrics: ...
    @overload
    def __getitem__(self, place: str, /) -> list[float | None]: ...

    def __getitem__(
        self, place: SupportsIndex | slice | str, /
    ) -> dict[str, float | None] | Metrics | list[float | None]:
        if isinstance(place, str):
            if place not in COLUMNS:
                raise UsageError(unknown("column of metrics.csv", place, COLUMNS))
            return [row[place] for row in self]
        return Metrics(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)

    def _ipython_key_completions_(self) -> list[str]:
        return list(COLUMNS)  # what the Tab key offers after metrics["


def to_csv(rows: Iterable[Row]) -> str:
    """Write rows as the text of metrics.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def from_csv(text: str) -> Metrics:
    """Read the text of metrics.csv; raises ValueError or csv.Error for one that is cut off or has other columns."""
    header, *rows = csv.reader(text.splitlines(keepends=True))
    # without its last newline a number may have lost its last digits
    if tuple(header) not in (COLUMNS, COLUMNS_BEFORE) or not text.endswith("\n"):
        raise ValueError(tr("it is cut off, or its columns are not those of this version"))
    cells = [dict.fromkeys(COLUMNS, "") | dict(zip(header, row, strict=True)) for row in rows]
    return Metrics({key: float(value) if value else None for key, value in row.items()} for row in cells)


def median_images_per_second(rows: Sequence[Row]) -> float | None:
    """The training speed of a run, from the rows of metrics.csv; None without an epoch."""
    # not the mean: the first epoch also compiles and warms up, and other programs disturb single ones
    speeds = [speed for row in rows if (speed := row["images_per_second"])]
    return statistics.median(speeds) if speeds else None
