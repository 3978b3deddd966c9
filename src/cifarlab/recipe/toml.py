"""Load recipes by name or from TOML files, write them back, and replace single values."""

from __future__ import annotations

import reprlib
import tomllib
import types
import typing
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from cifarlab.errors import RecipeError, unknown
from cifarlab.recipe.schema import FORMAT, Recipe
from cifarlab.recipe.section import Section

Part = TypeVar("Part", bound=Section)

_SHIPPED = resources.files("cifarlab.recipe") / "shipped"

SIZE_LIMIT = 2**20  # bytes; a larger file is not a recipe

_SHOWN = 20  # problems listed in one message; the rest is counted

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


def section_from(kind: type[Part], values: dict[str, Any], origin: str) -> Part:
    """Check a recipe or one section of it, given as dicts; raises RecipeError as `recipe_from` does."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [f"{origin} cannot be used:", *(f"  {problem}" for problem in _problems(error))]
        raise RecipeError("\n".join(lines)) from error


def override(recipe: Recipe, path: str, text: str) -> Recipe:
    """Replace one value, given as text that its field interprets: override(recipe, "optimizer.lr", "0.2").

    Text that is not a TOML value is taken as a string; "none" unsets a field that may be unset.
    Raises RecipeError for an unknown path or a value that the field does not allow.
    """
    # Checked anew as a whole, because fields depend on each other.
    if path not in recipe_fields():
        raise RecipeError(_unknown_key(path))
    annotation, _ = recipe_fields()[path]
    values = recipe.model_dump()
    section, _, key = path.rpartition(".")
    target = values[section] if section else values
    if target is None:
        raise RecipeError(f"{recipe.name} has no [{section}], so {path} cannot be set. Write it into a recipe file.")
    target[key] = _value(text, annotation)
    return recipe_from(values, f"{recipe.name} with {path}={' '.join(text.split())[:80]}")


def override_all(recipe: Recipe, assignments: list[str]) -> Recipe:
    """Apply `key=value` assignments in order; a later one overrides an earlier one."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set takes key=value, for example optimizer.lr=0.2, not {assignment!r}.")
        recipe = override(recipe, path.strip(), text.strip())
    return recipe


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


@cache
def recipe_fields() -> dict[str, tuple[Any, str]]:
    """Return every path that can be set, with its type and description."""
    found: dict[str, tuple[Any, str]] = {}
    # Two levels only, section and key, which keeps paths and the command line simple.
    for name, field in Recipe.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            found[name] = (field.annotation, field.description or "")
            continue
        for key, inner in section.model_fields.items():
            found[f"{name}.{key}"] = (inner.annotation, inner.description or "")
    return found


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the Section class in an annotation such as ReferenceSpec | None, if there is one."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    sections = [item for item in options if isinstance(item, type) and issubclass(item, BaseModel)]
    return sections[0] if sections else None


def _value(text: str, annotation: Any) -> Any:
    """Interpret text by the type of its field; a string field takes it as it is."""
    if text == "none" and type(None) in typing.get_args(annotation):
        return None
    # A name such as "1e5" or "true" would otherwise become a number or a boolean. Quotes may be left on by the shell.
    if annotation is str or annotation == (str | None):
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if len(values) == 1 else text  # a line break in the text could smuggle in more keys


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


def _problems(error: ValidationError) -> list[str]:
    """Return one line for each value that is wrong, even if it breaks several rules."""
    # A field of several types (int | float) has a pydantic error for each of them.
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False)[:_SHOWN]:
        subject, message = _explain(dict(item))
        found.setdefault(subject, []).append(message)
    lines = [_sentence(subject, messages) for subject, messages in found.items()]
    more = error.error_count() - _SHOWN
    return [*lines, f"{more} more."] if more > 0 else lines


def _sentence(subject: str, messages: list[str]) -> str:
    """Join "x = 1: " and ["input should be a", "input should be b"] to "x = 1: input should be a or be b"."""
    rest = [message.removeprefix("input should ") for message in messages[1:]]
    text = subject + " or ".join(dict.fromkeys([messages[0], *rest]))
    return text if text.endswith((".", "?")) else f"{text}."


def _explain(item: dict[str, Any]) -> tuple[str, str]:
    """Return what one pydantic error is about, and the error itself, in a user's words."""
    # Two parts at most: behind section and key pydantic lists the branch of a union.
    path = ".".join(str(part)[:80] for part in item["loc"][:2])
    message: str = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return _unknown_key(path), ""
    if not path:
        return "", message
    if item["type"] == "missing":
        return f"{path} is missing", ""
    if item["type"] == "model_type":
        return f"{path} is a section: write [{path}] and its keys below it", ""
    return f"{path} = {reprlib.repr(item['input'])}: ", f"{message[0].lower()}{message[1:]}"


def paths_of(key: str) -> list[str]:
    """The values of a recipe that are called so in some section: ["optimizer.lr"] for "lr"."""
    return [known for known in recipe_fields() if known.rpartition(".")[2] == key]


def _unknown_key(path: str) -> str:
    """Return a message that says where an unknown key may belong, or lists the keys of its section."""
    section, _, key = path.rpartition(".")
    if not section and key in Recipe.model_fields:
        keys = [known for known in recipe_fields() if known.startswith(f"{key}.")]
        return f"{key} is a section; what can be set is {', '.join(keys)}."
    if elsewhere := paths_of(key):
        return f"Unknown key {path!r}. Did you mean {' or '.join(elsewhere)}?"
    siblings = [known.rpartition(".")[2] for known in recipe_fields() if section and known.startswith(f"{section}.")]
    if siblings:
        return unknown(f"key of [{section}]", key[:80], siblings)
    return unknown("key", path[:80], Recipe.model_fields)
