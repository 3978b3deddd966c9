"""Part c: images per second of training ResNets, here and in the script that tutorials have, in turns."""

from __future__ import annotations

from functools import partial

import resnet18
from cifarlab.images.sources import load_images
from gpu_parts.pieces import Piece, Record, Settings
from plain_script import plain_images_per_second, recipe_images_per_second

MODELS = ("resnet18", "resnet34", "resnet50")
TINY_MODELS = ("basic-cnn",)
ROUNDS = 3
PLAIN_STEPS, OUR_STEPS = 200, 1170
"""Enough for both to settle: ours are three epochs, and the median of the three is taken."""


def pieces(settings: Settings) -> list[Piece]:
    """One per network and round."""
    models, rounds = (TINY_MODELS, 1) if settings.tiny else (MODELS, ROUNDS)
    return [
        Piece(f"{model}/round-{number}", partial(measure, settings, model, number))
        for model in models
        for number in range(1, rounds + 1)
    ]


def measure(settings: Settings, model: str, number: int, _: float) -> list[Record]:
    """Both sides once."""
    images = load_images(settings.data, "train")
    plain_steps, our_steps = (1, 1) if settings.tiny else (PLAIN_STEPS, OUR_STEPS)
    plain = plain_images_per_second(resnet18.plain(model, settings.device), images, plain_steps)
    recipe = resnet18.ours(model, settings.data, settings.device)
    ours = recipe_images_per_second(recipe, our_steps, len(images))
    speeds = {"plain images/s": plain, "cifarlab images/s": ours, "ratio": ours / plain}
    return [Record(f"{model}/round-{number}", model, speeds)]
