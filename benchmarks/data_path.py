"""How much faster a recipe trains than the plain script for the same network, batch and augmentation.

    CIFARLAB_DATA=... python benchmarks/data_path.py [--data cifar10] [--rounds 3] [--steps 300]

The plain script is what tutorials have: float32, torchvision transforms image by image in DataLoader(num_workers=2),
`loss.item()` in every step. Both train simple-cnn with Adam, batch 64, flip, rotation 15 and jitter 0.2; they take
turns, so that a machine that slows down slows both. Prints images/s of each round and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifarlab import models, recipe_file
from cifarlab.data.images import Images
from cifarlab.data.sources import load_images
from cifarlab.recipe import ModelSpec
from cifarlab.training.train import train

BATCH_SIZE = 64
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class PlainImages(Dataset[tuple[Tensor, int]]):
    """One image at a time through Pillow, as torchvision's CIFAR10 gives it."""

    def __init__(self, images: Images) -> None:
        self.pixels = images.pixels.transpose(0, 2, 3, 1).copy()
        self.labels = images.labels
        self.transform: Any = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(15),
                transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


def plain_images_per_second(images: Images, num_steps: int) -> float:
    """Train for `num_steps` after 20 that are not counted; workers are started before the clock."""
    torch.manual_seed(0)
    model = models.build(ModelSpec(name="simple-cnn"), images.num_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = endless(DataLoader(PlainImages(images), BATCH_SIZE, shuffle=True, num_workers=2))
    for _ in range(20):
        plain_step(model, optimizer, *next(batches))
    start = time.perf_counter()
    for _ in range(num_steps):
        plain_step(model, optimizer, *next(batches))
    return num_steps * BATCH_SIZE / (time.perf_counter() - start)


def endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    """One step as tutorials write it."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def recipe_images_per_second(source: str, num_steps: int, num_images: int) -> float:
    """Train the recipe simple-cnn for about `num_steps`, everything on as in any run but validation at each epoch."""
    epochs = num_steps * BATCH_SIZE / (0.9 * num_images)
    changes = [f"data.source={source}", f"training.epochs={epochs}", "evaluation.test=false"]
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe_file.override_all(recipe_file.load("simple-cnn"), changes), out=Path(folder))
        return float(median(row["images_per_second"] or 0.0 for row in run.metrics))


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    images = load_images(options.data, "train")
    plain, recipe = [], []
    for number in range(1, options.rounds + 1):
        plain.append(plain_images_per_second(images, options.steps))
        recipe.append(recipe_images_per_second(options.data, options.steps, len(images)))
        print(f"round {number}: plain script {plain[-1]:,.0f} images/s, cifarlab {recipe[-1]:,.0f} images/s")
    ratio = median(recipe) / median(plain)
    print(f"median: plain script {median(plain):,.0f}, cifarlab {median(recipe):,.0f}, ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
