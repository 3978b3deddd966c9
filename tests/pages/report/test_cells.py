"""What the page holds for a reader who chooses a cell of the confusion matrix."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.evaluation import examples, predictions
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.details import Detail
from cifarlab.pages.report import cells as module
from cifarlab.pages.report import write
from cifarlab.pages.report.cells import verdict
from cifarlab.pages.report.write import write_report
from cifarlab.runs.folder import Run


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time, and other tests look at it."""
    monkeypatch.setattr(write, "write_figures", lambda *_: None)


def known(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="cell-images">(.*?)</script>', path.read_text("utf-8"))
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])
    return values


def test_every_image_has_its_pixels_its_classes_and_its_probabilities(make_run) -> None:
    run = make_run()
    found = known(write_report(run))
    kept, stored = examples.read(run.examples_file("test")), predictions.read(run.predictions_file("test"))
    shares = probabilities(stored.logits, run.evaluation("test")["temperature"])
    assert found["classes"] == run.evaluation("test")["class_names"]
    matrix = np.array(run.evaluation("test")["confusion_matrix"])
    assert len(found["images"]) == np.minimum(matrix, examples.PER_CELL).sum()
    for image in found["images"]:
        index = int(image["title"].removeprefix("image "))
        assert (image["label"], image["prediction"]) == (stored.labels[index], stored.predictions[index])
        assert base64.b64decode(image["png"]) == kept.png[kept.indices.tolist().index(index)]
        assert image["top"] == [[each, round(shares[index, each], 4)] for each in np.argsort(-shares[index])]


def test_of_many_images_some_of_each_cell_are_there(make_run) -> None:
    run = make_run(num_images=6000)
    matrix = np.array(run.evaluation("test")["confusion_matrix"])
    shown = np.zeros_like(matrix)
    for image in known(write_report(run))["images"]:
        shown[image["label"], image["prediction"]] += 1
    assert shown.sum() == min(examples.IN_CELLS, np.minimum(matrix, examples.PER_CELL).sum())
    assert shown.max() <= examples.PER_CELL and (shown > 0).tolist() == (matrix > 0).tolist()


def test_pictures_stop_where_there_is_no_more_room(make_run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    everything = known(write_report(run))["images"]
    monkeypatch.setattr(module, "ROOM_CHARACTERS", 10_000)
    some = known(write_report(run))["images"]
    assert 5 < len(some) < 40 and some == everything[: len(some)]


def test_files_are_shown_by_their_names(make_run) -> None:
    run = make_run()
    stored = predictions.read(run.predictions_file("test"))
    names = [f"</script><b>{number}.png" for number in range(300)]
    before = [image["title"].removeprefix("image ") for image in known(write_report(run))["images"]]
    predictions.write(run.predictions_file("test"), stored.labels, stored.logits, names)
    assert [image["title"] for image in known(write_report(run))["images"]] == [names[int(each)] for each in before]


def test_what_the_network_saw_stands_with_the_images_that_it_looked_at(make_run, look_closer) -> None:
    run: Run = make_run()
    look_closer(run, 3)
    first, second, *others = known(write_report(run))["images"]
    assert first["heat"]["values"] == [0, 0, 50, 100] and first["heat"]["method"] == "Grad-CAM 2×2"
    assert first["heat"]["verdict"].startswith("Bright places matter")
    assert second["heat"]["verdict"].startswith("This map fails its test")
    assert [near["title"] for near in first["neighbours"]] == ["training image 7"] * 3
    assert ["heat" in other for other in others].count(True) == 1


@pytest.mark.parametrize(
    ("heat", "deletion", "begins"),
    [
        ([[0, 1]], 0.4, "Bright places matter"),
        ([[0, 1]], 0.5, "This map fails its test"),
        ([[0, 0]], 0.4, "The map is empty"),
        ([[2, 2]], 0.4, "The map is empty"),
        ([[-1, -2]], 0.4, "The map is empty"),
    ],
)
def test_the_verdict_on_a_map(heat: list[list[float]], deletion: float, begins: str) -> None:
    text = verdict(Detail(0, "Grad-CAM", np.array(heat, np.float32), deletion, 0.5, ()))
    assert text.startswith(begins)


@pytest.mark.parametrize("lost", ["examples-test.parquet", "predictions-test.parquet"])
def test_without_pictures_the_matrix_is_still_there(make_run, lost: str) -> None:
    run = make_run()
    (run.path / lost).unlink()
    with pytest.raises(Exception, match=lost):
        write_report(run)
    text = run.report_file.read_text("utf-8")
    assert "cell-images" not in text.split("<script>")[0] and "data-cell" in text and "Most confused pairs" in text


def test_details_of_another_run_do_not_fit(make_run, look_closer) -> None:
    run, other = make_run(num_images=40), make_run(num_images=300)
    look_closer(other, 300)
    run.details_file("test").write_bytes(other.details_file("test").read_bytes())
    with pytest.raises(Exception, match=r"details-test.parquet does not fit"):
        write_report(run)
