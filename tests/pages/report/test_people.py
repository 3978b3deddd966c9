"""A report beside human labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import CheckpointError, DataError, UsageError
from cifarlab.evaluation import predictions
from cifarlab.pages.report.write import write_report
from cifarlab.runs.folder import Run


@pytest.fixture
def run(make_run) -> Run:
    return make_run(num_images=40)


@pytest.fixture
def human_labels(run: Run, tmp_path: Path) -> Path:
    """Everybody finds the label; every fourth image has one of ten people think otherwise."""
    labels = predictions.read(run.predictions_file("test")).labels
    counts = np.zeros((40, 6), np.int64)
    counts[np.arange(40), labels] = 10
    counts[::4, :][np.arange(10), labels[::4]] -= 1
    counts[::4, :][np.arange(10), (labels[::4] + 1) % 6] += 1
    np.save(tmp_path / "people.npy", counts)
    return tmp_path / "people.npy"


def test_shared_mistakes_are_counted_and_differences_shown(run: Run, human_labels: Path, read) -> None:
    said = predictions.read(run.predictions_file("test"))
    wrong = said.predictions != said.labels
    page = read(write_report(run, humans=human_labels))
    assert page.headings[-3:] == ["Compared with humans", "Recipe", "Reproduce this run"]
    disputed = int(wrong[::4].sum())
    assert f"Of {wrong.sum()} mistakes, {disputed} ({100 * disputed / wrong.sum():.1f} %)" in page.text
    assert "Of all images, 25.0 % are like that" in page.text
    assert "people.npy" in page.text and "humans: cat 100 %" in page.text


def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.ones((41, 6)))
    with pytest.raises(DataError, match=r"other\.npy"):
        write_report(run, humans=tmp_path / "other.npy")
    assert not (run.path / "report.html").exists()


def test_there_must_be_predictions_on_test_to_compare_with(run: Run, human_labels: Path) -> None:
    run.predictions_file("test").unlink()
    with pytest.raises(CheckpointError, match="predictions"):
        write_report(run, humans=human_labels)
    (run.path / "evaluation-test.json").unlink()
    with pytest.raises(UsageError, match="not evaluated on the test split"):
        write_report(run, humans=human_labels)


def test_several_seeds_cannot_be_compared_at_once(run: Run, human_labels: Path) -> None:
    (run.path / "seeds.json").write_text('{"runs": []}')
    with pytest.raises(UsageError, match="several runs"):
        write_report(run, humans=human_labels)
