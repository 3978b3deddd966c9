"""Store the first losses of some recipes in tests/golden/losses.json, after a change that is meant to change them.

    python scripts/store_losses.py

The test that reads them (tests/training/test_losses.py) notices a speed-up that silently changes the mathematics.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from cifarlab import recipe_file
from cifarlab.images.sources import load_images
from cifarlab.recipe import Recipe
from cifarlab.runs import Run
from cifarlab.runtime import resolve
from cifarlab.training import optimizers
from cifarlab.training.schedules import image_size, lr_factor
from cifarlab.training.train import make_card, make_step, prepare

FILE = Path(__file__).parents[1] / "tests" / "golden" / "losses.json"
RECIPES = ("basic-cnn", "quick", "residual-basic", "simple-cnn", "simple-cnn-early-stopping", "speed", "speed-plus")
NUM_STEPS = 10


def first_losses(name: str, *further_changes: str) -> list[float]:
    """The losses of the first steps on the sample, in float32 on the CPU, in batches of 32."""
    changes = ["data.source=sample", "training.batch_size=32", "runtime.device=cpu", "runtime.precision=fp32"]
    recipe = recipe_file.override_all(recipe_file.load(name), [*changes, "runtime.tensorboard=false", *further_changes])
    with tempfile.TemporaryDirectory() as folder:
        return _losses(recipe, Run(Path(folder)))


def _losses(recipe: Recipe, run: Run) -> list[float]:
    images = load_images("sample", "train")
    runtime, card = resolve(recipe.runtime), make_card(recipe, images)
    work, state = prepare(recipe, run, runtime, card, make_step(recipe, runtime, card, images), None)
    state.model.train()
    losses = []
    for step in range(NUM_STEPS):
        position = (step, len(work.loader), work.total_steps)
        optimizers.set_lr(state.optimizer, recipe.optimizer.lr * lr_factor(recipe.schedule, *position))
        size = image_size(recipe.training, work.card.input_size, *position)
        losses.append(work.step(step, work.loader.batch(step), size).loss.item())
    return losses


def main() -> None:
    """Write the file anew."""
    FILE.write_text(json.dumps({name: first_losses(name) for name in RECIPES}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
