"""How much faster a network trains with the precision and memory format that cifarlab chooses than in plain float32.

    CIFARLAB_DATA=... python benchmarks/precision.py [--recipe resnet18] [--data cifar10] [--rounds 3] [--steps 12]

Both are the same recipe; the plain one has runtime.precision = fp32 and runtime.memory_format = contiguous. They take
turns. Prints images/s of each round, the ratio of the medians, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from statistics import median

from cifarlab.recipe.toml import load_recipe
from cifarlab.training.train import train

PLAIN = ["runtime.precision=fp32", "runtime.memory_format=contiguous"]
NUM_TRAIN = {"cifar10": 50_000, "sample": 3_000}


def images_per_second(recipe: str, changes: list[str]) -> tuple[float, str]:
    """Train for the steps in `changes` on all but 20 images; returns the speed and the precision."""
    fixed = ["validation.size=20", "evaluation.test=false"]
    with tempfile.TemporaryDirectory() as folder:
        run = train(load_recipe(recipe).set(*fixed, *changes), out=Path(folder))
        return float(run.metrics[-1]["images_per_second"] or 0.0), run.manifest["runtime"]["precision"]


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="resnet18")
    parser.add_argument("--data", default="cifar10", choices=NUM_TRAIN)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    batch_size = load_recipe(options.recipe).training.batch_size
    epochs = options.steps * batch_size / NUM_TRAIN[options.data]
    changes = [f"data.source={options.data}", f"training.epochs={epochs}"]
    plain, chosen, precision = [], [], ""
    for number in range(1, options.rounds + 1):
        plain.append(images_per_second(options.recipe, [*changes, *PLAIN])[0])
        speed, precision = images_per_second(options.recipe, changes)
        chosen.append(speed)
        print(f"round {number}: fp32 contiguous {plain[-1]:.1f} images/s, chosen ({precision}) {speed:.1f} images/s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"median: {median(plain):.1f} and {median(chosen):.1f}, ratio {median(chosen) / median(plain):.2f}")
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
