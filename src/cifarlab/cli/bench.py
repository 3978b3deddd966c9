"""`cifarlab bench`: how fast this machine trains, loads, predicts and starts, and how long until a target accuracy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab.cli.command import Command
from cifarlab.cli.options import (
    AsJson,
    Assignments,
    Data,
    DataDir,
    Device,
    HeldOutSplit,
    Out,
    RecipeDevice,
    RecipeName,
    Seeds,
    Threads,
    changed,
)
from cifarlab.cli.output import echo_json
from cifarlab.recipe.toml import load_recipe

if TYPE_CHECKING:
    from cifarlab.bench.timing import Benchmark


class Precision(StrEnum):
    """Number formats of the network's arithmetic."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


# Several rounds, because other programs disturb single ones: the median is the result, the extremes show how much
Rounds = Annotated[int, typer.Option(min=1, help="Rounds that count.")]
Warmup = Annotated[int, typer.Option(min=0, help="Rounds before them that do not count.")]

app = typer.Typer(help="Measure how fast this machine trains, loads, predicts and starts.", no_args_is_help=True)


@app.command("time-to-accuracy", cls=Command)
def time_to_accuracy(
    recipe: RecipeName,
    target: Annotated[float, typer.Option(help="The accuracy to reach, as a fraction: 0.9 is 90 %.")],
    seeds: Seeds = 3,
    # val, because a target that recipes are tuned towards must not be one on the test split
    split: Annotated[
        HeldOutSplit, typer.Option(help="The split whose mean accuracy has to reach the target.")
    ] = HeldOutSplit.VAL,
    tta_counts: Annotated[
        bool, typer.Option("--tta-counts", help="Count the accuracy with the recipe's test-time augmentation.")
    ] = False,
    data: Data = None,
    data_dir: DataDir = None,
    assignments: Assignments = None,
    out: Out = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Train a recipe with several seeds and report the times, the accuracies, and when each reached a target."""
    from cifarlab.bench.time_to_accuracy import time_to_accuracy as train_and_time
    from cifarlab.cli import tables

    chosen = changed(load_recipe(recipe), assignments, {"data.source": data})
    found = train_and_time(
        chosen, target, num_seeds=seeds, split=split.value, tta_counts=tta_counts, out=out, data_dir=data_dir
    )
    if as_json:
        echo_json(found.to_dict())
    else:
        tables.print_time_to_accuracy(found)


@app.command(cls=Command)
def throughput(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A network's or recipe's name, or a recipe file.")],
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images per step; unset: as the recipe says.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=8, max=512, help="Side in pixels; unset: as the recipe says, else 32.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 10,
    rounds: Rounds = 5,
    warmup: Warmup = 1,
    precision: Annotated[Precision | None, typer.Option(help="Unset: as the recipe says.")] = None,
    device: RecipeDevice = None,
    threads: Threads = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Measure images per second of training steps, and of the forward pass alone, on noise on the device."""
    # on noise, because the speed does not depend on the pixels, and nothing has to be downloaded or loaded
    from cifarlab.bench import throughput as bench
    from cifarlab.bench.subject import recipe_of

    options = {
        "training.batch_size": batch_size,
        "data.image_size": image_size,
        "runtime.precision": precision,
        "runtime.device": device,
        "runtime.threads": threads,
    }
    chosen = changed(recipe_of(model), assignments, options)
    _print(bench.throughput(chosen, steps=steps, rounds=rounds, warmup=warmup), as_json)


@app.command(cls=Command)
def loader(
    recipe: RecipeName,
    data: Data = "sample",  # ships with cifarlab, so that a benchmark never begins with a download
    data_dir: DataDir = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches per round.")] = 20,
    rounds: Rounds = 5,
    warmup: Warmup = 1,
    device: RecipeDevice = None,
    threads: Threads = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Measure images per second of gathering, augmenting, normalising and mixing, without any network."""
    from cifarlab.bench.loader import loading

    options = {"data.source": data, "runtime.device": device, "runtime.threads": threads}
    chosen = changed(load_recipe(recipe), assignments, options)
    _print(loading(chosen, steps=steps, rounds=rounds, warmup=warmup, data_dir=data_dir), as_json)


@app.command(cls=Command)
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, a model file, or a network's name.")],
    num_images: Annotated[int, typer.Option(min=1, help="Images per round.")] = 2000,
    # apart from the rest: for one image, latency counts, which a large batch hides
    num_single: Annotated[int, typer.Option(min=1, help="Images that are predicted one at a time.")] = 200,
    # a run and a model file know the size they were trained at
    image_size: Annotated[int, typer.Option(min=8, max=512, help="Side in pixels; with a network's name.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 500,
    rounds: Rounds = 5,
    warmup: Warmup = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time predictions of many images, of a stack of pixels, of one image at a time, and the loading of the file."""
    from cifarlab.bench.predict import prediction

    found = prediction(
        model,
        num_images=num_images,
        num_single=num_single,
        image_size=image_size,
        batch_size=batch_size,
        rounds=rounds,
        warmup=warmup,
        device=device,
    )
    _print(found, as_json)


@app.command(cls=Command)
def startup(
    model: Annotated[str, typer.Option(help="A run folder, a model file or a network's name.")] = "resnet18",
    rounds: Rounds = 5,
    warmup: Warmup = 1,  # the first process reads torch from the disk, the others from the page cache
    as_json: AsJson = False,
) -> None:
    """Time new processes: import, help, torch, and a model file that is loaded and predicts one image."""
    from cifarlab.bench import startup as bench

    _print(bench.startup(model, rounds=rounds, warmup=warmup), as_json)


@app.command(cls=Command)
def kernels(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Networks or recipes; unset: speed and resnet18.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Rounds in which each way takes its turn.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round and way.")] = 3,
    compiled: Annotated[
        bool, typer.Option(help="Include torch.compile, which takes a minute per network to compile.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Measure what our CPU kernels give on this machine, against the fastest of torch at the same precision."""
    from cifarlab.bench import kernels as bench
    from cifarlab.cli import tables

    found = bench.kernels(models or ("speed", "resnet18"), pairs=pairs, steps=steps, compiled=compiled)
    if as_json:
        echo_json(found.to_dict())
    else:
        tables.print_kernels(found)


def _print(found: Benchmark, as_json: bool) -> None:
    from cifarlab.cli import tables

    if as_json:
        echo_json(found.to_dict())
    else:
        tables.print_benchmark(found)
