"""The training script that tutorials have, to measure against: no program of its own, the other files here call it.

float32, torchvision transforms image by image in DataLoader(num_workers=2), the network in torch's default memory
format, `loss.item()` in every step. On a GPU each batch is copied when it is needed. The same script is also measured
with the two lines that its author could add, bf16 by autocast and channels last; and both with another version of
torch, since the fastest for a CPU is not always the newest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifarlab.bench.timing import machine
from cifarlab.evaluation.statistics import ratio_interval
from cifarlab.images.images import Images
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec, Recipe
from cifarlab.training.train import train

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
MOST_UNCOUNTED = 20
"""Steps before the clock, in which workers start, kernels load and buffers are made; no more than are counted."""


@dataclass(frozen=True)
class PlainScript:
    """What is trained and how; `transform` is what stands before ToTensor and Normalize."""

    model: str
    batch_size: int
    transform: tuple[Any, ...]
    optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]
    device: str = "cpu"
    bf16: bool = False
    """Autocast to bf16, and images and filters channels last."""


class PlainImages(Dataset[tuple[Tensor, int]]):
    """One image at a time through Pillow, as torchvision's CIFAR10 gives it."""

    def __init__(self, images: Images, transform: tuple[Any, ...]) -> None:
        self.pixels = images.pixels.transpose(0, 2, 3, 1).copy()
        self.labels = images.labels
        last = (transforms.ToTensor(), transforms.Normalize(MEAN, STD))
        self.transform: Any = transforms.Compose([*transform, *last])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def plain_images_per_second(script: PlainScript, images: Images, num_steps: int) -> float:
    """Train for `num_steps` after some that are not counted; workers are started before the clock."""
    torch.manual_seed(0)
    model = build_network(ModelSpec(name=script.model), images.num_classes).to(script.device)
    if script.bf16:
        model = model.to(memory_format=torch.channels_last)
    optimizer = script.optimizer(model.parameters())
    data = PlainImages(images, script.transform)
    batches = endless(DataLoader(data, script.batch_size, shuffle=True, num_workers=2, drop_last=True))
    for _ in range(min(MOST_UNCOUNTED, num_steps)):
        plain_step(script, model, optimizer, *next(batches))
    start = time.perf_counter()
    for _ in range(num_steps):
        plain_step(script, model, optimizer, *next(batches))
    return num_steps * script.batch_size / (time.perf_counter() - start)


def endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def plain_step(
    script: PlainScript, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> float:
    """One step as tutorials write it."""
    images, labels = images.to(script.device), labels.to(script.device)
    optimizer.zero_grad()
    if script.bf16:
        images = images.to(memory_format=torch.channels_last)
    with torch.autocast(script.device, torch.bfloat16, enabled=script.bf16):
        loss = F.cross_entropy(model(images), labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def recipe_images_per_second(recipe: Recipe, num_steps: int, num_images: int) -> float:
    """Train a recipe for `num_steps` after some that are not counted, as in the script: the difference of two runs."""
    uncounted = min(MOST_UNCOUNTED, num_steps)
    short, long = (recipe_seconds(recipe, steps, num_images) for steps in (uncounted, uncounted + num_steps))
    return num_steps * recipe.training.batch_size / (long - short)


def recipe_seconds(recipe: Recipe, num_steps: int, num_images: int) -> float:
    """Train a recipe for `num_steps`, everything on as in any run but the test; without its validations."""
    size, batch_size = recipe.validation.size, recipe.training.batch_size
    num_train = num_images - (size if isinstance(size, int) else round(size * num_images))
    changes = [f"training.epochs={num_steps * batch_size / num_train}", "evaluation.test=false"]
    with tempfile.TemporaryDirectory() as folder:
        rows = train(recipe.set(*changes), out=Path(folder)).metrics
    ends = [0, *(row["step"] or 0 for row in rows)]
    steps = (end - start for start, end in pairwise(ends))
    return sum(taken * batch_size / (row["images_per_second"] or 1) for taken, row in zip(steps, rows, strict=True))


@dataclass(frozen=True)
class Speeds:
    """Images per second of each side in every round, in turns; the last side is ours."""

    rounds: dict[str, list[float]]

    def text(self) -> str:
        """The medians, and how many times as fast the last side is, with the 95 % interval over the rounds."""
        *_, ours = self.rounds.values()
        lines = [f"{f'medians of {len(ours)}':56}images/s   ratio (95 % interval)"]
        for side, speeds in self.rounds.items():
            line = f"{side:56}{median(speeds):8,.0f}"
            if speeds is not ours:
                line += ratio_text(ours, speeds)
            lines.append(line)
        return "\n".join(lines)


def ratio_text(ours: list[float], theirs: list[float]) -> str:
    """The ratio of two sides; a single round has no interval."""
    if len(ours) == 1:
        return f"{ours[0] / theirs[0]:8.2f}"
    ratio, (low, high) = ratio_interval(ours, theirs)
    return f"{ratio:8.2f} ({low:.2f} to {high:.2f})"


def add_options(parser: argparse.ArgumentParser, steps: int) -> None:
    """The options of a program that calls `measure`."""
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--python", help="of another environment, with another torch: the plain script there too")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    parser.add_argument("--side", choices=("fp32", "bf16"), help=argparse.SUPPRESS)  # one plain script, once


def measure(script: PlainScript, recipe: Recipe, images: Images, options: argparse.Namespace) -> None:
    """Measure all sides in turns, so that a machine that slows down slows all, and print each round."""
    if options.side:
        chosen = replace(script, bf16=options.side == "bf16")
        speed = plain_images_per_second(chosen, images, options.steps)
        print(json.dumps({"torch": torch.__version__, "images_per_second": speed}))
        return
    speeds = Speeds({})
    for number in range(1, options.rounds + 1):
        for python in [sys.executable, options.python] if options.python else [sys.executable]:
            for side, text in (("fp32", "float32"), ("bf16", "bf16, channels last")):
                found = plain_in_process(python, side)
                add(speeds, f"plain script, {text}, torch {found['torch']}", found["images_per_second"])
        ours = recipe_images_per_second(recipe, options.steps, len(images))
        add(speeds, f"cifarlab, torch {torch.__version__}", ours)
        print(f"round {number}: " + ", ".join(f"{values[-1]:,.0f}" for values in speeds.rounds.values()), flush=True)
    print(speeds.text())
    if options.out:
        values = {"machine": machine(choose_runtime(recipe.runtime)), "images_per_second": speeds.rounds}
        options.out.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def plain_in_process(python: str, side: str) -> dict[str, Any]:
    """One measurement of the plain script by this program's command line, in a process with the torch of `python`."""
    command = [python, *sys.argv, "--side", side]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def add(speeds: Speeds, side: str, speed: float) -> None:
    """Note one measurement."""
    speeds.rounds.setdefault(side, []).append(speed)
