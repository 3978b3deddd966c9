"""How many images a second a network learns from and answers for, apart from everything around it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cifarlab.batches.loader import Batch
from cifarlab.bench.subject import IMAGE_SIZE, random_images, untrained
from cifarlab.bench.timing import Benchmark, machine, measure, repeated
from cifarlab.console import log
from cifarlab.drawing.wording import count
from cifarlab.inference.classifier import Classifier
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import AugmentationSpec, Recipe
from cifarlab.training.loop import set_frozen
from cifarlab.training.optim import build
from cifarlab.training.step import Step
from cifarlab.training.train import make_card, make_step

TINY_LR = 1e-6


def throughput(recipe: Recipe, *, steps: int = 10, rounds: int = 5, warmup: int = 1) -> Benchmark:
    """Images per second of training steps and of the forward pass alone, on one batch of noise on the device.

    A training step is that of the recipe without augmentation: normalise, forward, backward, optimizer. The forward
    pass is that of judging, on a batch that is normalised already. Batch size, image size, precision and device are
    those of the recipe. A round is `steps` steps; `warmup` rounds do not count.
    """
    recipe = untrained(recipe).model_copy(update={"augmentation": AugmentationSpec()})
    runtime = choose_runtime(recipe.runtime)
    size = recipe.data.image_size or IMAGE_SIZE
    images = random_images(max(recipe.training.batch_size, 2), size)  # a loader needs two
    with runtime.in_use():
        loader, step = make_step(recipe, runtime, make_card(recipe, images), images)
        batch = loader.batch(0)
        timings = {}
        for name, action in (("training", _training(step, batch)), ("forward", _forward(step, batch))):
            parts = f"{count(rounds, 'round')} of {count(steps, 'step')}"
            log.info(f"{recipe.model.name}: {name}, {parts} after {warmup} to warm up")
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


def _training(step: Step, batch: Batch) -> Callable[[], object]:
    """One optimizer step, so small that noise cannot drive the weights to infinity."""

    def action() -> None:
        set_frozen(step.recipe, step.model, epoch=0)
        build.set_lr(step.optimizer, TINY_LR)
        step(0, batch)

    return action


def _forward(step: Step, batch: Batch) -> Callable[[], object]:
    """One pass as it is made in judging."""
    classifier = Classifier(step.model, step.card, step.runtime)
    inputs = classifier.network_input(batch.pixels)

    @torch.inference_mode()
    def action() -> None:
        step.model.eval()
        with step.runtime.autocast():
            step.network(inputs)

    return action
