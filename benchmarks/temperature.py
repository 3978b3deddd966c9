"""Whether the stored temperature makes the probabilities of new images better, on small data sets and on CIFAR-10.

    python benchmarks/temperature.py [--sets 10] [--epochs 20]
    CIFARLAB_DATA=... python benchmarks/temperature.py --data cifar10 --recipe simple-cnn --epochs 3

By default `sets` data sets are made, each of two classes of coloured noise with a few validation images that are easy,
so that nearly every network gets all of them right, and 800 test images that are not. `quick` is trained on each.
Prints the loss on the test images (the mean negative logarithm of the probability of the right class) without a
temperature, with the stored one, and with the one of the lowest validation loss, which Guo et al. (2017) take.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import minimize_scalar

from cifarlab.evaluation import metrics, predictions
from cifarlab.evaluation.calibration import TEMPERATURES
from cifarlab.inference.model_file import load_model
from cifarlab.judge import judge
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.training.train import train

SIDE = 32
SIZES = {"train": (20, 40), "val": (3, 8), "test": (400, 401)}
"""From how many images of each class to how many; a set draws its own number."""
SHIFT, WOBBLE = 14.0, 10.0
"""By how much the red of a class lies off the middle, and how much that differs from image to image; easy images are
three times as far off and do not differ.
"""


@dataclass(frozen=True)
class Losses:
    """On the test images of one run."""

    name: str
    val_accuracy: float
    test_accuracy: float
    stored: float
    """The temperature of the model file."""
    lowest: float
    """The temperature with the lowest loss on the validation images."""
    without: float
    with_stored: float
    with_lowest: float

    def row(self) -> str:
        """One line of the table."""
        return (
            f"{self.name:<12}{100 * self.val_accuracy:>7.1f} %{100 * self.test_accuracy:>7.1f} %{self.stored:>9.3f}"
            f"{self.lowest:>9.3f}{self.without:>10.4f}{self.with_stored:>10.4f}{self.with_lowest:>10.4f}"
        )


HEADING = f"{'':<12}{'val':>9}{'test':>9}{'stored T':>9}{'lowest':>9}{'loss T=1':>10}{'stored T':>10}{'lowest':>10}"


def main() -> None:
    """Train, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--data", default="", help="a data set of its own instead of made ones")
    parser.add_argument("--recipe", default="quick")
    options = parser.parse_args()
    print(HEADING, flush=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 if options.data else options.sets):
            source = options.data or str(make_set(Path(folder) / f"set-{number}", number))
            found.append(losses(options.recipe, source, options.epochs, Path(folder)))
            print(found[-1].row(), flush=True)
    perfect = [each for each in found if each.val_accuracy == 1]
    worse = sum(each.with_stored > each.without for each in perfect)
    print(f"{len(perfect)} of {len(found)} with a perfect validation part; the stored temperature made {worse} worse")


def losses(recipe: str, source: str, epochs: float, out: Path) -> Losses:
    """Train a recipe on a data set and look at its probabilities."""
    changes = [f"data.source={source}", f"training.epochs={epochs}", "runtime.tensorboard=false"]
    run = train(load_recipe(recipe).set(*changes), out=out)
    judge(run, "val", reason="temperature.py")
    (val, val_labels), (test, test_labels) = said(run, "val"), said(run, "test")
    stored = load_model(run.model_file)[1].temperature
    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    best = minimize_scalar(lambda x: metrics.cross_entropy(val / math.exp(x), val_labels), bounds=bounds)
    lowest = math.exp(best.x)
    return Losses(
        name=Path(source).name,
        val_accuracy=metrics.accuracy(val, val_labels),
        test_accuracy=metrics.accuracy(test, test_labels),
        stored=stored,
        lowest=lowest,
        without=metrics.cross_entropy(test, test_labels),
        with_stored=metrics.cross_entropy(test / stored, test_labels),
        with_lowest=metrics.cross_entropy(test / lowest, test_labels),
    )


def said(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) and labels (N,) of one split."""
    found = predictions.read(run.predictions_file(split))
    return found.logits, found.labels


def make_set(folder: Path, seed: int) -> Path:
    """Write a data set of two classes that differ in their red."""
    random = np.random.default_rng(seed)
    for split, (fewest, most) in SIZES.items():
        easy = split == "val"
        num_images = int(random.integers(fewest, most))
        for name, sign in (("red", 1), ("blue", -1)):
            (folder / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = random.normal(120, 30, (SIDE, SIDE, 3))
                shift = sign * (3 * SHIFT if easy else SHIFT) + (0 if easy else random.normal(0, WOBBLE))
                pixels[..., 0] += shift
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


if __name__ == "__main__":
    main()
