"""`cifarlab lr-find`: a learning rate for a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import (
    AsJson,
    Assignments,
    Data,
    DataDir,
    Out,
    RecipeDevice,
    RecipeName,
    Seed,
    SkipBad,
    Threads,
    changed,
    training_fields,
)
from cifarlab.cli.output import Output, echo, echo_json
from cifarlab.language import tr
from cifarlab.recipe.toml import load_recipe

if TYPE_CHECKING:
    from cifarlab.studies.lr_find import RangeTest

WIDEST = 100
"""Characters of the chart's width; wider, a curve of a hundred steps only gets longer."""


def lr_find(
    recipe: RecipeName,
    start: Annotated[float, typer.Option(help="The lowest rate.")] = 1e-6,
    end: Annotated[float, typer.Option(help="The highest rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Batches between them.")] = 100,
    data: Data = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    assignments: Assignments = None,
    seed: Seed = None,
    device: RecipeDevice = None,
    threads: Threads = None,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Raise the learning rate over some batches, draw the loss, and suggest a rate with the reason."""
    options = training_fields(data, seed, device, threads, skip_bad)
    chosen = changed(load_recipe(recipe), assignments, options)
    found, run = api.lr_find(chosen, start=start, end=end, steps=steps, out=out, data_dir=data_dir)
    if as_json:
        echo_json({"run": str(run.path), **found.to_dict()})
        return
    _draw(found)
    echo(found.reason)
    if found.suggestion is not None:  # None when the loss hardly fell anywhere; the reason says so
        # two digits: the range test is a rough method, and more of them would promise what it cannot keep
        text = tr(
            "Suggested: {option}   (the recipe has {lr:g})",
            option=f"--set optimizer.lr={found.suggestion:.2g}",
            lr=chosen.optimizer.lr,
        )
        echo(text)
        echo(tr("The loss falls fastest at {lr:.2g}.", lr=found.steepest))
    echo(tr("The chart is {file}.", file=run.figure("lr-find")))


def _draw(found: RangeTest) -> None:
    """Draw the curve on a terminal; in a pipe, where it would only be in the way of the rates, nothing."""
    from cifarlab.drawing.charts.text import ASCII, Glyphs, to_text
    from cifarlab.studies.lr_find import range_chart

    console = Output()
    if not console.is_terminal:
        return
    glyphs = Glyphs() if console.encoding.startswith("utf") else ASCII
    for line in to_text(range_chart(found), min(console.width, WIDEST), glyphs=glyphs):
        console.print(line)
    console.print()
