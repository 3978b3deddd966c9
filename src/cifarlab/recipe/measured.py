"""What the shipped recipes reached on the official pixels, and how long that took on which machine.

measured.json is made from the stored results of benchmarks/accuracy.py (its --table), and a test holds that they agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one recipe, over all its measured seeds; accuracies are fractions, on the test split."""

    data: str
    """cifar10, or sample, whose test images are other and fewer ones."""
    num_train: int
    epochs: int
    """Those that were trained: fewer than the recipe's if it was shortened, or stopped early."""
    num_seeds: int
    accuracy: float
    """The mean over the seeds."""
    sd: float | None
    """Their standard deviation; None for one seed, which has an interval instead."""
    interval: Sequence[float] | None
    """The 95 % interval of one seed; None for several."""
    tta: str | None
    """Test-time augmentation, whose mean accuracy is tta_accuracy."""
    tta_accuracy: float | None
    seconds: float | None
    """Mean training time; None if it has not been measured on a machine that did nothing else."""
    machine: str
    """What it was trained on: "AMD EPYC (Zen 5), 2 threads"."""
    date: str


@cache
def measured() -> dict[str, Measured]:
    """The results by the recipe's name; a recipe that has not been measured is missing."""
    text = (resources.files("cifarlab.recipe") / "measured.json").read_text("utf-8")
    return {name: Measured(**values) for name, values in json.loads(text).items()}
