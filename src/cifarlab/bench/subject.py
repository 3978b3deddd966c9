"""What the benchmarks measure when only a network is named: a recipe, random images, a model with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cifarlab.errors import UsageError, unknown
from cifarlab.images.images import Images
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.language import tr
from cifarlab.models.registry import MODELS, build_untrained
from cifarlab.recipe.schema import ModelSpec, Recipe
from cifarlab.recipe.toml import load_recipe, recipe_from, recipe_names
from cifarlab.runs.folder import Run

NUM_CLASSES = 10  # those of CIFAR-10; the last layer is too small to matter for speed
IMAGE_SIZE = 32
"""Side in pixels where neither the recipe nor the caller gives one: that of CIFAR."""

CLASS_NAMES = tuple(f"class {number}" for number in range(NUM_CLASSES))


def others() -> str:
    """The networks of other packages."""
    return tr("{first} and {second}", first="torchvision:<name>", second="timm:<name>")


def recipe_of(name: str) -> Recipe:
    """Find a recipe by name or path, or make one of the defaults and the model of that name.

    Raises UsageError, with the most similar names, for a name that is neither.
    """
    # Recipes first: "resnet18" is both, and its recipe has a batch size and precision that somebody trains with.
    if name in recipe_names() or name.endswith(".toml"):
        return load_recipe(name)
    if name not in MODELS and ":" not in name:  # a colon: torchvision and timm check their own names
        raise UsageError(
            unknown("model or recipe", name, {*MODELS, *recipe_names()})
            + "\n"
            + tr("Also: {names}, or path/to/file.toml.", names=others())
        )
    return recipe_from({"name": "defaults", "model": {"name": name}}, name)


def untrained(recipe: Recipe) -> Recipe:
    """The recipe with random initial weights: speed does not depend on them, and nothing needs to be downloaded."""
    spec = {"pretrained": False, "weights": None, "freeze": "none", "unfreeze_epoch": None}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=spec)})


def random_images(num_images: int, image_size: int) -> Images:
    """Noise, uint8 (num_images, 3, image_size, image_size), with random labels; the same at every call."""
    stream = np.random.default_rng(0)  # speed depends on sizes, not on what the images show
    pixels = stream.integers(0, 256, (num_images, 3, image_size, image_size), dtype=np.uint8)
    return Images(pixels, stream.integers(0, NUM_CLASSES, num_images, dtype=np.int64), CLASS_NAMES)


def model_file(name: str, folder: Path, image_size: int = IMAGE_SIZE) -> Path:
    """Find the model file at a path or in a run folder, or write one with random weights of a named model to `folder`.

    A model's name wins over a path: ./resnet18 is the folder. Raises UsageError, with the most similar names.
    """
    path = Path(name)
    if name in MODELS or (":" in name and not path.exists()):  # a path may have a colon too
        spec, written = ModelSpec(name=name), Run(folder).model_file
        torch.manual_seed(0)
        network = build_untrained(spec, NUM_CLASSES, image_size)
        save_model(written, network.state_dict(), untrained_card(spec, CLASS_NAMES, image_size))
        return written
    if not path.exists():
        text = unknown("model, run folder or model file", name, MODELS)
        raise UsageError(text + "\n" + tr("Also: {names}.", names=others()))
    return Run(path).model_file if path.is_dir() else path
