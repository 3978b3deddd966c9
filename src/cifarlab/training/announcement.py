"""What a training says before its first step: the recipe, its images, the run folder, the network and the machine.

Nothing here imports torch, so that all but the network is said before torch is loaded, which takes seconds.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cifarlab.console import count, labelled, printable
from cifarlab.images.holdout import TrainingData
from cifarlab.recipe.schema import Recipe

if TYPE_CHECKING:
    from cifarlab.machine.runtime import Runtime

FEW = 1000
"""Training images below which learning from scratch is hardly ever best."""


def announcement(recipe: Recipe, data: TrainingData, folder: Path, num_seeds: int = 1) -> str:
    """The recipe, the images and how they are split, and the folder that the run will have."""
    seed = recipe.training.seed
    seeds = f"seed {seed}" if num_seeds == 1 else f"seeds {seed} to {seed + num_seeds - 1}"
    epochs = "1 epoch" if recipe.training.epochs == 1 else f"{recipe.training.epochs:g} epochs"
    classes = count(data.train.num_classes, "class", "classes")
    place = "bundled with cifarlab" if data.source.kind == "sample" else printable(str(data.source.path))
    return "\n".join(
        [
            f"{recipe.name}: {recipe.model.name}, {epochs}, {seeds}",
            labelled("data", f"{_name(recipe)}, {classes}, {place}"),
            labelled("split", split_text(recipe, data)),
            labelled("run", printable(str(folder))),
        ]
    )


def split_text(recipe: Recipe, data: TrainingData) -> str:
    """How many images train and validate, where they are from, and what happens with the test split."""
    parts = [f"train {len(data.train):,}"]
    if data.val is None:
        parts.append("no validation")
    else:
        origin = "as it came" if "val" in data.source.splits else "held out of train"
        parts.append(f"val {len(data.val):,}, {origin}")
    drawn = " (drawn by cifarlab)" if data.source.understanding.own_split else ""
    parts.append(f"test{drawn}: opened once, at the end" if recipe.evaluation.test else "test: not opened")
    return "; ".join(parts)


def hint(recipe: Recipe, data: TrainingData) -> str:
    """What gets further than learning from scratch where images are few; "" where it does not apply."""
    num, learned = len(data.train), recipe.model.pretrained or recipe.model.weights
    if num >= FEW or learned:
        return ""
    source = printable(shlex.quote(recipe.data.source))
    return (
        f"{count(num, 'image')} to learn from: a network that has seen others before often gets further with so few.\n"
        f"  cifarlab train resnet18-finetune --data {source}\n"
        '    # weights from ImageNet; needs pip install "cifarlab[vision]" and, the first time, a connection\n'
        "  cifarlab train speed\n"
        f"  cifarlab train speed --data {source} --set model.weights=runs/speed/model.safetensors\n"
        "    # weights from CIFAR-10, learned here"
    )


def network_lines(recipe: Recipe, runtime: Runtime, num_parameters: int, folder: Path, announced: Path | None) -> str:
    """The network and what it trains on, known once torch is there, and the folder if it is not the announced one."""
    facts = runtime.describe()
    machine = [str(facts[name]) for name in ("device_name", "precision", "memory_format")]
    if runtime.device.type == "cpu":
        machine.append(count(runtime.threads, "thread"))
    lines = [
        labelled("network", f"{recipe.model.name}, {num_parameters:,} parameters"),
        labelled("machine", ", ".join(machine)),
    ]
    if announced not in (None, folder):
        lines.append(labelled("run", printable(f"{folder}, since another training has made {announced} meanwhile")))
    return "\n".join(lines)


def _name(recipe: Recipe) -> str:
    """The source as the recipe names it; of a path its last part, since the whole stands beside it."""
    return printable(Path(recipe.data.source).name or recipe.data.source)
