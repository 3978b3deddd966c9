"""Runs and models that an earlier version wrote are read as it wrote them: the same numbers, the same predictions."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.inference.classifier import Classifier
from cifarlab.judge import judge
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.pages.report.write import write_report
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.runs.folder import Run
from cifarlab.training.train import resume

STORED = Path(__file__).parent / "golden" / "written_before"
LOGITS = json.loads((STORED / "models" / "logits.json").read_text("utf-8"))


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """A copy of a stored run, beside the pictures that it was trained on."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split, num_images in (("train", 20), ("test", 8)):
        for brightness, name in ((90, "cat"), (160, "dog")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = random.normal(brightness, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")

    def copy(name: str) -> Run:
        return Run(Path(shutil.copytree(STORED / "runs" / name, tmp_path / name)))

    return copy


@pytest.mark.parametrize("name", LOGITS)
def test_models_of_every_family_predict_what_they_did(name, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(lzma.decompress((STORED / "models" / f"{name}.safetensors.xz").read_bytes()))
    runtime = choose_runtime(RuntimeSpec(device="cpu", precision="fp32", threads=1, kernels="off"))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    found = Classifier.load(file, runtime=runtime).logits(pixels)
    np.testing.assert_allclose(found, LOGITS[name], rtol=1e-4, atol=1e-5)


def test_a_complete_run_evaluates_to_the_same_numbers(run_of):
    run = run_of("complete")
    before = run.evaluation("test")
    after = judge(run, "test", reason="again")
    assert (after.accuracy, after.num_images) == (before["accuracy"], before["num_images"])
    assert after.loss == pytest.approx(before["loss"], rel=1e-4)
    assert [entry["reason"] for entry in run.test_openings] == ["end of training", "again"]


def test_a_complete_run_is_reported(run_of):
    assert "quick" in write_report(run_of("complete")).read_text("utf-8")


def test_an_interrupted_run_is_resumed_to_what_an_uninterrupted_one_became(run_of):
    run, other = run_of("interrupted"), run_of("complete")
    resume(run.path, allow_different_machine=True)  # it may have been stored on another one
    columns = ("epoch", "step", "train/accuracy", "val/accuracy")
    assert [[row[name] for name in columns] for row in run.metrics] == [
        [row[name] for name in columns] for row in other.metrics
    ]
    assert run.manifest["best_epoch"] == other.manifest["best_epoch"]
