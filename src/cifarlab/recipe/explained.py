"""What a recipe does differently from the defaults, explained by the documentation of its fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import tomli_w

from cifarlab.console import in_lines
from cifarlab.language import tr
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.section import Section
from cifarlab.recipe.toml import recipe_fields, to_toml

IDENTITY = ("name", "description", "reference")
"""Fields and sections that say what a recipe is called and where it comes from, and change nothing in a training."""


@dataclass(frozen=True)
class Difference:
    """A value that is not the default. `default` is None where that is unset; `needed`: the field has no default.

    The explanation is in English, for catalogues to translate where it is shown.
    """

    value: Any
    default: Any
    explanation: str
    needed: bool = False

    @property
    def default_text(self) -> str:
        """The default as a recipe file would have it."""
        return "unset" if self.default is None else tomli_w.dumps({"x": self.default}).removeprefix("x = ").strip()


def differences(recipe: Recipe) -> dict[str, Difference]:
    """Return every value that differs from its default, by its path, in the order of the recipe."""
    found: dict[str, Difference] = {}
    for name, section in recipe:
        if name in IDENTITY or not isinstance(section, Section):
            continue
        for key, field in type(section).model_fields.items():
            value, needed = getattr(section, key), field.is_required()
            default = None if needed else field.get_default(call_default_factory=True)
            if needed or value != default:
                path = f"{name}.{key}"
                found[path] = Difference(value, default, " ".join(recipe_fields()[path][1].split()), needed)
    return found


def explained_toml(recipe: Recipe, width: int = 80) -> str:
    """Return the complete recipe as TOML, in which comments mark and explain the values that differ from the defaults.

    Comments speak the chosen language: they are for whoever reads the file, and change nothing in a training.
    width: of the comments above such values, in columns.
    """
    found, lines, section = differences(recipe), [], ""
    for line in to_toml(recipe).splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
        key = re.match(r"(\w+) = ", line)  # the items of a list are indented
        difference = found.get(f"{section}.{key[1]}") if key else None
        if difference is None:
            lines.append(line)
            continue
        lines += [f"# {text}" for text in in_lines(tr(difference.explanation), width - 2)]
        default = tr("unset") if difference.default is None else difference.default_text
        lines.append(line if difference.needed else f"{line}  # {tr('default: {value}', value=default)}")
    return "\n".join(lines) + "\n"
