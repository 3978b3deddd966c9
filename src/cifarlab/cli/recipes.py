"""`cifarlab recipes`: what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarlab.cli.output import echo
from cifarlab.recipe.toml import load_recipe, recipe_names, to_toml


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this recipe complete, as TOML.")] = None,
) -> None:
    """List the shipped recipes, or show one complete."""
    if name is not None:
        # as it would run, defaults included: `cifarlab recipes NAME > my.toml` is where a recipe of one's own begins
        echo(to_toml(load_recipe(name)).rstrip("\n"))
        return
    for each in recipe_names():
        echo(f"{each:28}{load_recipe(each).description}")
