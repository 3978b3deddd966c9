"""The work behind an estimated time, by hand."""

from __future__ import annotations

from math import inf

import pytest

from cifarlab.bench.estimate import NUM_IMAGES, Work, estimated_seconds, work_of
from cifarlab.images.sample import load_sample
from cifarlab.recipe.toml import load_recipe


def test_the_sample_has_as_many_images_as_are_counted() -> None:
    assert len(load_sample("train")) == NUM_IMAGES["sample"]


def test_a_plain_recipe_trains_every_image_once_per_epoch() -> None:
    values = ("training.epochs=3", "training.batch_size=100", "validation.size=0.1", "validation.every=2")
    assert work_of(load_recipe("resnet18").set(*values), 1000) == Work(trained=2700.0, predicted=200)
    assert work_of(load_recipe("resnet18").set(*values, "validation.size=0"), 1000) == Work(3000.0, 0)


def test_small_images_count_as_their_share_of_the_pixels() -> None:
    growing = ("training.start_size=16", "training.full_size_from=50%", "training.epochs=4", "training.batch_size=100")
    recipe = load_recipe("resnet18").set(*growing, "validation.size=0")
    # four steps of 100 images: one of 16 pixels, one of 24, then two of 32
    assert work_of(recipe, 100).trained == pytest.approx(100 * (0.25 + 0.5625 + 1 + 1))


def test_an_estimate_is_a_time() -> None:
    recipe = load_recipe("quick").set("training.epochs=1", "training.batch_size=16", "runtime.threads=1")
    assert 0 < estimated_seconds(recipe) < inf
