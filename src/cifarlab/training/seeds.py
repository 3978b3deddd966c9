"""The same recipe from several seeds."""

from __future__ import annotations

import json
from pathlib import Path

from cifarlab.console import log
from cifarlab.evaluation.statistics import mean_and_sd
from cifarlab.files import write_atomic
from cifarlab.recipe import Recipe
from cifarlab.recipe_file import override
from cifarlab.runs import Run
from cifarlab.training.train import train


def train_seeds(recipe: Recipe, num_seeds: int, *, out: str | Path = "runs", data_dir: Path | None = None) -> Run:
    """Train with seeds training.seed, +1, ... and leave one run per seed in a folder with seeds.json.

    seeds.json gives mean, standard deviation (n - 1) and n of the validation and test accuracy.
    Returns the group's folder as a Run.
    """
    group = Run.create(Path(out), f"{recipe.name}-seeds")
    group.write_recipe(recipe)
    first = recipe.training.seed
    runs = []
    for seed in range(first, first + num_seeds):
        log.info(f"seed {seed}: run {seed - first + 1} of {num_seeds}")
        seeded = override(recipe, "training.seed", str(seed))
        runs.append(train(override(seeded, "name", f"seed-{seed}"), out=group.path, data_dir=data_dir))
        write_atomic(group.path / "seeds.json", json.dumps(summarise(runs), indent=2) + "\n")
    return group


def summarise(runs: list[Run]) -> dict[str, object]:
    """Mean, standard deviation and n over finished runs, with the single values."""
    tests = [evaluation["accuracy"] for run in runs if (evaluation := run.evaluation("test"))]
    vals = [value for run in runs if (value := run.manifest["best_val_accuracy"]) is not None]
    return {"runs": [run.name for run in runs], "val_accuracy": _spread(vals), "test_accuracy": _spread(tests)}


def _spread(values: list[float]) -> dict[str, object] | None:
    if not values:
        return None
    mean, sd = mean_and_sd(values) if len(values) > 1 else (values[0], None)  # None until the second seed is done
    return {"mean": mean, "sd": sd, "n": len(values), "values": values}
