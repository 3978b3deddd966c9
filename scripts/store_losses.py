"""Store the first losses of the recipes in tests/golden/losses.json, after a change that is meant to change them.

    python scripts/store_losses.py

The test that reads them (tests/training/test_losses.py) notices a speed-up that silently changes the mathematics. They
are losses in float64 of short trainings on some images of the sample, and the same on every CPU:

- Each step magnifies what rounding did to the weights. A loss is stored only if a change of all images by NOISE, which
  is 50,000 times float64's rounding, moves it by less than TOLERANCE.
- Max pooling gives the gradient to the largest of four neighbours. In flat areas and erased boxes they are equal, and
  the last bit would choose. The network is therefore shown the images with a little noise, always the same.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cifarlab.images.sources import load_images
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.models.registry import MODELS
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_names
from cifarlab.runs.folder import Run
from cifarlab.training.loop import Clock, Setup, choose_images, set_frozen, take_step
from cifarlab.training.state import State, Totals
from cifarlab.training.train import make_card, make_step, prepare

FILE = Path(__file__).parents[1] / "tests" / "golden" / "losses.json"

BATCH_SIZE, STEPS_PER_EPOCH, NUM_EPOCHS = 16, 3, 2
DITHER = 2**-7
"""Largest noise that is always added to the network's images, whose deviation is 1."""

NOISE = 1e-11
TOLERANCE = 1e-7
"""Relative, of each loss."""


def main() -> None:
    """Write the file anew."""
    FILE.write_text(json.dumps({name: stable_losses(name) for name in names()}, indent=2) + "\n", "utf-8")


def names() -> list[str]:
    """All recipes but those that need downloaded weights."""
    return [name for name in recipe_names() if not load_recipe(name).model.pretrained]


def stable_losses(name: str) -> list[float]:
    """The losses up to the first one that rounding might show in."""
    exact = losses(name)
    pairs = zip(exact, losses(name, noise=NOISE), strict=True)
    return [loss for loss, _ in takewhile(lambda pair: abs(pair[1] - pair[0]) < TOLERANCE * pair[0], pairs)]


def losses(
    name: str,
    *changes: str,
    dtype: torch.dtype = torch.float64,
    noise: float = 0,
    seed: int = 0,
    num_steps: int = STEPS_PER_EPOCH * NUM_EPOCHS,
) -> list[float]:
    """The losses of the first steps; the first weights are those of float64, whatever `dtype` is.

    changes: of the recipe. dtype: of weights and losses. noise: the share of itself by which every value of the images
    changes at most; seed: decides how.
    """
    recipe = shortened(load_recipe(name), *changes)
    with tempfile.TemporaryDirectory() as folder:
        with default_dtype(torch.float64):
            weights = start(recipe, Path(folder))[1].model.state_dict()
        with default_dtype(dtype):
            setup, state = start(recipe, Path(folder))
            state.model.load_state_dict(weights)
            setup.step.network = with_noise(state.model, noise, seed)
            return list(take_steps(setup, state, num_steps))


def shortened(recipe: Recipe, *changes: str) -> Recipe:
    """The recipe with few steps and channels on the CPU; its schedule, growing images and hard examples all fit in."""
    short = ["data.source=sample", f"training.batch_size={BATCH_SIZE}", f"training.epochs={NUM_EPOCHS}"]
    narrow = ["model.width=0.25"] if MODELS[recipe.model.name].scalable else []
    runtime = [f"runtime.{setting}" for setting in ("device=cpu", "precision=fp32", "kernels=off", "tensorboard=false")]
    return recipe.set(*short, *narrow, *runtime, *changes)


def start(recipe: Recipe, folder: Path) -> tuple[Setup, State]:
    """Prepare to train on images from all over the sample."""
    sample = load_images("sample", "train")
    images = sample.subset(np.linspace(0, len(sample) - 1, BATCH_SIZE * STEPS_PER_EPOCH).astype(np.int64))
    runtime, card = choose_runtime(recipe.runtime), make_card(recipe, images)
    return prepare(recipe, Run(folder), runtime, card, *make_step(recipe, runtime, card, images), None)


def take_steps(setup: Setup, state: State, num_steps: int) -> Iterator[float]:
    """Train, and give the loss of each step."""
    set_frozen(setup.recipe, state.model, 0)
    clock = Clock(0.0)
    for _ in range(num_steps):
        choose_images(setup.recipe, setup.loader, state.hard, state.step, setup.total_steps)
        state.totals = Totals()
        take_step(setup, state, clock)
        yield state.totals.loss / state.totals.num_images


def with_noise(network: nn.Module, noise: float, seed: int) -> Callable[[Tensor], Tensor]:
    """The network, shown images that are changed by DITHER and then by `noise`."""
    dither, further = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)

    def shown_noise(images: Tensor) -> Tensor:
        images = images + DITHER * both_signs(images, dither)
        logits: Tensor = network(images * (1 + noise * both_signs(images, further)))
        return logits

    return shown_noise


def both_signs(images: Tensor, stream: torch.Generator) -> Tensor:
    """Random numbers in -1..1 of the same shape, type and layout: the same numbers for every type."""
    numbers = torch.rand(images.shape, generator=stream, dtype=torch.float32)
    return torch.empty_like(images).copy_(2 * numbers - 1)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let torch make its tensors in this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


if __name__ == "__main__":
    main()
