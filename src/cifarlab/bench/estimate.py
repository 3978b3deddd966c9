"""Estimate from a few steps how long a recipe would train on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cifarlab.bench.subject import IMAGE_SIZE
from cifarlab.bench.throughput import throughput
from cifarlab.recipe.duration import part_of, training_steps
from cifarlab.recipe.schema import Recipe
from cifarlab.training.schedules import image_size

NUM_IMAGES = {"sample": 3_000}
"""Training images by source, before validation images are held out."""
OTHERWISE = 50_000
"""As many as CIFAR has."""


@dataclass(frozen=True)
class Work:
    """What a training computes: images that train, counted at full size, and images that are only predicted."""

    trained: float
    predicted: int


def estimated_seconds(recipe: Recipe) -> float:
    """Seconds of the whole training of a recipe on its own data, from two steps on noise after one to warm up.

    Augmentation, which is a small part, is left out, and so is early stopping, which nobody can foresee. Raises what
    building the network and choosing the device raise.
    """
    rates = throughput(recipe, steps=2, rounds=1, warmup=1).timings
    work = work_of(recipe, NUM_IMAGES.get(recipe.data.source, OTHERWISE))
    return work.trained / rates["training"].median + work.predicted / rates["forward"].median


def work_of(recipe: Recipe, num_images: int) -> Work:
    """How many images a recipe trains and predicts, of a source with so many training images.

    A smaller image counts as its share of the pixels of a full one, because it costs about that.
    """
    training, size = recipe.training, recipe.validation.size
    num_val = size if isinstance(size, int) else part_of(size, num_images)
    steps_per_epoch = ceil((num_images - num_val) / training.batch_size)
    steps = training_steps(training.epochs, steps_per_epoch)
    full = recipe.data.image_size or IMAGE_SIZE
    sizes = [image_size(training, full, step, steps_per_epoch, steps) for step in range(steps)]
    validations = ceil(training.epochs / recipe.validation.every)
    return Work(training.batch_size * sum((each / full) ** 2 for each in sizes), validations * num_val)
