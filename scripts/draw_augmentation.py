"""Draw docs/images/augmentation.png: eight training images under each augmentation.

python scripts/draw_augmentation.py --data FOLDER, where FOLDER (default: $CIFARLAB_DATA) holds or contains
CIFAR-10 in the Hugging Face parquet layout.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow.parquet
import torch
from matplotlib import pyplot
from PIL import Image
from torch import Tensor

from cifarlab.batches import colour
from cifarlab.batches.augment import augment
from cifarlab.batches.mix import mix
from cifarlab.recipe.schema import AugmentationSpec

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's training images
NUM_IMAGES = 8
ROWS = (
    ("original", AugmentationSpec()),
    ("crop_padding = 4", AugmentationSpec(crop_padding=4)),
    ('crop_padding = 4,\n"reflect"', AugmentationSpec(crop_padding=4, crop_fill="reflect")),
    ('flip = "random"', AugmentationSpec(flip="random")),
    ("rotation = 15", AugmentationSpec(rotation=15.0)),
    ("translation = 0.1", AugmentationSpec(translation=0.1)),
    ("brightness = 0.4", AugmentationSpec(brightness=0.4)),
    ("contrast = 0.4", AugmentationSpec(contrast=0.4)),
    ("saturation = 0.8", AugmentationSpec(saturation=0.8)),
    ("hue = 0.1", AugmentationSpec(hue=0.1)),
    ('policy = "trivial"', AugmentationSpec(policy="trivial")),
    ("cutout = 12", AugmentationSpec(cutout=12)),
    ("erasing = 0.5", AugmentationSpec(erasing=0.5)),
    ("mixup = 1", AugmentationSpec(mixup=1.0)),
    ("cutmix = 1", AugmentationSpec(cutmix=1.0)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CIFARLAB_DATA", "."))
    parser.add_argument("--output", type=Path, default=Path("docs/images/augmentation.png"))
    arguments = parser.parse_args()
    pixels = read_images(next(arguments.data.rglob("train-*.parquet")))
    draw(pixels, arguments.output)
    print(arguments.output)


def read_images(path: Path) -> Tensor:
    """The first image of each of the first eight classes, uint8 (8, 3, 32, 32)."""
    table = pyarrow.parquet.ParquetFile(path).read_row_group(0, columns=["img", "label"])
    labels = table["label"].to_numpy()
    first = [int(np.argmax(labels == label)) for label in range(NUM_IMAGES)]
    pictures = [Image.open(io.BytesIO(table["img"][row]["bytes"].as_py())) for row in first]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()


def show(pixels: Tensor, spec: AugmentationSpec) -> Tensor:
    """Augment and mix as a training step does, into floats in 0..1."""
    indices, generator = torch.arange(len(pixels)), torch.Generator().manual_seed(5)
    images = augment(pixels, spec, generator=generator, epoch=0, indices=indices, seed=0, mean=MEAN)
    return mix(colour.to_unit(images), indices, spec, generator)[0]


def draw(pixels: Tensor, path: Path) -> None:
    matplotlib.use("agg")
    figure, axes = pyplot.subplots(len(ROWS), 1, figsize=(6.4, 0.66 * len(ROWS)), layout="constrained")
    for axis, (title, spec) in zip(axes, ROWS, strict=True):
        strip = torch.nn.functional.pad(show(pixels, spec), (1, 1), value=1.0)
        axis.imshow(torch.cat(list(strip), dim=2).permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=7, family="monospace")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None}, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
