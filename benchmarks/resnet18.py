"""How much faster a ResNet trains here than in the script that tutorials have, with the same images and optimizer.

    CIFARLAB_DATA=... python benchmarks/resnet18.py [--model resnet18] [--data cifar10] [--rounds 3] [--steps 20]
        [--python PATH] [--out FILE]

The plain script is that of plain_script.py: float32, RandomCrop(32, 4), RandomHorizontalFlip, SGD 0.1 with momentum
0.9 and weight decay 5e-4, batch 128. Ours is the recipe resnet18-plain with the same changes of the images and the same
optimizer. All take turns. Prints images/s of each round, the medians and the ratios.
"""

from __future__ import annotations

import argparse

import torch
from torchvision import transforms

from cifarlab.images.sources import load_images
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from plain_script import PlainScript, add_options, measure

SAME = (
    "augmentation.crop_padding=4",
    "augmentation.flip=random",
    "optimizer.name=sgd",
    "optimizer.lr=0.1",
    "optimizer.momentum=0.9",
    "optimizer.weight_decay=5e-4",
    "training.batch_size=128",
    "validation.size=20",
)
"""What makes the recipe do what the plain script does; 20 validation images, since each epoch validates."""


def plain(model: str, device: str) -> PlainScript:
    """The tutorial's script for a network."""
    return PlainScript(
        model=model,
        batch_size=128,
        transform=(transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip()),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4),
        device=device,
    )


def ours(model: str, data: str, device: str) -> Recipe:
    """The recipe resnet18-plain with a network, made like the script."""
    changes = [f"model.name={model}", f"data.source={data}", f"runtime.device={device}", *SAME]
    return load_recipe("resnet18-plain").set(*changes)


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    add_options(parser, steps=20)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = load_images(options.data, "train")
    sides = plain(options.model, device), ours(options.model, options.data, device)
    measure(*sides, images, options)


if __name__ == "__main__":
    main()
