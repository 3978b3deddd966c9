"""What a training says before its first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.images.holdout import TrainingData
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS
from cifarlab.training.announcement import announcement, hint, network_lines, resumed, split_text


def data(
    num: int = 30, *, val: int = 3, splits: tuple[str, ...] = ("train", "test"), own: bool = False
) -> TrainingData:
    def images(size: int) -> Images:
        return Images(np.zeros((size, 3, 8, 8), np.uint8), np.arange(size) % 2, ("cat", "dog"))

    understanding = Understanding("folder", "", splits, own_split=own)
    source = Source(Path("/data/my photos"), understanding, lambda split: images(1))
    return TrainingData(source, images(num), images(val) if val else None)


def test_the_header_names_recipe_images_split_and_folder() -> None:
    recipe = load_recipe("quick").set("data.source=/data/my photos", "training.epochs=1", "training.seed=3")
    assert announcement(recipe, data(1200), Path("runs/quick-2")) == (
        "quick: speednet, 1 epoch, seed 3\n"
        "data     my photos, 2 classes, /data/my photos\n"
        "split    train 1,200; val 3, held out of train; test: opened once, at the end\n"
        "run      runs/quick-2"
    )
    assert announcement(recipe, data(), Path("r"), num_seeds=3).startswith("quick: speednet, 1 epoch, seeds 3 to 5\n")


def test_a_run_that_goes_on_is_named_with_its_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("quick").set("training.epochs=2", "training.seed=3")
    with Run.new(tmp_path, "quick", recipe) as run:
        assert resumed(run) == f"quick: speednet, 2 epochs, seed 3\nrun      {tmp_path / 'quick'}"
    with Run.new(tmp_path, "quick-seeds", recipe, study=SEEDS, plan={"seeds": [3, 4], "runs": []}) as group:
        assert resumed(group).startswith("quick: speednet, 2 epochs, seeds 3 to 4\n")


@pytest.mark.parametrize(
    ("found", "test", "text"),
    [
        (data(splits=("train", "val", "test")), True, "train 30; val 3, as it came; test: opened once, at the end"),
        (data(val=0), False, "train 30; no validation; test: not opened"),
        (data(own=True), True, "train 30; val 3, held out of train; test (drawn by cifarlab): opened once, at the end"),
    ],
)
def test_the_split_says_who_made_it(found: TrainingData, test: bool, text: str) -> None:
    recipe = load_recipe("quick").set(f"evaluation.test={str(test).lower()}")
    assert split_text(recipe, found) == text


def test_a_folder_that_another_training_has_made_is_corrected() -> None:
    recipe = load_recipe("quick").set("runtime.device=cpu", "runtime.threads=1")
    lines = network_lines(recipe, choose_runtime(recipe.runtime), 1234, Path("r-2"), Path("r")).splitlines()
    assert lines[0] == "network  speednet, 1,234 parameters"
    assert lines[1].startswith("machine  ") and lines[1].endswith(", 1 thread")
    assert lines[2] == "run      r-2, since another training has made r meanwhile"
    assert len(network_lines(recipe, choose_runtime(recipe.runtime), 1, Path("r"), Path("r")).splitlines()) == 2


def test_few_images_get_a_hint_with_commands_that_can_be_pasted() -> None:
    recipe = load_recipe("quick").set("data.source=my photos")
    advice = hint(recipe, data(1))
    assert advice.startswith("1 image to learn from: ")
    assert "\n  cifarlab train resnet18-finetune --data 'my photos'\n" in advice
    assert "\n  cifarlab train speed --data 'my photos' --set model.weights=runs/speed/model.safetensors\n" in advice
    assert hint(recipe, data(1000)) == ""
    assert hint(recipe.set("model.weights=w.safetensors"), data(1)) == ""
