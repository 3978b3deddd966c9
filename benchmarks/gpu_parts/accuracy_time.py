"""Part a: the seconds that a recipe takes to its test accuracy, seed after seed in one process."""

from __future__ import annotations

import time
from functools import partial

from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.training.train import train
from gpu_parts.pieces import Piece, Record, Settings

TINY = ("training.epochs=0.5", "schedule.warmup=0 steps")


def pieces(settings: Settings) -> list[Piece]:
    """One per recipe and seed. The first run of a recipe in a process compiles and tunes: its time is kept apart."""
    warm: set[str] = set()
    return [
        Piece(f"{name}/seed-{seed}", partial(measure, settings, name, seed, warm))
        for name in settings.recipes
        for seed in range(settings.num_seeds)
    ]


def measure(settings: Settings, name: str, seed: int, warm: set[str], _: float) -> list[Record]:
    """Train warm; before that once cold, where this process has not trained the recipe yet."""
    recipe = prepared(settings, name, seed)
    records = []
    if name not in warm:
        records.append(Record(f"{name}/cold-{seed}", f"{name}, first run in a process", timed(recipe, settings)))
        warm.add(name)
    return [*records, Record(f"{name}/seed-{seed}", name, timed(recipe, settings))]


def prepared(settings: Settings, name: str, seed: int) -> Recipe:
    """The recipe on the chosen data, device and seed."""
    changes = [f"data.source={settings.data}", f"training.seed={seed}", f"runtime.device={settings.device}"]
    return load_recipe(name).set(*changes, *(TINY if settings.tiny else ()))


def timed(recipe: Recipe, settings: Settings) -> dict[str, float]:
    """Train and judge; `whole_seconds` is the call with reading, first weights, files, test and pictures."""
    start = time.perf_counter()
    run = train(recipe, out=settings.out / "runs")
    values = {"seconds": run.manifest["elapsed_seconds"], "whole_seconds": time.perf_counter() - start}
    test = run.evaluation("test") or {}
    named = {"accuracy": test.get("accuracy"), f"accuracy, {test.get('tta')}": test.get("tta_accuracy")}
    return values | {key: value for key, value in named.items() if value is not None}
