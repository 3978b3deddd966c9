"""What is measured when only a network is named: a recipe for it, random images, a model file with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cifarlab.errors import UsageError, unknown
from cifarlab.images.images import Images
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.models.registry import MODELS, build_untrained
from cifarlab.recipe.schema import ModelSpec, Recipe
from cifarlab.recipe.toml import load_recipe, recipe_from, recipe_names
from cifarlab.runs.folder import Run

NUM_CLASSES = 10
IMAGE_SIZE = 32
"""Pixels, where neither the recipe nor the caller says."""

CLASS_NAMES = tuple(f"class {number}" for number in range(NUM_CLASSES))

_OF_OTHERS = "torchvision:<name> and timm:<name>"


def recipe_of(name: str) -> Recipe:
    """A recipe by name or path, or the defaults with the model of that name; where both exist, the recipe.

    Raises UsageError, with the nearest names, for what is neither.
    """
    if name in recipe_names() or name.endswith(".toml"):
        return load_recipe(name)
    if name not in MODELS and ":" not in name:
        raise UsageError(
            f"{unknown('model or recipe', name, {*MODELS, *recipe_names()})}\nAlso: {_OF_OTHERS}, or path/to/file.toml."
        )
    return recipe_from({"name": "defaults", "model": {"name": name}}, name)


def untrained(recipe: Recipe) -> Recipe:
    """The recipe with random first weights: speed does not depend on them, and nothing needs to be fetched."""
    return recipe.model_copy(update={"model": _random_weights(recipe.model)})


def random_images(num_images: int, image_size: int) -> Images:
    """Noise, uint8 (num_images, 3, image_size, image_size), with random labels; the same every time."""
    stream = np.random.default_rng(0)
    pixels = stream.integers(0, 256, (num_images, 3, image_size, image_size), dtype=np.uint8)
    return Images(pixels, stream.integers(0, NUM_CLASSES, num_images, dtype=np.int64), CLASS_NAMES)


def model_file(name: str, folder: Path, image_size: int = IMAGE_SIZE) -> Path:
    """The model file at a path or in a run folder, or a new one in `folder` with random weights of the named model.

    A model's name wins over a path: ./resnet18 is the folder. Raises UsageError, with the nearest names.
    """
    path = Path(name)
    if name in MODELS or (":" in name and not path.exists()):
        return _random_model_file(ModelSpec(name=name), Run(folder).model_file, image_size)
    if not path.exists():
        raise UsageError(f"{unknown('model, run folder or model file', name, MODELS)}\nAlso: {_OF_OTHERS}.")
    return Run(path).model_file if path.is_dir() else path


def _random_model_file(spec: ModelSpec, path: Path, image_size: int) -> Path:
    torch.manual_seed(0)
    network = build_untrained(spec, NUM_CLASSES, image_size)
    card = untrained_card(spec, CLASS_NAMES, image_size)
    save_model(path, network.state_dict(), card)
    return path


def _random_weights(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"pretrained": False, "weights": None, "freeze": "none", "unfreeze_epoch": None})
