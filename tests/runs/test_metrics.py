"""The table of a training: rows by number, columns by name, and a DataFrame where there is pandas."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pandas
import pytest

from cifarlab.errors import CheckpointError, MissingExtraError, UsageError
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import COLUMNS, Metrics


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three epochs, of which the first and the last were validated."""
    made = Run.create(tmp_path, "try")
    made.write_recipe(load_recipe("quick"))
    accuracies = (0.25, None, 0.5)
    made.write_metrics(
        [dict.fromkeys(COLUMNS, 2.0) | {"epoch": n, "val/accuracy": value} for n, value in enumerate(accuracies, 1)]
    )
    return made


def test_a_number_gives_a_row_and_a_name_a_column(run: Run) -> None:
    metrics = run.metrics
    assert metrics[-1]["val/accuracy"] == 0.5
    assert metrics["val/accuracy"] == [0.25, None, 0.5]
    assert metrics["epoch"] == [row["epoch"] for row in metrics] == [1, 2, 3]
    assert metrics[1:]["epoch"] == [2, 3] and isinstance(metrics[1:], Metrics)
    assert json.loads(json.dumps(metrics)) == metrics


def test_a_misspelt_column_is_explained(run: Run) -> None:
    with pytest.raises(UsageError, match=r"Unknown column of metrics\.csv 'val/acc'\. Did you mean val/accuracy"):
        _ = run.metrics["val/acc"]


def test_the_tab_key_offers_the_columns(run: Run) -> None:
    names = run.metrics._ipython_key_completions_()
    assert all(len(run.metrics[name]) == 3 for name in names) and set(names) == set(run.metrics[0])


def test_pandas_takes_the_table_as_it_is(run: Run) -> None:
    frame = pandas.DataFrame(run.metrics)
    assert list(frame) == list(COLUMNS) and frame["epoch"].tolist() == [1, 2, 3]
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(run.metrics_file), check_dtype=False)


def test_the_frame_is_the_same_table(run: Run) -> None:
    frame = run.metrics_frame()
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(run.metrics), check_dtype=False)
    assert math.isnan(frame["val/accuracy"][1]) and set(frame.dtypes) == {pandas.Series([0.5]).dtype}


def test_a_run_without_an_epoch_has_the_columns_too(run: Run) -> None:
    run.write_metrics([])
    assert run.metrics["lr"] == [] and list(run.metrics_frame()) == list(COLUMNS)


def test_without_pandas_the_error_says_how_to_install_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pandas\.\nInstall it with: pip install 'cifarlab\[notebook\]'"):
        run.metrics_frame()


def test_a_damaged_table_gives_no_frame(run: Run) -> None:
    run.metrics_file.write_text("epoch,step\n1,2\n")
    with pytest.raises(CheckpointError, match=r"metrics\.csv"):
        run.metrics_frame()
