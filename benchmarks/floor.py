"""How close a recipe's training comes to what the machine could do at best.

    CIFARLAB_DATA=... python benchmarks/floor.py [--recipe speed] [--data cifar10] [--steps 3] [--json]

Counts the operations and the bytes of a training step at each image size, as torch's own kernels make it
(multiplications and additions of convolutions and matrix products; every tensor that a kernel reads or writes, once),
measures the two ceilings of the machine (a large matrix product in the recipe's precision, a large copy), and times
real steps. The floor is the larger of operations / matrix rate and bytes / copy bandwidth, summed over all steps of the
recipe. Our own kernels for CPUs need fewer operations and bytes, so their steps can take less than that.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.sources import open_source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.machine import process
from cifarlab.machine.runtime import Runtime
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.training.loop import Setup
from cifarlab.training.schedules import image_size
from cifarlab.training.train import make_card, make_step, prepare

VIEWS = ("view", "transpose", "permute", "t", "expand", "detach", "slice", "select", "as_strided", "unsqueeze", "alias")


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the bytes of all tensors that kernels are given and give back; a view moves none."""

    num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the kernel and add up its operands and results."""
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in VIEWS:
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best."""

    flop_per_second: float
    bytes_per_second: float


@dataclass(frozen=True)
class Stage:
    """The steps of a recipe at one image size; counts and seconds are those of one step."""

    size: int
    num_steps: int
    flop: float
    num_bytes: float
    seconds: float

    def floor_seconds(self, ceilings: Ceilings) -> float:
        """The time that one step needs at least: arithmetic and memory work at the same time."""
        return max(self.flop / ceilings.flop_per_second, self.num_bytes / ceilings.bytes_per_second)


def fastest(action: Callable[[], object], runtime: Runtime, rounds: int = 7) -> float:
    """Seconds of the fastest of several rounds, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        runtime.synchronise()
        start = time.perf_counter()
        action()
        runtime.synchronise()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_ceilings(runtime: Runtime) -> Ceilings:
    """A product of 2048 x 2048 matrices in the runtime's precision, and a copy of 256 MiB."""
    left, right = (torch.randn(2048, 2048, device=runtime.device).to(runtime.dtype) for _ in range(2))
    source = torch.randn(2**26, device=runtime.device)
    target = torch.empty_like(source)
    product = fastest(lambda: left @ right, runtime)
    copy = fastest(lambda: target.copy_(source), runtime)
    return Ceilings(2 * 2048**3 / product, 2 * source.numel() * source.element_size() / copy)


def measure_stage(plain: Setup, setup: Setup, size: int, num_steps: int, repeats: int) -> Stage:
    """Count one step of torch's own kernels, then time some real ones."""
    traffic = Traffic()  # type: ignore[no-untyped-call]
    with traffic, FlopCounterMode(display=False) as flop:
        plain.step(0, plain.loader.batch(0), size)
    setup.step(0, setup.loader.batch(0), size)
    times = []
    for step in range(repeats):
        setup.runtime.synchronise()
        start = time.perf_counter()
        setup.step(step, setup.loader.batch(step), size)
        setup.runtime.synchronise()
        times.append(time.perf_counter() - start)
    return Stage(size, num_steps, flop.get_total_flops(), traffic.num_bytes, median(times))


def measure(recipe_name: str, source: str, repeats: int) -> tuple[Ceilings, list[Stage], Runtime]:
    """All image sizes of a recipe, on all of its training images."""
    process.keep_freed_memory()
    torch.set_num_threads(process.num_threads())
    changes = [f"data.source={source}", "runtime.tensorboard=false"]
    recipe = load_recipe(recipe_name).set(*changes)
    with tempfile.TemporaryDirectory() as folder:
        plain = start(recipe.set("runtime.kernels=off"), Path(folder) / "plain")
        setup = start(recipe, Path(folder) / "ours")
        position = (len(setup.loader), setup.total_steps)
        sizes = Counter(
            image_size(recipe.training, setup.card.input_size, step, *position) for step in range(setup.total_steps)
        )
        ceilings = measure_ceilings(setup.runtime)
        stages = [measure_stage(plain, setup, size, sizes[size], repeats) for size in sorted(sizes)]
        return ceilings, stages, setup.runtime


def start(recipe: Recipe, folder: Path) -> Setup:
    """A training that has not made a step."""
    folder.mkdir()
    images, _ = load_train_and_val(open_source(recipe.data), recipe.validation)
    runtime, card = choose_runtime(recipe.runtime), make_card(recipe, images)
    setup, state = prepare(recipe, Run(folder), runtime, card, *make_step(recipe, runtime, card, images), None)
    state.model.train()
    return setup


def show(ceilings: Ceilings, stages: list[Stage]) -> None:
    """Print a line per size and the sum."""
    print(
        f"ceilings: {ceilings.flop_per_second / 1e9:,.0f} Gflop/s, {ceilings.bytes_per_second / 1e9:,.1f} GB/s\n"
        "size  steps  Gflop  GB moved  arithmetic s  memory s  measured s  floor / measured"
    )
    for stage in stages:
        arithmetic, memory = stage.flop / ceilings.flop_per_second, stage.num_bytes / ceilings.bytes_per_second
        print(
            f"{stage.size:4}  {stage.num_steps:5}  {stage.flop / 1e9:5.0f}  {stage.num_bytes / 1e9:8.2f}  "
            f"{arithmetic:12.3f}  {memory:8.3f}  {stage.seconds:10.3f}  "
            f"{stage.floor_seconds(ceilings) / stage.seconds:16.2f}"
        )
    floor = sum(stage.num_steps * stage.floor_seconds(ceilings) for stage in stages)
    total = sum(stage.num_steps * stage.seconds for stage in stages)
    print(f"all steps: floor {floor:.0f} s, measured {total:.0f} s, ratio {total / floor:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="speed")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    ceilings, stages, runtime = measure(options.recipe, options.data, options.steps)
    if options.json:
        found = {"recipe": options.recipe, "ceilings": asdict(ceilings), "stages": [asdict(stage) for stage in stages]}
        print(json.dumps(found | {"runtime": runtime.describe()}, indent=2))
        return
    show(ceilings, stages)


if __name__ == "__main__":
    main()
