"""Load recipes by name or from TOML files, and write them back."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from cifarlab.errors import RecipeError, unknown
from cifarlab.recipe.mistakes import fields_of, section_from
from cifarlab.recipe.schema import FORMAT, Recipe

_SHIPPED = resources.files("cifarlab.recipe") / "shipped"

SIZE_LIMIT = 2**20  # bytes; a larger file is not a recipe

# Dots on one line: tomllib takes n² time and memory for a key of n parts, so a long one would fill the machine.
_DOTS = 100


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with cifarlab, sorted."""
    return sorted(item.name.removesuffix(".toml") for item in _SHIPPED.iterdir() if item.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a shipped recipe by name, or any recipe from a TOML file.

    Raises RecipeError if there is no such recipe or it is not valid, with every problem at once.
    """
    text = str(name_or_path)
    if text in recipe_names():
        return parse_recipe((_SHIPPED / f"{text}.toml").read_text("utf-8"), text)
    path = Path(text)
    if path.suffix == ".toml" or len(path.parts) > 1:  # else it is a misspelt name, for which there are suggestions
        return parse_recipe(_read(path), text)
    raise RecipeError(f"{unknown('recipe', text, recipe_names())}\nA recipe of your own is given as path/to/file.toml.")


def parse_recipe(toml: str, origin: str = "recipe") -> Recipe:
    """Parse and check the text of a recipe; `origin` names it in errors."""
    if any(line.count(".") > _DOTS for line in toml.splitlines()):
        raise RecipeError(f"{origin} has a line with more than {_DOTS} dots, which no recipe needs.")
    try:
        values = tomllib.loads(toml)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more than 4,300 digits
        raise RecipeError(f"{origin} is not valid TOML: {error}.") from error
    return recipe_from(values, origin)


def recipe_from(values: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check a recipe given as nested dicts.

    Raises RecipeError, which lists every problem with its path, what was found and what is allowed.
    """
    # Before anything else: a newer format may have fields that would be reported as unknown keys.
    version = values.get("format", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        raise RecipeError(f"{origin} has format {version}; this cifarlab reads up to {FORMAT}. Upgrade cifarlab.")
    return section_from(Recipe, values, origin)


def to_toml(recipe: Recipe) -> str:
    """Return the complete recipe as TOML; parsing it gives an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))  # TOML has no null: an unset field is left out


def flatten(recipe: Recipe) -> dict[str, Any]:
    """Return every value by its path, {"optimizer.lr": 0.1, ...}, without sections that are unset."""
    flat: dict[str, Any] = {}
    for name, value in recipe.model_dump().items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": inner for key, inner in value.items()})
        elif value is not None:
            flat[name] = value
    return flat


def recipe_fields() -> dict[str, tuple[Any, str]]:
    """Return every path that can be set, with its type and description."""
    return fields_of(Recipe)


def _read(path: Path) -> str:
    try:
        # One byte more than allowed, so that a large file, or a device that never ends, is not read whole.
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
        if len(content) > SIZE_LIMIT:
            raise RecipeError(f"{path} is longer than {SIZE_LIMIT} bytes, which no recipe is.")
        return content.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except OSError as error:
        raise RecipeError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except ValueError as error:  # a NUL in the path
        raise RecipeError(f"Cannot read the recipe {str(path)!r}: {error}.") from error
