"""What a finished run looks like in a terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.cli.tables import print_result
from cifarlab.evaluation.evaluate import evaluate
from cifarlab.images.images import Images
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run


def judged(folder: Path, counts: dict[str, int], right: dict[str, int], **data: object) -> Run:
    """A run whose test split has so many images of each class, of which so many are right."""
    names = tuple(counts)
    labels = np.repeat(np.arange(len(names)), list(counts.values())).astype(np.int64)
    predictions = labels.copy()
    for index, name in enumerate(names):
        predictions[np.flatnonzero(labels == index)[right[name] :]] = (index + 1) % len(names)
    images = Images(np.zeros((len(labels), 3, 2, 2), np.uint8), labels, names)
    evaluation, _ = evaluate(lambda pixels: np.eye(len(names), dtype=np.float32)[predictions], images, split="test")
    run = Run.create(folder, "r")
    run.write_recipe(load_recipe("quick"))
    run.write_metrics([])
    run.update_manifest(
        best_val_accuracy=0.75,
        best_epoch=3,
        elapsed_seconds=12.0,
        ending="all epochs done",
        data={"num_val": 8, "original": None, "note": "", "skipped": 0, **data},
        runtime={"device_name": "a processor", "precision": "fp32", "memory_format": "contiguous"},
    )
    run.write_evaluation("test", evaluation.to_dict())
    return run


def printed(run: Run, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_result(run)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_n39_every_accuracy_has_its_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(judged(tmp_path, {"cat": 10, "dog": 20}, {"cat": 8, "dog": 20}), capsys)
    assert "best validation 75.0 % (40.9 to 92.9) at epoch 3" in lines
    assert "test 93.3 % (78.7 to 98.2) 95 % interval" in lines
    assert "cat ████████████████···· 80.0 % (49.0 to 94.3) 10 images" in lines
    assert "dog ████████████████████ 100.0 % (83.9 to 100.0) 20 images" in lines
    assert not any("balanced" in line for line in lines)


def test_n17_unequal_classes_and_classes_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = judged(tmp_path, {"ok": 30, "defect": 10, "other": 0}, {"ok": 30, "defect": 5, "other": 0})
    lines = printed(run, capsys)
    assert "test, balanced 75.0 % (60.7 to 88.2) 75.0 % of the images are ok" in lines
    assert "other – no images" in lines and not any("0.0 %" in line.split("(")[0] and "other" in line for line in lines)


def test_n24_of_many_classes_the_best_and_the_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {f"class{number:03}": 2 for number in range(100)}
    lines = printed(judged(tmp_path, counts, {name: int(name[5:]) // 34 for name in counts}), capsys)
    assert sum(line.startswith("class") for line in lines) == 40
    assert "These are the 20 best and the 20 worst of 100 classes; all are in evaluation-test.csv." in lines


def test_n16_warnings_about_the_data_are_pointed_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warnings = [{"kind": "imbalance", "text": "Oh.", "names": [], "counts": {}}]
    lines = printed(judged(tmp_path, {"a": 1, "b": 1}, {"a": 1, "b": 1}, warnings=warnings), capsys)
    assert "1 warning about the data: see the report, or data.warnings in manifest.json" in lines
