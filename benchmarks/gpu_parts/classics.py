"""Part d: the recipes of other collections, shortened; a training that runs out of time continues in the next call."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from cifarlab.errors import MachineError
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from gpu_parts.pieces import Piece, Record, Settings

RECIPES = (
    "resnet18-plain",
    "resnet34-plain",
    "resnet50-plain",
    "resnet34-cosine",
    "resnet34-augmented",
    "resnet34-mix",
    "googlenet",
    "simple-cnn",
    "simple-cnn-early-stopping",
    "basic-cnn",
    "inception-basic",
    "residual-basic",
    "resnet18-imagenet-stem",
)
TINY_RECIPES = ("basic-cnn",)
SECONDS_TO_SAVE = 15.0
"""A training is asked to stop this long before the time is over."""


def pieces(settings: Settings) -> list[Piece]:
    """One per recipe."""
    names = TINY_RECIPES if settings.tiny else RECIPES
    return [Piece(name, partial(measure, settings, name)) for name in names]


def measure(settings: Settings, name: str, seconds_left: float) -> list[Record]:
    """Begin or continue the run, and read its numbers when it is complete; raises TimeoutError when it is not."""
    path = settings.out / "classics" / name
    command = [sys.executable, "-m", "cifarlab", "train", "--no-report"]
    if (path / "recipe.toml").exists():
        command += ["--resume", str(path)]
    else:
        epochs = min(settings.epochs, load_recipe(name).training.epochs)
        command += [name, "--out", str(path.parent), "--data", settings.data]
        command += ["--device", settings.device, "--epochs", str(epochs)]
    run_command(command, name, max(1.0, seconds_left - SECONDS_TO_SAVE))
    run = Run.open(path)
    test, speeds = run.evaluation("test") or {}, [row["images_per_second"] or 0.0 for row in run.metrics]
    values = {"epochs": float(len(speeds)), "seconds": run.manifest["elapsed_seconds"], "accuracy": test["accuracy"]}
    return [Record(name, name, values | {"images/s": sorted(speeds)[len(speeds) // 2]})]


def run_command(command: list[str], name: str, seconds: float) -> None:
    """Run to the end, or stop it kindly: the signal makes it save its state."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            raise TimeoutError(f"{name} has saved its state and continues in the next call") from None
    if code != 0:
        raise MachineError(f"{name} failed with exit code {code}; its message stands above.")
