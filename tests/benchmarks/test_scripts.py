"""The other benchmarks, as far as they need no long training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import classics
import resnet18
import time_to_accuracy
from cifarlab.images.sources import load_images
from cifarlab.recipe.toml import load_recipe
from plain_script import PlainImages, Speeds
from time_to_accuracy import PORT, Result

ROOT = Path(__file__).parents[2]


def test_the_ratio_of_the_times_is_that_of_the_medians() -> None:
    results = [
        Result("speed", 1, 10.0, 0.93, "mirror", 0.94, 3000.0),
        Result(PORT, 1, 30.0, 0.931, "mirror+shifts", 0.941, 1000.0),
    ]
    last = time_to_accuracy.table(results).splitlines()[-1]
    assert last == "median: the port takes 3.00 times as long; images/s 3.00 times the port's"
    assert "median" not in time_to_accuracy.table(results[:1])


def test_a_shortened_recipe_takes_the_steps_that_were_asked_for() -> None:
    recipe = time_to_accuracy.shortened(load_recipe("quick"), 3)
    assert recipe.training.epochs * 2700 / recipe.training.batch_size == pytest.approx(3, rel=0.05)
    assert not recipe.evaluation.test


def test_both_sides_train_alike() -> None:
    recipe, script = resnet18.ours("resnet34", "sample", "cpu"), resnet18.plain("resnet34", "cpu")
    assert recipe.model.name == script.model
    assert recipe.training.batch_size == script.batch_size
    assert (recipe.augmentation.crop_padding, recipe.augmentation.flip) == (4, "random")


def test_the_plain_script_sees_one_image_at_a_time() -> None:
    images = load_images("sample", "test")
    image, label = PlainImages(images, ())[3]
    assert tuple(image.shape) == (3, 32, 32)
    assert label == images.labels[3]
    assert Speeds((1.0, 2.0, 9.0), (4.0, 5.0, 4.0)).text() == "median: plain script 2, cifarlab 4, ratio 2.0"


def test_make_bench_runs_what_is_there() -> None:
    claims = re.search(r"^CLAIMS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert claims is not None
    for name in claims[1].split():
        text = (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8")
        assert "--peers" not in text
        assert f"({name}.py)" in (ROOT / "benchmarks" / "README.md").read_text("utf-8")


def test_the_page_of_the_classics_shows_what_is_stored() -> None:
    assert (ROOT / "docs" / "classics.md").read_text("utf-8") == classics.page(classics.RESULTS), "stale: make results"


def test_each_classic_is_measured_once_and_no_longer_than_its_authors_trained() -> None:
    for name, recipe in classics.planned().items():
        assert name.startswith(recipe.name) and recipe.evaluation.test
        assert recipe.training.epochs <= load_recipe(recipe.name).training.epochs
