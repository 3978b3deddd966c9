"""How long a recipe takes to its test accuracy, against airbench94 ported to the CPU, in turns on one machine.

    CIFARLAB_DATA=... python benchmarks/time_to_accuracy.py --peers DIR [--recipe speed] [--rounds 1] [--out FILE]
    CIFARLAB_DATA=... python benchmarks/time_to_accuracy.py --peers DIR --steps 3     # images/s only, to try it out

DIR holds a checkout of github.com/KellerJordan/cifar10-airbench; `peers.py` says how its script is ported. The recipe's
seconds are those of its manifest: training with every validation, without the final test. The port's seconds are by its
own clock, which stands still during the tests between epochs; its test with augmentation at the end is left out too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from accuracy import FIRST_SEED
from cifarlab.bench.timing import machine
from cifarlab.images.sources import load_images
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import Recipe, RuntimeSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.training.train import train
from peers import PEERS, run_peer

PORT = "airbench94-cpu"
PORT_BATCH_SIZE = 1024
QUICK_TEST_IMAGES = 1000


@dataclass(frozen=True)
class Result:
    """One training of one side. Accuracies are of the test split; None where it was not opened."""

    side: str
    round: int
    seconds: float
    accuracy: float | None
    tta: str | None
    tta_accuracy: float | None
    images_per_second: float


def train_recipe(recipe: Recipe, number: int, folder: Path) -> Result:
    """Train once; each round has a seed of its own, with which no recipe was chosen."""
    seeded = override(recipe, "training.seed", str(FIRST_SEED + number - 1))
    run = train(seeded, out=folder)
    test = run.evaluation("test") or {}
    return Result(
        recipe.name,
        number,
        run.manifest["elapsed_seconds"],
        test.get("accuracy"),
        test.get("tta"),
        test.get("tta_accuracy"),
        _speed(run),
    )


def train_port(folder: Path, number: int, data: str, steps: int | None) -> Result:
    """Train the port once; it draws its own seed."""
    num_test = None if steps is None else QUICK_TEST_IMAGES
    run = run_peer(PORT, folder, runs=1, steps=steps, data=data, num_test=num_test).runs[0]
    num_steps = steps or _port_steps(data)
    seconds = run.train_seconds or run.seconds
    speed = num_steps * PORT_BATCH_SIZE / seconds
    return Result(PORT, number, seconds, run.accuracy, "mirror+shifts", run.tta_accuracy, speed)


def shortened(recipe: Recipe, steps: int) -> Recipe:
    """The recipe for a few steps, without the test."""
    images = len(load_images(recipe.data.source, "train"))
    size = recipe.validation.size
    num_train = images - (size if isinstance(size, int) else round(size * images))
    epochs = steps * recipe.training.batch_size / num_train
    changes = [f"training.epochs={epochs}", "evaluation.test=false", "schedule.warmup=0 steps"]
    return recipe.set(*changes)


def table(results: list[Result]) -> str:
    """One line per training, and the ratio of the medians where both sides have one."""
    lines = ["side                round   seconds  accuracy  with augmentation at the test  images/s"]
    for item in results:
        tta = f"{_percent(item.tta_accuracy)} ({item.tta})" if item.tta_accuracy is not None else "-"
        lines.append(
            f"{item.side:20}{item.round:5}{item.seconds:10.1f}{_percent(item.accuracy):>10}{tta:>31}"
            f"{item.images_per_second:10,.0f}"
        )
    ours = [item for item in results if item.side != PORT]
    port = [item for item in results if item.side == PORT]
    if ours and port:
        seconds = median(item.seconds for item in port) / median(item.seconds for item in ours)
        speed = median(item.images_per_second for item in ours) / median(item.images_per_second for item in port)
        lines.append(f"median: the port takes {seconds:.2f} times as long; images/s {speed:.2f} times the port's")
    return "\n".join(lines)


def main() -> None:
    """Measure in turns, print, and write the file after every training."""
    options = parse()
    recipe = override(load_recipe(options.recipe), "data.source", options.data)
    if options.steps is not None:
        recipe = shortened(recipe, options.steps)
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as temporary:
        runs = options.runs or Path(temporary)
        for number in range(1, options.rounds + 1):
            results.append(train_recipe(recipe, number, runs))
            write(options.out, options.data, results)
            results.append(train_port(options.peers, number, options.data, options.steps))
            write(options.out, options.data, results)
    print(table(results))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder with a checkout of cifar10-airbench")
    parser.add_argument("--recipe", default="speed")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="end both trainings after this many steps: images/s only")
    parser.add_argument("--runs", type=Path, help="keep the recipe's run folders here")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    return parser.parse_args()


def write(path: Path | None, data: str, results: list[Result]) -> None:
    """Write what there is so far."""
    if path is None:
        return
    facts = machine(choose_runtime(RuntimeSpec(device="cpu")))
    values = {"data": data, "machine": facts, "port": PEERS[PORT].commit, "results": [asdict(r) for r in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def _port_steps(data: str) -> int:
    """Of the whole training: 9.9 epochs of whole batches."""
    per_epoch = len(load_images(data, "train")) // PORT_BATCH_SIZE
    return -int(-9.9 * per_epoch // 1)


def _speed(run: Run) -> float:
    return float(median(row["images_per_second"] or 0.0 for row in run.metrics))


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.2%}"


if __name__ == "__main__":
    main()
