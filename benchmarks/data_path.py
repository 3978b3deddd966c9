"""How much faster a recipe trains than the plain script for the same network, batch and augmentation.

    CIFARLAB_DATA=... python benchmarks/data_path.py [--data cifar10] [--rounds 3] [--steps 300]
        [--python PATH] [--out FILE]

The plain script is that of plain_script.py. Both train simple-cnn with Adam, batch 64, flip, rotation 15 and jitter
0.2; all take turns. Prints images/s of each round, the medians and the ratios.
"""

from __future__ import annotations

import argparse

import torch
from torchvision import transforms

from cifarlab.images.sources import load_images
from cifarlab.recipe.override import override
from cifarlab.recipe.toml import load_recipe
from plain_script import PlainScript, add_options, measure

SCRIPT = PlainScript(
    model="simple-cnn",
    batch_size=64,
    transform=(
        transforms.RandomHorizontalFlip(),
        transforms.RandomRotation(15),
        transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
    ),
    optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
)


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, steps=300)
    options = parser.parse_args()
    recipe = override(load_recipe("simple-cnn"), "data.source", options.data)
    images = load_images(options.data, "train")
    measure(SCRIPT, recipe, images, options)


if __name__ == "__main__":
    main()
