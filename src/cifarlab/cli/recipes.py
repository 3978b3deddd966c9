"""`cifarlab recipes`: what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarlab import recipe_file
from cifarlab.cli.output import echo


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe complete, as TOML.")] = None,
) -> None:
    """List the shipped recipes, or show one complete."""
    if name is not None:
        echo(recipe_file.to_toml(recipe_file.load(name)).rstrip("\n"))
        return
    for each in recipe_file.names():
        echo(f"{each:28}{recipe_file.load(each).description}")
