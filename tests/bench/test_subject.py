from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.bench.subject import model_file, random_images, recipe_of, untrained
from cifarlab.errors import RecipeError, UsageError
from cifarlab.inference.classifier import Classifier
from cifarlab.recipe.toml import load_recipe, parse_recipe


def test_a_recipe_wins_over_the_network_of_its_name(tmp_path: Path) -> None:
    assert recipe_of("resnet18") == load_recipe("resnet18")
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[model]\nname = "simple-cnn"\n')
    assert recipe_of(str(path)).name == "mine"


@pytest.mark.parametrize("name", ["speednet", "torchvision:resnet18", "timm:resnet18"])
def test_a_network_without_a_recipe_gets_the_defaults(name: str) -> None:
    found = recipe_of(name)
    assert found.model.name == name and found.name == "defaults"
    assert found.optimizer == parse_recipe('name = "r"\n[model]\nname = "x"').optimizer


def test_the_nearest_recipes_and_networks_are_named() -> None:
    with pytest.raises(UsageError, match=r"Did you mean .*speednet"):
        recipe_of("spednet")
    with pytest.raises(UsageError, match=r"simple-cnn-early-stopping"):
        recipe_of("simple-cnn-early-stoping")
    with pytest.raises(RecipeError):
        recipe_of("nothing-here.toml")


def test_nothing_is_fetched_for_a_pretrained_network() -> None:
    spec = untrained(load_recipe("resnet18-finetune")).model
    assert not spec.pretrained and spec.weights is None and spec.freeze == "none"


def test_noise_is_the_same_every_time_and_has_every_class() -> None:
    first, second = random_images(200, 12), random_images(200, 12)
    assert first.fingerprint == second.fingerprint and first.pixels.shape == (200, 3, 12, 12)
    assert (first.counts > 0).all()


def test_a_networks_name_gives_a_file_that_loads_and_answers(tmp_path: Path) -> None:
    path = model_file("speednet", tmp_path, 16)
    classifier = Classifier.load(path)
    assert classifier.card.image_size == 16
    assert np.isfinite(classifier.logits(random_images(3, 16).pixels)).all()


def test_a_path_is_a_file_or_a_run_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.touch()
    assert model_file(str(file), tmp_path / "unused") == file
    assert model_file(str(tmp_path), tmp_path / "unused") == tmp_path / "model.safetensors"
    with pytest.raises(UsageError, match=r"Did you mean .*simple-cnn"):
        model_file("simple-cn", tmp_path)
