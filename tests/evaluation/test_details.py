"""Details of single images come back as they were stored, and nothing else is taken for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cifarlab.errors import CheckpointError
from cifarlab.evaluation import details, examples
from cifarlab.evaluation.details import Detail, Neighbour

PNG = examples.encode(np.full((3, 4, 4), 7, np.uint8))
NEAR = Neighbour(3, "a\\xff/b.png", 1, -0.5, PNG)
HEAT = np.array([[0.0, 1.5, -2.0], [4.0, 0.25, 1.0]], np.float32)


def test_details_come_back_exactly(tmp_path: Path) -> None:
    nothing = Detail(2, "", np.zeros((0, 0), np.float32), 0.0, 0.0, ())
    details.write(tmp_path / "d.parquet", [Detail(5, "Grad-CAM", HEAT, 0.25, 0.5, (NEAR, NEAR)), nothing])
    found = details.read(tmp_path / "d.parquet")
    assert list(found) == [5, 2]
    assert (found[5].method, found[5].deletion, found[5].random_deletion) == ("Grad-CAM", 0.25, 0.5)
    np.testing.assert_array_equal(found[5].heat, HEAT)
    assert found[5].neighbours == (NEAR, NEAR)
    assert found[2].heat.shape == (0, 0) and found[2].neighbours == ()


@pytest.mark.parametrize(
    ("heat", "deletion", "wanted"), [(HEAT, 0.4, True), (HEAT, 0.5, False), (HEAT, 0.6, False), (HEAT[:0], 0.4, False)]
)
def test_a_map_means_something_if_it_beats_chance(heat: np.ndarray, deletion: float, wanted: bool) -> None:
    assert Detail(0, "m", heat, deletion, 0.5, ()).means_something == wanted


def row(**changes: Any) -> dict[str, Any]:
    near = {"index": 3, "name": "n", "label": 1, "similarity": 0.5, "png": PNG}
    values = {"index": 5, "method": "m", "heat": [[0.0, 1.0]], "deletion": 0.25, "random_deletion": 0.5}
    return {**values, "neighbours": [{**near, **changes.pop("near", {})}], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"index": -1},
        {"index": None},
        {"heat": [[0.0, 1.0], [2.0]]},
        {"heat": [[float("nan")]]},
        {"deletion": None},
        {"random_deletion": float("inf")},
        {"neighbours": None},
        {"near": {"index": -1}},
        {"near": {"label": None}},
        {"near": {"similarity": float("nan")}},
        {"near": {"png": b"no picture"}},
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "d.parquet"
    for wanted, refused in ((row(), False), (row(**changes), True)):
        pq.write_table(pa.Table.from_pylist([wanted], details.SCHEMA), path)
        if refused:
            with pytest.raises(CheckpointError, match=r"d\.parquet"):
                details.read(path)
        else:
            assert list(details.read(path)) == [5]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and then nothing"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "d.parquet").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"d\.parquet"):
        details.read(tmp_path / "d.parquet")


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"index": [1]}), tmp_path / "d.parquet")
    with pytest.raises(CheckpointError, match="not a table of details"):
        details.read(tmp_path / "d.parquet")
