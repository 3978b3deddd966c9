from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cifarlab import judge as judging
from cifarlab.errors import DataError
from cifarlab.evaluation import examples
from cifarlab.explanation import run as module
from cifarlab.explanation.run import PER_KIND, explain_run
from cifarlab.images.images import Images
from cifarlab.images.source import Source
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import DataSpec, ModelSpec, ValidationSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run

NAMES = ("dark", "bright")


class Bright(nn.Module):
    """Says whether an image is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3)) + 0 * self.features(images).mean((1, 2, 3))
        return 8 * torch.stack([0.5 - brightness, brightness - 0.5], dim=1)


class Flat(nn.Module):
    """The same without feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, images: Tensor) -> Tensor:
        brightness = images.mean((1, 2, 3))
        return self.scale * torch.stack([0.5 - brightness, brightness - 0.5], dim=1)


def images(num_mistakes: int, num_hits: int = 40) -> Images:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, num_mistakes + num_hits)
    shown = np.where(np.arange(len(labels)) < num_mistakes, 1 - labels, labels)
    pixels = random.integers(0, 100, (len(labels), 3, 8, 8)) + 150 * shown[:, None, None, None]
    return Images(pixels.astype(np.uint8), labels.astype(np.int64), NAMES)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(MODELS, "bright", Model(lambda spec, num_classes, size: Bright(), source="here"))
    monkeypatch.setitem(MODELS, "flat", Model(lambda spec, num_classes, size: Flat(), source="here"))
    made = Run.create(tmp_path, "run")
    made.write_recipe(override(load_recipe("simple-cnn"), "runtime.device", "cpu"))
    made.update_manifest(data={})
    save(made, "bright", Bright())
    return made


def save(run: Run, name: str, network: nn.Module) -> None:
    card = untrained_card(ModelSpec(name=name), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    save_model(run.model_file, network.state_dict(), card)


def write_examples(run: Run, shown: Images) -> None:
    bright = shown.pixels.mean(axis=(1, 2, 3)) > 128
    logits = np.where(np.stack([~bright, bright], axis=1), 1.0, 0.0).astype(np.float32)
    examples.write(run.path / "examples-test.parquet", shown, logits, 1.0)


def size(path: Path) -> tuple[int, int]:
    with Image.open(path, formats=["PNG"]) as image:
        return image.size


def test_figures_are_made_from_the_examples_of_the_test_split_without_opening_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "load_train_and_val", None)
    write_examples(run, images(num_mistakes=6))
    assert explain_run(run) == [run.figures / "feature_maps.png", run.figures / "grad_cam.png"]
    width, height = size(run.figures / "grad_cam.png")
    assert width > 2 * PER_KIND * 128 and height > 3 * 128
    assert size(run.figures / "feature_maps.png")[1] > 2 * 128
    assert not run.test_openings


@pytest.mark.parametrize(("num_mistakes", "num_hits"), [(0, 9), (9, 0), (1, 0)])
def test_there_may_be_no_mistakes_or_nothing_else(run: Run, num_mistakes: int, num_hits: int) -> None:
    write_examples(run, images(num_mistakes, num_hits))
    explain_run(run)
    width, _ = size(run.figures / "grad_cam.png")
    shown = min(PER_KIND, num_mistakes + num_hits)
    assert shown * 128 < width < (shown + 3) * 142


@pytest.mark.parametrize("has_val", [True, False])
def test_a_run_that_was_not_tested_shows_validation_or_training_images(
    run: Run, monkeypatch: pytest.MonkeyPatch, has_val: bool
) -> None:
    asked: list[DataSpec] = []

    def load(source: Source, validation: ValidationSpec) -> tuple[Images, Images | None]:
        return images(3), images(1) if has_val else None

    monkeypatch.setattr(judging, "open_source", lambda data, data_dir: asked.append(data))
    monkeypatch.setattr(judging, "load_train_and_val", load)
    if not has_val:
        run.write_recipe(override(run.recipe, "validation.size", "0"))
    assert len(explain_run(run)) == 2 and asked == [run.data]
    width, _ = size(run.figures / "grad_cam.png")
    shown = PER_KIND + (1 if has_val else 3)
    assert shown * 128 < width < (shown + 3) * 142


def test_a_network_without_feature_maps_gets_no_figures_and_a_note(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    save(run, "flat", Flat())
    with caplog.at_level("INFO", logger="cifarlab"):
        assert explain_run(run) == []
    assert "no feature maps" in caplog.text and not run.figures.exists()


def test_the_figures_repeat(run: Run) -> None:
    write_examples(run, images(num_mistakes=6))
    first = [path.read_bytes() for path in explain_run(run)]
    assert [path.read_bytes() for path in explain_run(run)] == first


def test_n52_images_that_are_not_those_of_the_run_are_not_explained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "open_source", lambda *_: None)
    monkeypatch.setattr(judging, "load_train_and_val", lambda *_: (images(3), images(1)))
    run.update_manifest(data={"val_fingerprint": "0" * 64})
    with pytest.raises(DataError, match="The val images are not those"):
        explain_run(run)


def test_n63_the_hits_that_are_shown_are_of_several_classes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the images come class by class, as from folders."""
    shown = images(num_mistakes=0)
    shown = shown.subset(np.argsort(shown.labels, kind="stable"))
    seen: list[list[int]] = []

    def figure(classifier: object, pixels: np.ndarray, labels: np.ndarray, there: object) -> bytes:
        seen.append(labels.tolist())
        return b""

    monkeypatch.setattr(module, "grad_cam_figure", figure)
    write_examples(run, shown)
    explain_run(run)
    (run.path / "examples-test.parquet").unlink()
    monkeypatch.setattr(judging, "open_source", lambda *_: None)
    monkeypatch.setattr(judging, "load_train_and_val", lambda *_: (shown, shown))
    explain_run(run)
    assert seen == [[0, 1, 0, 1], [0, 1, 0, 1]]
