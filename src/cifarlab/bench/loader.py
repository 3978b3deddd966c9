"""Measure how many images per second the input pipeline delivers: batches, augmentation, normalisation, mixing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from cifarlab.batches.loader import Loader
from cifarlab.bench.subject import untrained
from cifarlab.bench.timing import Benchmark, announce, machine, measure, repeated
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.sources import open_source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import Recipe
from cifarlab.training.step import Step
from cifarlab.training.train import make_card, make_step


def loading(
    recipe: Recipe, *, steps: int = 20, rounds: int = 5, warmup: int = 1, data_dir: Path | None = None
) -> Benchmark:
    """Measure images per second of the batches alone, and of the batches as the network gets them.

    `batches` gathers pixels and labels on the device; `inputs` goes on to augment, normalise, resize and mix as the
    recipe says. Every batch is full, and a new epoch is shuffled as in training. A round is `steps` batches; `warmup`
    rounds do not count. Raises the errors of reading the training images.
    """
    recipe = untrained(recipe)
    # Rates assume full batches; the smaller last batch of an epoch would count as one.
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"last_batch": "drop"})})
    images, _ = load_train_and_val(open_source(recipe.data, data_dir), recipe.validation)
    runtime = choose_runtime(recipe.runtime)
    with runtime.in_use():  # the recipe's number of threads, which is restored at the end
        loader, step = make_step(recipe, runtime, make_card(recipe, images), images)
        timings = {}
        numbers = count()
        actions = {"batches": lambda: loader.batch(next(numbers)), "inputs": _inputs(loader, step)}
        for name, action in actions.items():
            announce(recipe.name, name, rounds, warmup)
            seconds = measure(repeated(action, steps), rounds=rounds, warmup=warmup, runtime=runtime)
            timings[name] = seconds.rate(steps * loader.batch_size, "images/s")
    settings = {
        "recipe": recipe.name,
        "data": recipe.data.source,
        "num_images": len(images),
        "batch_size": loader.batch_size,
        "image_size": step.card.input_size,
        "steps": steps,
    }
    return Benchmark(f"{recipe.name} on {recipe.data.source}", settings, timings, machine(runtime))


def _inputs(loader: Loader, step: Step) -> Callable[[], object]:
    """Make an action that prepares the next batch for the network at each call."""
    numbers = count()  # counts on across rounds: what is drawn at random depends on the step's number alone

    def action() -> None:
        number = next(numbers)
        step.inputs(number, loader.batch(number))  # on the device, like batches: no worker processes to wait for

    return action
