"""Stored loss curves, which a speed-up must not change; and how far the other types of numbers may be from them."""

from __future__ import annotations

import importlib.util
import json
import math
from functools import cache
from itertools import accumulate
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cifarlab.recipe.toml import recipe_names

SCRIPT = Path(__file__).parents[2] / "scripts" / "store_losses.py"
STORED = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text("utf-8"))


@cache
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_losses", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", STORED)
def test_n71_the_first_losses_are_those_that_were_stored(name: str) -> None:
    stored = STORED[name]
    found = script().losses(name, num_steps=len(stored))
    assert found == pytest.approx(stored, rel=script().TOLERANCE)


def test_n71_losses_are_stored_of_every_recipe_that_starts_from_random_weights() -> None:
    assert [name for name in recipe_names() if name not in STORED] == ["resnet18-finetune"]
    assert all(STORED.values())
    whole = [name for name, losses in STORED.items() if len(losses) == 6]
    assert {"quick", "simple-cnn", "speed", "speed-plus", "resnet18", "resnet18-plain", "resnet34-mix"} <= set(whole)


@pytest.mark.parametrize("noise", [1e-13, 1e-11])
def test_n71_nothing_in_a_stored_curve_is_decided_by_the_last_bit(noise: float) -> None:
    """A change of the images by 1e-13 is magnified like one by 1e-11. Where equal values meet in a pool it is not: then
    either moves the second loss of speed by 2e-5.
    """
    exact, moved = script().losses("speed"), script().losses("speed", noise=noise)
    assert moved == pytest.approx(exact, rel=1e3 * noise, abs=0)
    assert moved != pytest.approx(exact, rel=1e-3 * noise, abs=0)


SUMMED = 16 * 32 * 32
"""Terms of the longest sums: a batch norm's means and a filter's gradient go over all pixels of the batch."""

EPSILON = {"fp32": SUMMED * 2**-24, "bf16": 2**-8 + SUMMED * 2**-24}
"""Largest relative error of a layer's result. A sum of n terms in float32 errs by up to n · 2^-24 of their sizes
(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1); bf16 rounds what goes in and out by up to
2^-8."""


@cache
def allowed(
    name: str, changes: tuple[str, ...], num_layers: int, num_steps: int, precision: str
) -> list[tuple[float, float]]:
    """The first losses in float64, each with the relative distance from it that rounding explains.

    It is the farthest that three random changes of the images by EPSILON led until then. But the results of all layers
    are rounded too, forwards and again in the gradient: independent errors add up like the root of their number.
    """
    exact, *moved = (
        script().losses(name, *changes, noise=EPSILON[precision] if seed else 0, seed=seed, num_steps=num_steps)
        for seed in range(4)
    )
    farthest = [max(abs(loss / true - 1) for loss in step) for true, *step in zip(exact, *moved, strict=True)]
    return [
        (loss, math.sqrt(2 * num_layers) * distance)
        for loss, distance in zip(exact, accumulate(farthest, max), strict=True)
    ]


@pytest.mark.parametrize("kernels", ["off", "on"])
@pytest.mark.parametrize("precision", EPSILON)
@pytest.mark.parametrize(
    ("name", "changes", "num_layers", "num_steps"),
    [("quick", (), 20, 6), ("speed", (), 30, 2), ("resnet18-plain", ("optimizer.lr=1e-3",), 60, 2)],
)
def test_n71_other_arithmetic_is_as_far_from_float64_as_rounding_explains(
    request: pytest.FixtureRequest,
    name: str,
    changes: tuple[str, ...],
    num_layers: int,
    num_steps: int,
    precision: str,
    kernels: str,
) -> None:
    if kernels == "on":
        request.getfixturevalue("kernels")
    arithmetic = (f"runtime.precision={precision}", f"runtime.kernels={kernels}")
    found = script().losses(name, *changes, *arithmetic, dtype=torch.float32, num_steps=num_steps)
    for loss, (true, bound) in zip(found, allowed(name, changes, num_layers, num_steps, precision), strict=True):
        assert bound < 0.1  # or the test would say nothing
        assert loss == pytest.approx(true, rel=bound)
