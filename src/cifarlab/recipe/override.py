"""Replace single values of a recipe, given as text: what --set on the command line and `Recipe.set` in Python do."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cifarlab.errors import RecipeError
from cifarlab.language import tr
from cifarlab.recipe.mistakes import fields_of, section_from, unknown_key

if TYPE_CHECKING:  # the schema imports this module, for Recipe.set
    from cifarlab.recipe.schema import Recipe


def override_all(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Apply `key=value` assignments in order; a later one overrides an earlier one. Raises what `override` raises."""
    for assignment in assignments:
        path, equals, text = str(assignment).partition("=")  # str: a dict or a number gets the same explanation
        if not equals:
            example = "optimizer.lr=0.2"
            raise RecipeError(
                tr(
                    "Values are set by key=value, for example {example}, not {found!r}.",
                    example=example,
                    found=assignment,
                )
            )
        recipe = override(recipe, path.strip(), text.strip())
    return recipe


def override(recipe: Recipe, path: str, text: str) -> Recipe:
    """Replace one value, given as text that its field interprets: override(recipe, "optimizer.lr", "0.2").

    Text that is not a TOML value is taken as a string; "none" unsets a field that may be unset.
    Raises RecipeError for an unknown path or a value that the field does not allow.
    """
    # Checked anew as a whole, because fields depend on each other.
    fields = fields_of(type(recipe))
    if path not in fields:
        raise RecipeError(unknown_key(type(recipe), path))
    annotation, _ = fields[path]
    values = recipe.model_dump()
    section, _, key = path.rpartition(".")
    target = values[section] if section else values
    if target is None:
        sentence = tr("{recipe} has no [{section}], so {path} cannot be set. Write it into a recipe file.")
        raise RecipeError(sentence.format(recipe=recipe.name, section=section, path=path))
    target[key] = _value(text, annotation)
    origin = tr("{recipe} with {values}", recipe=recipe.name, values=f"{path}={' '.join(text.split())[:80]}")
    return section_from(type(recipe), values, origin)


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
