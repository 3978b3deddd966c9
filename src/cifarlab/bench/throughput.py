"""Measure how many images per second a network trains on and predicts, without anything around it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cifarlab.batches.loader import Batch
from cifarlab.bench.subject import IMAGE_SIZE, random_images, untrained
from cifarlab.bench.timing import Benchmark, announce, machine, measure, repeated
from cifarlab.console import count
from cifarlab.inference.classifier import Classifier
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import AugmentationSpec, Recipe
from cifarlab.training.loop import set_frozen
from cifarlab.training.optim import build
from cifarlab.training.step import Step
from cifarlab.training.train import make_card, make_step

TINY_LR = 1e-6
"""The same batch of noise is learned over and over: at a usual rate the weights could overflow, and infinities and
NaN change the speed of some operations."""


def throughput(recipe: Recipe, *, steps: int = 10, rounds: int = 5, warmup: int = 1) -> Benchmark:
    """Measure images per second of training steps and of the forward pass alone, on one batch of noise on the device.

    A training step is that of the recipe without augmentation: normalise, forward, backward, optimizer. The forward
    pass is that of evaluation, on a batch that is already normalised. Batch size, image size, precision and device
    are those of the recipe. A round is `steps` steps; `warmup` rounds do not count.
    """
    recipe = untrained(recipe).model_copy(update={"augmentation": AugmentationSpec()})
    runtime = choose_runtime(recipe.runtime)
    size = recipe.data.image_size or IMAGE_SIZE
    images = random_images(max(recipe.training.batch_size, 2), size)  # the loader refuses fewer than two
    with runtime.in_use():
        loader, step = make_step(recipe, runtime, make_card(recipe, images), images)
        batch = loader.batch(0)  # one batch for all steps, so that the loader is not measured
        timings = {}
        for name, action in (("training", training_action(step, batch)), ("forward", _forward(step, batch))):
            announce(recipe.model.name, name, rounds, warmup, count(steps, "step"))
            seconds = measure(repeated(action, steps), rounds=rounds, warmup=warmup, runtime=runtime)
            timings[name] = seconds.rate(steps * len(batch.labels), "images/s")
    settings = {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "batch_size": len(batch.labels),
        "image_size": size,
        "steps": steps,
    }
    return Benchmark(f"{recipe.model.name} on noise", settings, timings, machine(runtime))


def training_action(step: Step, batch: Batch) -> Callable[[], object]:
    """Make an action that takes one optimizer step on the batch."""

    def action() -> None:
        set_frozen(step.recipe, step.model, epoch=0)  # back into training mode, which the forward pass has left
        build.set_lr(step.optimizer, TINY_LR)
        step(0, batch)

    return action


def _forward(step: Step, batch: Batch) -> Callable[[], object]:
    """Make an action that runs one forward pass as evaluation does."""
    classifier = Classifier(step.model, step.card, step.runtime)
    inputs = classifier.network_input(batch.pixels)  # outside the action: normalising is not measured

    @torch.inference_mode()
    def action() -> None:
        step.model.eval()
        with step.runtime.autocast():
            step.network(inputs)  # the compiled network, where the recipe compiles

    return action
