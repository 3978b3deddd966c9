"""What each part of a recipe gives, on held-out training images of CIFAR-10, with paired seeds.

    CIFARLAB_DATA=... python benchmarks/recipe_parts.py --out FILE [--recipe speed] [--first-seed 100] [--seeds 5]
        [--arms ...] [--set ...]

An arm is the recipe with one change. Every seed trains all arms before the next seed begins, on the same images, and is
evaluated once, on 5,000 images held out of the training split; the test split stays sealed. FILE has one line of JSON
per training. What it has already is not trained again, so that the search can be stopped at any time. Prints for every
arm the mean difference from `base` over the seeds that both have, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import stdtrit
from torch import Tensor, nn

from cifarlab.bench.timing import machine_of
from cifarlab.evaluation.statistics import mean_and_sd
from cifarlab.judge import judge
from cifarlab.models import speednet
from cifarlab.recipe.toml import load_recipe
from cifarlab.training.train import train

COMMON = ("data.source=cifar10", "validation.size=5000", "validation.every=1000", "evaluation.test=false")
Row = dict[str, Any]

FIRST_SEED = 100  # fresh ones are used for what is claimed


@dataclass(frozen=True)
class Arm:
    """A change to the recipe, to the network, or to both."""

    values: tuple[str, ...] = ()
    network: Callable[[], None] | None = None


def logit_scale(scale: float) -> Callable[[], None]:
    def change() -> None:
        speednet.LOGIT_SCALE = scale

    return change


def pooled_by(pool: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    def forward(self: speednet.SpeedNet, images: Tensor) -> Tensor:
        x = self.group3(self.group2(self.group1(F.gelu(self.whiten(images)))))
        logits: Tensor = self.head(pool(x)) * speednet.LOGIT_SCALE
        return logits

    def change() -> None:
        speednet.SpeedNet.forward = forward  # type: ignore[method-assign]

    return change


def largest_and_mean(x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, 1).flatten(1) + x.mean((2, 3))


def widths(*channels: int) -> Callable[[], None]:
    def change() -> None:
        speednet.PLUS_WIDTHS = channels  # type: ignore[assignment]

    return change


def learned_whitening_bias() -> None:
    """A bias behind the whitening filters, learned like the shifts of the norms."""
    initialise = speednet.Whitening.__init__

    def with_bias(self: speednet.Whitening) -> None:
        initialise(self)
        self.register_parameter("bias", nn.Parameter(torch.zeros(len(self.weight))))

    def forward(self: speednet.Whitening, images: Tensor) -> Tensor:
        return F.conv2d(images, self.weight, self.get_parameter("bias"))

    speednet.Whitening.__init__ = with_bias  # type: ignore[method-assign]
    speednet.Whitening.forward = forward  # type: ignore[method-assign]


def pointwise_first_group() -> None:
    """1×1 convolutions around the shortcut of the first group, where maps are largest."""
    initialise = speednet.SpeedNet.__init__

    def pointwise(self: speednet.SpeedNet, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        for name in ("conv2", "conv3"):
            channels = getattr(self.group1, name).in_channels
            conv = nn.Conv2d(channels, channels, 1, bias=False)
            nn.init.dirac_(conv.weight)
            setattr(self.group1, name, conv)

    speednet.SpeedNet.__init__ = pointwise  # type: ignore[method-assign]


# Where a change makes a step cheaper or dearer, the epochs are chosen for about the same time.
ARMS = {
    "base": Arm(),
    "logit-scale-1/6": Arm(network=logit_scale(1 / 6)),
    "logit-scale-1/12": Arm(network=logit_scale(1 / 12)),
    "largest-and-mean": Arm(network=pooled_by(largest_and_mean)),
    "narrow-first-wide-last": Arm(network=widths(96, 384, 640)),
    # the filters too as everything else is trained
    "no-muon": Arm(("optimizer.name=sgd", "optimizer.lr=1.3", "optimizer.nesterov=true")),
    "no-hard-examples": Arm(("training.hard_share=1",)),
    "hardest-40-%": Arm(("training.hard_share=0.4",)),
    "hard-from-25-%": Arm(("training.hard_from=25 %",)),
    "no-growing": Arm(("training.start_size=32", "training.epochs=8.1")),
    "from-12-px": Arm(("training.start_size=12", "training.epochs=12.9")),
    "full-size-from-60-%": Arm(("training.full_size_from=60 %", "training.epochs=11.2")),
    "full-size-from-80-%": Arm(("training.full_size_from=80 %", "training.epochs=12.9")),
    "whitening-bias": Arm(network=learned_whitening_bias),
    "pointwise-first-group": Arm(("training.epochs=12.5",), pointwise_first_group),
    "14-epochs": Arm(("training.epochs=14",)),  # a sixth more time
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="speed")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--set", action="append", default=[], help="a value that all arms have")
    args = parser.parse_args()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for arm in args.arms:
            done = read(args.out)
            if (arm, seed) not in {(row["arm"], row["seed"]) for row in done}:
                row = train_arm(args.recipe, arm, seed, args.set)
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                report(read(args.out))


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def train_arm(recipe: str, arm: str, seed: int, values: list[str]) -> Row:
    """Train one arm from one seed in a process of its own, since arms change the network's module."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(train_here, (recipe, arm, seed, values))


def train_here(name: str, arm: str, seed: int, values: list[str]) -> Row:
    change = ARMS[arm]
    if change.network:
        change.network()
    recipe = load_recipe(name).set(*COMMON, *values, *change.values, f"training.seed={seed}")
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, out=Path(folder))
        found = judge(run, "val", tta=recipe.evaluation.tta)
        return {
            "recipe": name,
            "arm": arm,
            "seed": seed,
            "accuracy": found.accuracy,
            "tta_accuracy": found.tta_accuracy,
            "loss": found.loss,
            "seconds": run.manifest["elapsed_seconds"],
            "machine": machine_of(run.facts),
        }


def report(rows: list[Row]) -> None:
    by_arm: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        by_arm[row["arm"]][row["seed"]] = row
    base = by_arm.get("base", {})
    for arm, found in by_arm.items():
        seconds = fmean(row["seconds"] for row in found.values())
        line = f"{arm:24} n = {len(found)}, {seconds:5.0f} s"
        for key in ("accuracy", "tta_accuracy"):
            line += f", {key} {100 * fmean(row[key] for row in found.values()):.2f} %"
            both = [100 * (found[seed][key] - base[seed][key]) for seed in found if seed in base]
            if arm != "base" and len(both) > 1:
                mean, sd = mean_and_sd(both)
                half = stdtrit(len(both) - 1, 0.975) * sd / len(both) ** 0.5  # Student's t
                line += f" ({mean:+.2f} ± {half:.2f})"
        print(line, flush=True)
    print(flush=True)


if __name__ == "__main__":
    main()
