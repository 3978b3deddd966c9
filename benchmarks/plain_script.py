"""The training script that tutorials have, to measure against: no program of its own, the other files here call it.

float32, torchvision transforms image by image in DataLoader(num_workers=2), the network in torch's default memory
format, `loss.item()` in every step. On a GPU each batch is copied when it is needed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

from cifarlab.images.images import Images
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec, Recipe
from cifarlab.recipe.toml import override_all
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
        rows = train(override_all(recipe, changes), out=Path(folder)).metrics
    ends = [0, *(row["step"] or 0 for row in rows)]
    steps = (end - start for start, end in pairwise(ends))
    return sum(taken * batch_size / (row["images_per_second"] or 1) for taken, row in zip(steps, rows, strict=True))


@dataclass(frozen=True)
class Speeds:
    """Images per second of every round, in turns."""

    plain: tuple[float, ...]
    recipe: tuple[float, ...]

    def text(self) -> str:
        """The medians and their ratio."""
        plain, recipe = median(self.plain), median(self.recipe)
        return f"median: plain script {plain:,.0f}, cifarlab {recipe:,.0f}, ratio {recipe / plain:.1f}"


def compare(script: PlainScript, recipe: Recipe, images: Images, *, rounds: int, steps: int) -> Speeds:
    """Measure both in turns, so that a machine that slows down slows both, and print each round."""
    plain, ours = [], []
    for number in range(1, rounds + 1):
        plain.append(plain_images_per_second(script, images, steps))
        ours.append(recipe_images_per_second(recipe, steps, len(images)))
        print(f"round {number}: plain script {plain[-1]:,.0f} images/s, cifarlab {ours[-1]:,.0f} images/s")
    return Speeds(tuple(plain), tuple(ours))
