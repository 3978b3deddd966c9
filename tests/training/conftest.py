"""Tiny real trainings."""

from __future__ import annotations

import pytest

from cifarlab import recipe_file
from cifarlab.recipe import Recipe


@pytest.fixture
def tiny() -> Recipe:
    """simple-cnn on the bundled sample, in fp32 on the CPU: 5 steps of 540 images per epoch, two epochs."""
    return recipe_file.override_all(
        recipe_file.load("simple-cnn"),
        [
            "data.source=sample",
            "training.batch_size=540",
            "training.epochs=2",
            "runtime.device=cpu",
            "runtime.precision=fp32",
            "runtime.tensorboard=false",
            "evaluation.test=false",
        ],
    )
