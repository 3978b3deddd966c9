from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarlab.evaluation import examples, predictions
from cifarlab.evaluation.evaluate import evaluate
from cifarlab.images.images import Images
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import Run

NAMES = ("cat", "dog", "<script>alert('owl')</script> 🦉")

MakeRun = Callable[..., Run]


def images(num_images: int, seed: int, names: tuple[str, ...]) -> Images:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (num_images, 3, 4, 4), dtype=np.uint8)
    return Images(pixels, np.arange(num_images) % len(names), names)


def logits_with(judged: Images, wrong: set[int]) -> np.ndarray:
    """Sure and right everywhere but at `wrong`, where the next class is predicted."""
    shift = np.array([index in wrong for index in range(len(judged))])
    predicted = (judged.labels + shift) % judged.num_classes
    return (5 * np.eye(judged.num_classes)[predicted]).astype(np.float32)


def manifest(seed: int) -> dict[str, Any]:
    return {
        "cifarlab": "1.0",
        "num_parameters": 1000,
        "elapsed_seconds": 12.5,
        "best_epoch": 2,
        "best_val_accuracy": 0.8,
        "num_steps": 20,
        "seed": seed,
        "data": {"num_train": 90, "num_val": 10, "train_fingerprint": "abc", "val_fingerprint": "def"},
        "runtime": {"device_name": "a chip", "precision": "fp32"},
        "versions": {"torch": "2.9"},
    }


def rows(scale: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "elapsed_seconds": 4.0 * epoch,
            "train/loss": scale / epoch,
            "train/accuracy": 0.3 * epoch,
            "train/images": 90 if epoch > 1 else 10,
            "val/loss": scale / epoch,
            "val/accuracy": None if epoch == 1 else 0.25 * epoch,
            "lr": 0.1,
            "images_per_second": 100.0 * epoch,
        }
        for epoch in (1, 2, 3)
    ]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run folder that was evaluated on test, wrong at given images."""

    def make(
        name: str,
        wrong: set[int] | range = frozenset(),
        *,
        num_images: int = 300,
        names: tuple[str, ...] = NAMES,
        image_seed: int = 0,
        pictures: bool = False,
        root: Path = tmp_path,
        seed: int = 0,
        values: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
    ) -> Run:
        judged = images(num_images, image_seed, names)
        run = Run.create(root, name)
        base = {"name": name, "model": {"name": "simple-cnn"}, "training": {"seed": seed}}
        run.write_recipe(recipe_from({**base, **(values or {})}))
        facts = manifest(seed)
        facts["data"] |= data or {}
        run.update_manifest(**facts)
        run.write_metrics(rows(1.0))
        found, logits = evaluate(lambda pixels: logits_with(judged, set(wrong)), judged, split="test")
        run.write_evaluation("test", found.to_dict())
        predictions.write(run.predictions_file("test"), judged.labels, logits)
        if pictures:
            examples.write(run.examples_file("test"), judged, logits, 1.0)
        return run

    return make


@pytest.fixture
def make_group(tmp_path: Path, make_run: MakeRun) -> MakeRun:
    """Writes the folder of several seeds, each wrong at so many of the first images."""

    def make(name: str, num_wrong: list[int], values: dict[str, Any] | None = None) -> Run:
        group = Run.create(tmp_path, name)
        group.write_recipe(recipe_from({"name": name, "model": {"name": "simple-cnn"}, **(values or {})}))
        runs = [
            make_run(f"seed-{seed}", range(number), root=group.path, seed=seed) for seed, number in enumerate(num_wrong)
        ]
        (group.path / "seeds.json").write_text(json.dumps({"runs": [run.name for run in runs]}))
        return group

    return make
