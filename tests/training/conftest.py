"""Tiny real trainings."""

from __future__ import annotations

import pytest

from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, override_all


@pytest.fixture
def tiny() -> Recipe:
    """simple-cnn on the bundled sample, in fp32 on the CPU: 5 steps of 540 images per epoch, two epochs."""
    return override_all(
        load_recipe("simple-cnn"),
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
