"""How many images a second are ready for the network: batches, augmentation, normalisation and mixing alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from cifarlab.batches.loader import Loader
from cifarlab.bench.subject import untrained
from cifarlab.bench.timing import Benchmark, machine, measure, repeated
from cifarlab.console import log
from cifarlab.drawing import wording
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.sources import open_source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import Recipe
from cifarlab.training.step import Step
from cifarlab.training.train import make_card, make_step


def loading(
    recipe: Recipe, *, steps: int = 20, rounds: int = 5, warmup: int = 1, data_dir: Path | None = None
) -> Benchmark:
    """Images per second of the batches alone, and of the batches as the network gets them.

    `batches` gathers pixels and labels on the device; `inputs` goes on to augment, normalise, resize and mix as the
    recipe says. Every batch is full, and a new epoch is shuffled as in training. A round is `steps` batches; `warmup`
    rounds do not count. Raises what reading the training images raises.
    """
    recipe = untrained(recipe)
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"last_batch": "drop"})})
    images, _ = load_train_and_val(open_source(recipe.data, data_dir), recipe.validation)
    runtime = choose_runtime(recipe.runtime)
    with runtime.in_use():
        loader, step = make_step(recipe, runtime, make_card(recipe, images), images)
        timings = {}
        for name, action in (("batches", _batches(loader)), ("inputs", _inputs(loader, step))):
            log.info(f"{recipe.name}: {name}, {wording.count(rounds, 'round')} after {warmup} to warm up")
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


def _batches(loader: Loader) -> Callable[[], object]:
    """Each call gathers the next batch."""
    numbers = count()
    return lambda: loader.batch(next(numbers))


def _inputs(loader: Loader, step: Step) -> Callable[[], object]:
    """Each call prepares the next batch for the network."""
    numbers = count()

    def action() -> None:
        number = next(numbers)
        step.inputs(number, loader.batch(number))

    return action
