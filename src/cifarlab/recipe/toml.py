"""Load recipes by name or from TOML files, and write them back."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from cifarlab.errors import RecipeError, cause, translated, unknown
from cifarlab.language import tr, translatable
from cifarlab.recipe.mistakes import fields_of, section_from
from cifarlab.recipe.schema import FORMAT, Recipe

_SHIPPED = resources.files("cifarlab.recipe") / "shipped"

SIZE_LIMIT = 2**20  # bytes; a larger file is not a recipe

# Dots on one line: tomllib takes n² time and memory for a key of n parts, so a long one would fill the machine.
_DOTS = 100


OF_TOML = (
    translatable("{fault} (at line {line}, column {column})"),
    translatable("{fault} (at end of document)"),
    translatable("Invalid statement"),
    translatable("Invalid value"),
    translatable("Invalid initial character for a key part"),
    translatable("Invalid date or datetime"),
    translatable("Invalid hex value"),
    translatable("Expected newline or end of document after a statement"),
    translatable("Expected '=' after a key in a key/value pair"),
    translatable("Expected '{bracket}' at the end of a table declaration"),
    translatable("Expected '{bracket}' at the end of an array declaration"),
    translatable("Expected {what}"),
    translatable("Found invalid character {what}"),
    translatable("Illegal character {what}"),
    translatable("Cannot declare {keys} twice"),
    translatable("Cannot redefine namespace {keys}"),
    translatable("Cannot mutate immutable namespace {keys}"),
    translatable("Cannot overwrite a value"),
    translatable("Duplicate inline table key {key}"),
    translatable("Unclosed array"),
    translatable("Unclosed inline table"),
    translatable("Unterminated string"),
    translatable("Unescaped '\\' in a string"),
)
"""What Python says of a file that is no TOML."""


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
    own = tr("A recipe of your own is given as path/to/file.toml.")
    raise RecipeError(f"{unknown('recipe', text, recipe_names())}\n{own}")


def parse_recipe(toml: str, origin: str = "recipe") -> Recipe:
    """Parse and check the text of a recipe; `origin` names it in errors."""
    if any(line.count(".") > _DOTS for line in toml.splitlines()):
        raise RecipeError(
            tr("{origin} has a line with more than {n} dots, which no recipe needs.", origin=origin, n=_DOTS)
        )
    try:
        values = tomllib.loads(toml)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of more than 4,300 digits
        fault = translated(str(error), OF_TOML)
        raise RecipeError(tr("{origin} is not valid TOML: {fault}.", origin=origin, fault=fault)) from error
    return recipe_from(values, origin)


def recipe_from(values: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check a recipe given as nested dicts.

    Raises RecipeError, which lists every problem with its path, what was found and what is allowed.
    """
    # Before anything else: a newer format may have fields that would be reported as unknown keys.
    version = values.get("format", FORMAT)
    if isinstance(version, int) and version > FORMAT:
        sentence = tr("{origin} has format {version}; this cifarlab reads up to {newest}. Upgrade cifarlab.")
        raise RecipeError(sentence.format(origin=origin, version=version, newest=FORMAT))
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
            raise RecipeError(tr("{path} is longer than {n} bytes, which no recipe is.", path=path, n=SIZE_LIMIT))
        return content.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except OSError as error:
        raise RecipeError(tr("Cannot read the recipe {path}: {cause}.", path=path, cause=cause(error))) from error
    except UnicodeDecodeError as error:
        sentence = tr("{path} is not UTF-8 text: {reason} at byte {n}.")
        raise RecipeError(sentence.format(path=path, reason=error.reason, n=error.start)) from error
    except ValueError as error:  # a NUL in the path
        raise RecipeError(tr("Cannot read the recipe {path}: {cause}.", path=repr(str(path)), cause=error)) from error
