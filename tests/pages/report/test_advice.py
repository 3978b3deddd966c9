"""Each suggestion comes with the numbers that call for it, and only then; its commands are ones that cifarlab takes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.images.images import Images
from cifarlab.pages.report.advice import advice, confusions, few_images, over_fitting, too_short
from cifarlab.pages.report.material import Material, Result
from cifarlab.recipe.override import override_all
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import COLUMNS, Run
from cifarlab.runs.manifest import DataFacts, Manifest


def material(
    recipe: Recipe,
    losses: tuple[float, ...] = (1.0, 0.5, 0.6, 0.6),
    train: float = 0.8,
    val: float = 0.8,
    num_train: int = 5000,
    num_val: int = 500,
) -> Material:
    rows = [
        {**dict.fromkeys(COLUMNS, 1.0), "epoch": epoch, "val/loss": loss, "train/images": float(num_train)}
        | {"train/accuracy": train, "val/accuracy": val}
        for epoch, loss in enumerate(losses, start=1)
    ]
    facts = Manifest(best_epoch=2, data=DataFacts(num_train=num_train, num_val=num_val))
    return Material(Run(Path("my run")), recipe, facts, rows, [], Result(judged(20), None, None), ())


def judged(num_confused: int) -> Evaluation:
    """100 images of each of three classes, of which some cats are taken for dogs and one owl for a cat."""
    labels = np.repeat(np.arange(3), 100)
    predictions = labels.copy()
    predictions[:num_confused] = 1
    predictions[-1] = 0
    images = Images(np.zeros((300, 3, 2, 2), np.uint8), labels, ("cat", "dog", "owl"))
    found, _ = evaluate(lambda pixels: np.eye(3, dtype=np.float32)[predictions], images, split="test")
    return found


def understood(command: str) -> Recipe:
    """What a command trains; fails where cifarlab would refuse it."""
    program, verb, name, *options = shlex.split(command)
    assert (program, verb) == ("cifarlab", "train") and len(options) % 2 == 0
    sets = {"--data": "data.source={}", "--epochs": "training.epochs={}", "--set": "{}"}
    assignments = [sets[flag].format(value) for flag, value in zip(options[::2], options[1::2], strict=True)]
    return override_all(load_recipe("quick" if name.endswith(".toml") else name), assignments)


@pytest.fixture(scope="module")
def quick() -> Recipe:
    return load_recipe("quick")


@pytest.mark.parametrize(("num_train", "wanted"), [(0, False), (999, True), (1000, False)])
def test_few_images_ask_for_fine_tuning(quick: Recipe, num_train: int, wanted: bool) -> None:
    found = few_images(material(quick, num_train=num_train), quick)
    assert (found is not None) == wanted
    if found is not None:
        fetched, local = map(understood, found[2])
        assert fetched.model.pretrained and fetched.data.source == "sample"
        assert not local.model.pretrained and local.model.weights == "resnet18.safetensors"


def test_fine_tuning_reads_the_images_as_the_run_has_read_them(quick: Recipe) -> None:
    changes = ["source=my $photos", "class_names=a b,c", "skip_bad=true", "fit=pad"]
    own = override_all(quick, [f"data.{each}" for each in changes])
    found = few_images(material(own, num_train=10), own)
    assert found is not None
    for command in found[2]:
        data = understood(command).data
        assert data == own.data.model_copy(update={"image_size": 96, "normalisation": "imagenet"})


@pytest.mark.parametrize("changes", [["model.pretrained=true"], ["model.pretrained=false", "model.weights=w"]])
def test_what_is_fine_tuned_already_needs_no_such_advice(changes: list[str]) -> None:
    recipe = override_all(load_recipe("resnet18-finetune"), changes)
    assert few_images(material(recipe, num_train=10), recipe) is None


@pytest.mark.parametrize(
    ("train", "val", "num_val", "wanted"),
    [(0.95, 0.7, 500, True), (0.8, 0.8, 500, False), (0.95, 0.9, 20, False), (0.7, 0.9, 500, False)],
)
def test_a_gap_beyond_both_intervals_asks_for_more_regularisation(
    recipe: Recipe, train: float, val: float, num_val: int, wanted: bool
) -> None:
    found = over_fitting(material(recipe, train=train, val=val, num_val=num_val), recipe)
    assert (found is not None) == wanted
    if found is not None:
        assert f"{100 * train:.1f} % (95 % interval" in found[1] and f"{100 * val:.1f} % (95 % interval" in found[1]


def test_of_the_sample_there_is_more(quick: Recipe) -> None:
    found = over_fitting(material(quick, train=1.0, val=0.5), quick)
    assert found is not None and understood(found[2][0]).data.source == "cifar10"


def test_only_what_a_recipe_does_not_use_is_suggested() -> None:
    bare = override_all(load_recipe("simple-cnn"), ["augmentation.flip=none", "augmentation.cutout=0"])
    found = over_fitting(material(bare, train=1.0, val=0.5), bare)
    assert found is not None and understood(found[2][0]).augmentation.flip == "random"
    everything = ["flip=random", "crop_padding=4", "cutout=8", "cutmix=1"]
    full = override_all(bare, [*(f"augmentation.{each}" for each in everything), "optimizer.weight_decay=1e-3"])
    found = over_fitting(material(full, train=1.0, val=0.5), full)
    assert found is not None and not found[2]


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [((1.0, 0.8, 0.5), True), ((1.0, 0.5, 0.6, 0.6), False), ((1.0, 0.5), False), ((1.0, 0.5, 0.9), False)],
)
def test_a_loss_that_still_falls_asks_for_more_epochs(quick: Recipe, losses: tuple[float, ...], wanted: bool) -> None:
    found = too_short(material(quick, losses), quick)
    assert (found is not None) == wanted
    if found is not None:
        assert understood(found[2][0]).training.epochs == 2 * quick.training.epochs
        assert "after 3 epochs" in found[1]


def test_the_most_confused_pairs_are_named_with_their_share() -> None:
    found = confusions(judged(20))
    assert found is not None and "95 % of the 21 mistakes" in found[1]
    assert "cat predicted as dog, 20 images" in found[1] and "owl" not in found[1], "one image may be chance"
    assert confusions(judged(2)) is None


def test_where_nothing_stands_out_that_is_said(recipe: Recipe) -> None:
    plain = material(recipe)
    section = advice(replace(plain, result=Result(judged(0), None, None)))
    assert section is not None and "suggest nothing in particular" in section.body
    assert advice(replace(plain, result=None)) is None and advice(replace(plain, rows=[])) is None
    assert advice(replace(plain, recipe=None)) is None


def test_names_of_classes_and_paths_are_text(recipe: Recipe) -> None:
    shown = replace(judged(20), most_confused=(replace(judged(20).most_confused[0], label="<script>"),))
    run = Run(Path("<b>; rm x"))
    section = advice(replace(material(recipe, (1.0, 0.8, 0.5)), run=run, result=Result(shown, None, None)))
    assert section is not None and "<script>" not in section.body and "<b>" not in section.body
    assert "&#39;&lt;b&gt;; rm x/recipe.toml&#39;" in section.body
