"""What a training says before its first step: the recipe, its images, the run folder, the network and the machine.

Nothing here imports torch, so that all but the network is said before torch is loaded, which takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cifarlab.console import labelled, printable
from cifarlab.images.holdout import TrainingData
from cifarlab.language import listed, ntr, tr
from cifarlab.recipe.catalogue import FEW_IMAGES, FINE_TUNING, data_options
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run

if TYPE_CHECKING:
    from cifarlab.machine.runtime import Runtime


def announcement(recipe: Recipe, data: TrainingData, folder: Path, num_seeds: int = 1) -> str:
    """The recipe, the images and how they are split, and the folder that the run will have."""
    num_classes = data.train.num_classes
    classes = ntr("{n:,} class", "{n:,} classes", num_classes, n=num_classes)
    is_sample = data.source.kind == "sample"
    place = tr("bundled with cifarlab") if is_sample else printable(str(data.source.path))
    return "\n".join(
        [
            _what(recipe, num_seeds),
            labelled(tr("data"), listed([_name(recipe), classes, place])),
            labelled(tr("split"), split_text(recipe, data)),
            labelled(tr("run"), printable(str(folder))),
        ]
    )


def resumed(run: Run) -> str:
    """The recipe and the folder of a run, or of a study of several seeds, that goes on; the rest is known to it."""
    num_seeds = len(run.group.get("seeds", [])) if run.study else 1
    return "\n".join([_what(run.recipe, num_seeds), labelled(tr("run"), printable(str(run.path)))])


def _what(recipe: Recipe, num_seeds: int) -> str:
    seed, num_epochs = recipe.training.seed, recipe.training.epochs
    epochs = ntr("{n:g} epoch", "{n:g} epochs", num_epochs, n=num_epochs)
    seeds = tr("seed {first}") if num_seeds == 1 else tr("seeds {first} to {last}")
    return listed([f"{recipe.name}: {recipe.model.name}", epochs, seeds.format(first=seed, last=seed + num_seeds - 1)])


def split_text(recipe: Recipe, data: TrainingData) -> str:
    """How many images train and validate, where they are from, and what happens with the test split."""
    parts = [tr("train {n:,}", n=len(data.train))]
    if data.val is None:
        parts.append(tr("no validation"))
    else:
        val = tr("val {n:,}, as it came") if "val" in data.source.splits else tr("val {n:,}, held out of train")
        parts.append(val.format(n=len(data.val)))
    if not recipe.evaluation.test:
        parts.append(tr("test: not opened"))
    elif data.source.understanding.own_split:
        parts.append(tr("test (drawn by cifarlab): opened once, at the end"))
    else:
        parts.append(tr("test: opened once, at the end"))
    return tr("; ").join(parts)


def hint(recipe: Recipe, data: TrainingData) -> str:
    """What gets further than learning from scratch where images are few; "" where it does not apply."""
    num, learned = len(data.train), recipe.model.pretrained or recipe.model.weights
    if num >= FEW_IMAGES or learned:
        return ""
    images = printable(data_options(recipe.data))
    return "\n".join(
        [
            ntr(
                "{n:,} image to learn from: a network that has seen others before often gets further with so few.",
                "{n:,} images to learn from: a network that has seen others before often gets further with so few.",
                num,
                n=num,
            ),
            f"  cifarlab train {FINE_TUNING} {images}",
            "    # "
            + tr('weights from ImageNet; needs pip install "cifarlab[vision]" and, the first time, a connection'),
            "  cifarlab train speed",
            f"  cifarlab train speed {images} --set model.weights=runs/speed/model.safetensors",
            "    # " + tr("weights from CIFAR-10, learned here"),
        ]
    )


def network_lines(recipe: Recipe, runtime: Runtime, num_parameters: int, folder: Path, announced: Path | None) -> str:
    """The network and what it trains on, known once torch is there, and the folder if it is not the announced one."""
    facts = runtime.describe()
    machine = [str(facts[name]) for name in ("device_name", "precision", "memory_format")]
    if runtime.device.type == "cpu":
        machine.append(ntr("{n} thread", "{n} threads", runtime.threads, n=runtime.threads))
    lines = [
        labelled(tr("network"), listed([recipe.model.name, tr("{n:,} parameters", n=num_parameters)])),
        labelled(tr("machine"), listed(machine)),
    ]
    if announced not in (None, folder):
        moved = tr("{folder}, since another training has made {announced} meanwhile")
        lines.append(labelled(tr("run"), printable(moved.format(folder=folder, announced=announced))))
    return "\n".join(lines)


def _name(recipe: Recipe) -> str:
    """The source as the recipe names it; of a path its last part, since the whole stands beside it."""
    return printable(Path(recipe.data.source).name or recipe.data.source)
