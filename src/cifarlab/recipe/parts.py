"""The parts that can be dropped from a recipe: what is on, and the values that switch it off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cifarlab.errors import RecipeError, unknown
from cifarlab.language import listed, tr
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.section import Section
from cifarlab.recipe.toml import flatten, recipe_fields, recipe_from

SECTIONS = ("augmentation", "averaging", "schedule", "stopping")
"""Sections whose defaults do nothing, so that they can be dropped whole."""

SETTINGS = ("augmentation.crop_fill", "augmentation.mix_probability")
"""Fields that only say how another augmentation works, and are not parts themselves."""

OF_SGD = ("optimizer.momentum", "optimizer.nesterov")
"""Fields that other optimizers ignore."""

OFF: dict[str, dict[str, Any]] = {
    "schedule.warmup": {"schedule.warmup": "0 steps"},
    "optimizer.momentum": {"optimizer.momentum": 0.0, "optimizer.nesterov": False},
    "optimizer.nesterov": {"optimizer.nesterov": False},
    "optimizer.weight_decay": {"optimizer.weight_decay": 0.0},
    "training.label_smoothing": {"training.label_smoothing": 0.0},
    "training.class_weights": {"training.class_weights": "none"},
    "training.clip_norm": {"training.clip_norm": 0.0},
    # frozen random features would measure freezing, not the loss of the learnt weights
    "model.pretrained": {"model.pretrained": False, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.weights": {"model.weights": None, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.freeze": {"model.freeze": "none", "model.unfreeze_epoch": None},
}
"""A field that can be dropped -> the values that do so, with those of the fields that make no sense without it."""


@dataclass(frozen=True)
class Part:
    """A part that is on in a recipe."""

    name: str
    value: Any
    """What the recipe has there; of a section, the fields that are not its defaults."""
    explanation: str


def without(recipe: Recipe, part: str) -> Recipe:
    """The recipe with one part off; raises RecipeError when it is unknown or off already."""
    if part not in _parts():
        raise RecipeError(unknown("part", part[:80], parts_of(recipe)))
    if not _is_on(recipe, part):  # the variant would be the complete recipe once more
        sentence = tr("{part} is already off in {recipe}. On are: {parts}.")
        raise RecipeError(sentence.format(part=part, recipe=recipe.name, parts=listed(parts_of(recipe))))
    values = recipe.model_dump()
    for path, off in _off(part).items():
        section, _, key = path.partition(".")
        values[section][key] = off
    origin = tr("{recipe} without {part}", recipe=recipe.name, part=part)
    return recipe_from(values, origin)  # checked again: the rest may need the part


def parts_of(recipe: Recipe) -> list[str]:
    """The parts that can be dropped from a recipe, because they are on."""
    return [part for part in _parts() if _is_on(recipe, part)]


def explained_parts(recipe: Recipe) -> list[Part]:
    """The same parts with their values, each explained by the documentation of its field or section."""
    flat, found = flatten(recipe), []
    for name in parts_of(recipe):
        value, explanation = flat.get(name), recipe_fields().get(name, ("", ""))[1]
        if name in SECTIONS:
            off = {path: default for path, default in _off(name).items() if flat[path] != default}
            value, explanation = {path.partition(".")[2]: flat[path] for path in off}, _section(name).__doc__ or ""
        found.append(Part(name, value, " ".join(explanation.split())))
    return found


def _parts() -> list[str]:
    single = [path for path in recipe_fields() if path.startswith("augmentation.") and path not in SETTINGS]
    return [*SECTIONS, *single, *OFF]


def _is_on(recipe: Recipe, part: str) -> bool:
    if part in OF_SGD and recipe.optimizer.name != "sgd":
        return False
    values = recipe.model_dump()
    paths = ((path.partition("."), off) for path, off in _off(part).items())
    return any(values[section][key] != off for (section, _, key), off in paths)


def _off(part: str) -> dict[str, Any]:
    """The values, by path, with which a part does nothing."""
    if part in OFF:
        return OFF[part]
    section, _, key = part.partition(".")
    defaults = _section(section).model_dump()  # these sections do nothing by default
    return {f"{section}.{name}": value for name, value in defaults.items() if key in ("", name)}


def _section(name: str) -> Section:
    section: Section = Recipe.model_fields[name].get_default(call_default_factory=True)
    return section
