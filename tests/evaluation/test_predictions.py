from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cifarlab.errors import CheckpointError
from cifarlab.evaluation import predictions

LABELS = np.array([2, 0, 1, 1])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions-val.parquet"
    predictions.write(path, LABELS, LOGITS)
    found = predictions.read(path)
    assert np.array_equal(found.labels, LABELS)
    assert np.array_equal(found.predictions, LOGITS.argmax(axis=1))
    assert np.array_equal(found.logits, LOGITS) and found.logits.dtype == np.float32
    assert list(tmp_path.iterdir()) == [path]


def test_columns_are_those_that_are_promised(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions.write(path, LABELS, LOGITS)
    table = pq.read_table(path)
    assert table.column_names == ["index", "label", "prediction", "logits"]
    assert table["index"].to_pylist() == [0, 1, 2, 3]
    assert table.schema.field("logits").type == pa.list_(pa.float32())


def test_n61_images_with_names_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    names = ("cat/1.png", "dög/a b.png", "x/\udcff.png", "y\n.png")
    predictions.write(path, LABELS, LOGITS, names)
    table = pq.read_table(path)
    assert table.column_names == ["index", "name", "label", "prediction", "logits"]
    assert table["name"].to_pylist() == ["cat/1.png", "dög/a b.png", "x/\\udcff.png", "y\n.png"]
    assert np.array_equal(predictions.read(path).logits, LOGITS)


@pytest.mark.parametrize("length", [0, 4, 100, -8])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "p.parquet"
    predictions.write(path, LABELS, LOGITS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"p\.parquet"):
        predictions.read(path)


def test_another_table_or_no_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name in ("other.parquet", "missing.parquet"):
        with pytest.raises(CheckpointError, match=name):
            predictions.read(tmp_path / name)
