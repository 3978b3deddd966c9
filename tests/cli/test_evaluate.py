from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch import nn

from cifarlab import judge as module
from cifarlab.cli.evaluate import evaluate
from cifarlab.errors import PartialError, RunInUseError, UsageError
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.schema import DataSpec, ModelSpec
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import Run

NAMES = ("red", "green", "blue")

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(evaluate)


class Brightest(nn.Module):
    """Each channel's mean is the logit of its class."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.mean((2, 3))


def call(*words: str | Path) -> None:
    app([*map(str, words), "--device", "cpu"], standalone_mode=False)


def colours(labels: list[int], original: bool | None = True, skipped: tuple[str, ...] = ()) -> Images:
    pixels = np.zeros((len(labels), 3, 8, 8), np.uint8)
    pixels[np.arange(len(labels)), labels] = 200
    return Images(pixels, np.array(labels), NAMES, original, skipped=skipped)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Images]:
    """Stands in for the sources: images by source and split."""
    images = {
        ("home", "val"): colours([0, 1, 2, 0]),
        ("home", "test"): colours([2, 2, 1]),
        ("new", "test"): colours([0]),
    }
    images["home", "train"] = colours([1, 1])

    def open_source(spec: DataSpec, data_dir: Path | None = None) -> Source:
        there = tuple(split for name, split in images if name == spec.source)
        return Source(Path(spec.source), Understanding("folder", "", there), lambda split: images[spec.source, split])

    monkeypatch.setattr(module, "open_source", open_source)
    monkeypatch.setattr(
        module, "load_train_and_val", lambda source, validation: (source.load("train"), source.load("val"))
    )
    return images


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelf: dict[tuple[str, str], Images]) -> Run:
    monkeypatch.setitem(MODELS, "brightest", Model(lambda spec, num_classes, size: Brightest(), source="here"))
    run = Run.create(tmp_path, "r")
    values = {"name": "r", "model": {"name": "brightest"}, "data": {"source": "home"}, "evaluation": {"tta": "mirror"}}
    run.write_recipe(recipe_from(values))
    run.update_manifest(data={})
    card = untrained_card(ModelSpec(name="brightest"), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    save_model(run.model_file, Brightest().state_dict(), card)
    return run


def test_val_is_judged_unless_test_is_asked_for(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    call(run.path)
    out = capsys.readouterr().out
    assert "val, 4 images" in out and "100.00 %" in out and "with mirror" in out
    assert all(str(path) in out and path.is_file() for path in run.result_files("val"))
    assert run.test_openings == []


def test_json_is_the_evaluation_and_its_files(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    call(run.path, "--split", "test", "--tta", "none", "--json")
    found = json.loads(capsys.readouterr().out)
    stored = run.evaluation("test")
    assert stored is not None and {key: found[key] for key in stored} == stored
    assert found["accuracy"] == 1.0 and found["tta"] is None and found["run"] == str(run.path)
    assert len(run.test_openings) == 1 and all(Path(file).is_file() for file in found["files"])


def test_other_data_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    call(run.path, "--data", "new")
    assert "images of new" in capsys.readouterr().out
    assert run.evaluation("test") is None and run.evaluation("test-new") is not None


def test_pixels_that_are_not_the_original_ones(
    run: Run, shelf: dict[tuple[str, str], Images], capsys: pytest.CaptureFixture[str]
) -> None:
    shelf["home", "test"] = colours([0, 1], original=False)
    call(run.path, "--split", "test")
    assert "pixels are not the original ones" in capsys.readouterr().out


def test_d18_left_out_images_end_with_8(run: Run, shelf: dict[tuple[str, str], Images]) -> None:
    shelf["home", "test"] = colours([0, 1], skipped=("a.png: empty",))
    with pytest.raises(PartialError, match="without 1 image that could not be read"):
        call(run.path, "--split", "test")
    assert run.evaluation("test") is not None


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        call(tmp_path)


def test_a_run_in_use_is_left_alone(run: Run) -> None:
    with run.locked(), pytest.raises(RunInUseError):
        call(run.path)


def test_the_model_file_of_a_run_stands_for_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    call(run.model_file)
    assert "val, 4 images" in capsys.readouterr().out
    assert all(path.is_file() for path in run.result_files("val"))


def test_a_model_file_alone_needs_images_and_leaves_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    run.model_file.rename(alone)
    with pytest.raises(UsageError, match="belongs to no run, so its images are not known: name some with --data"):
        call(alone)
    call(alone, "--data", "new", "--tta", "mirror", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["files"], found["accuracy"], found["tta_accuracy"]) == (None, [], 1.0, 1.0)
    call(alone, "--data", "home", "--split", "val")
    assert "val, 4 images" in capsys.readouterr().out
    assert [path.name for path in alone.parent.iterdir()] == ["model.safetensors"]
