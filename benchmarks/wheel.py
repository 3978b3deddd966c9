"""How fast training is with the kernels of a wheel, against those that this machine's compiler makes for its own CPU.

    python benchmarks/wheel.py dist/cifarlab-...whl [--recipe speed] [--pairs 8] [--steps 5] [--out FILE]

To be run from a source tree, where kernels are compiled on the spot, for the tier of this CPU or of CIFARLAB_TIER. The
same steps on the same batch of noise are taken with both libraries in turns, each pair the other way round. Prints
images/s of each pair, the medians, and the ratio with its 95 % interval over the pairs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from pathlib import Path
from statistics import median
from typing import Any

from cifarlab.bench.subject import IMAGE_SIZE, random_images, recipe_of, untrained
from cifarlab.bench.throughput import training_action
from cifarlab.bench.timing import machine, measure, repeated
from cifarlab.evaluation.statistics import ratio_interval
from cifarlab.kernels import build
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.kernels.check import check
from cifarlab.recipe.schema import AugmentationSpec, Recipe
from cifarlab.training.train import make_card, make_step

WHEEL, LOCAL = "wheel", "compiled here"


def both(wheel: Path, folder: Path) -> dict[str, build.Library]:
    """The two libraries, loaded: the wheel's for this tier, unpacked into a folder, and the one of this machine."""
    build.load(compiles=True, check=check)
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    build.BUNDLED = folder / build.BUNDLED.relative_to(Path(build.__file__).parents[2])
    file = build.bundled()
    if file is None or build._library is None:
        raise SystemExit(f"{wheel} has no kernels for this CPU.")
    return {WHEEL: build._opened(file, WHEEL), LOCAL: build._library}


def images_per_second(recipe: Recipe, libraries: dict[str, build.Library], pairs: int, steps: int) -> dict[str, Any]:
    """Take `steps` steps with each library, `pairs` times; images per second of each, and what it was measured on."""
    recipe = untrained(recipe).model_copy(update={"augmentation": AugmentationSpec()})
    runtime = choose_runtime(recipe.runtime)
    images = random_images(recipe.training.batch_size, recipe.data.image_size or IMAGE_SIZE)
    speeds: dict[str, list[float]] = {name: [] for name in libraries}
    with runtime.in_use():
        loader, step = make_step(recipe, runtime, make_card(recipe, images), images)
        batch = loader.batch(0)
        action = repeated(training_action(step, batch), steps)
        for pair in range(-1, pairs):  # the first one warms up
            for name in sorted(libraries, reverse=pair % 2 == 1):
                build._library = libraries[name]
                seconds = measure(action, rounds=1, warmup=0, runtime=runtime)
                if pair >= 0:
                    speeds[name].append(steps * len(batch.labels) / seconds.median)
    return {"recipe": recipe.name, "images_per_second": speeds, "machine": machine(runtime)}


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--recipe", default="speed")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        libraries = both(options.wheel, Path(folder))
        result = images_per_second(recipe_of(options.recipe), libraries, options.pairs, options.steps)
    speeds = result["images_per_second"]
    for number, (wheel, local) in enumerate(zip(speeds[WHEEL], speeds[LOCAL], strict=True), 1):
        print(f"pair {number}: {WHEEL} {wheel:.1f} images/s, {LOCAL} {local:.1f} images/s")
    ratio, (low, high) = ratio_interval(speeds[WHEEL], speeds[LOCAL])
    print(f"median: {median(speeds[WHEEL]):.1f} and {median(speeds[LOCAL]):.1f}")
    print(f"ratio {ratio:.3f} ({low:.3f} to {high:.3f})")
    if options.out:
        options.out.write_text(json.dumps({**result, "ratio": ratio, "interval": [low, high]}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
