"""`cifarlab lr-find`: a learning rate for a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cifarlab import api
from cifarlab.cli.output import echo
from cifarlab.recipe.toml import load_recipe, override, override_all


def lr_find(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or the path of a TOML file.")],
    start: Annotated[float, typer.Option(help="The lowest rate.")] = 1e-6,
    end: Annotated[float, typer.Option(help="The highest rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Batches between them.")] = 100,
    data: Annotated[str | None, typer.Option(help="Images: a name or a path. Same as --set data.source=...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for named data first.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets the test's folder.")] = Path("runs"),
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Raise the learning rate over some batches, draw the loss, and suggest a rate with the reason."""
    chosen = override_all(load_recipe(recipe), assignments or [])
    if data is not None:
        chosen = override(chosen, "data.source", data)
    found, run = api.lr_find(chosen, start=start, end=end, steps=steps, out=out, data_dir=data_dir)
    if as_json:
        echo(json.dumps({"run": str(run.path), **found.to_dict()}, indent=2))
        return
    echo(found.reason)
    if found.suggestion is not None:
        echo(f"Suggested: --set optimizer.lr={found.suggestion:.2g}   (the recipe has {chosen.optimizer.lr:g})")
        echo(f"The loss falls fastest at {found.steepest:.2g}.")
    echo(f"The chart is {run.figure('lr-find')}.")
