from __future__ import annotations

from typing import Any

import pytest

from cifarlab.errors import RecipeError
from cifarlab.recipe.parts import explained_parts, parts_of, without
from cifarlab.recipe.schema import AugmentationSpec, Recipe
from cifarlab.recipe.toml import flatten, load_recipe, recipe_from, recipe_names


def recipe(**sections: Any) -> Recipe:
    base = {
        "name": "r",
        "model": {"name": "simple-cnn"},
        "augmentation": {"flip": "random", "cutout": 8, "crop_padding": 4, "crop_fill": "reflect"},
        "averaging": {"name": "ema"},
    }
    return recipe_from({**base, **sections})


def test_one_part_is_off_and_everything_else_as_before() -> None:
    changed = flatten(without(recipe(), "augmentation.cutout"))
    before = flatten(recipe())
    assert {key for key in before if before[key] != changed[key]} == {"augmentation.cutout"}
    assert changed["augmentation.cutout"] == 0


def test_a_section_is_dropped_whole() -> None:
    assert without(recipe(), "augmentation").augmentation == AugmentationSpec()
    assert without(recipe(), "averaging").averaging.name == "none"


def test_what_makes_no_sense_alone_goes_too() -> None:
    momentum = without(recipe(optimizer={"nesterov": True}), "optimizer.momentum").optimizer
    assert (momentum.momentum, momentum.nesterov) == (0, False)
    frozen = recipe(model={"name": "simple-cnn", "freeze": "backbone", "unfreeze_epoch": 2})
    assert without(frozen, "model.freeze").model.unfreeze_epoch is None


def test_parts_are_what_is_on() -> None:
    wanted = ["augmentation", "averaging", "augmentation.crop_padding", "augmentation.flip", "augmentation.cutout"]
    assert parts_of(recipe()) == [*wanted, "optimizer.momentum"]
    assert "optimizer.momentum" not in parts_of(recipe(optimizer={"name": "adam"}))
    assert all(without(recipe(), part) != recipe() for part in parts_of(recipe()))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("augmentation.hue", "already off in r"),
        ("augmentation.cutuot", "Did you mean augmentation.cutout"),
        ("augmentation.crop_fill", "Unknown part"),
        ("optimizer.lr", "Unknown part"),
    ],
)
def test_what_cannot_be_dropped_is_refused(part: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        without(recipe(), part)


@pytest.mark.parametrize("name", recipe_names())
def test_every_part_is_explained_with_its_value(name: str) -> None:
    chosen = load_recipe(name)
    parts = explained_parts(chosen)
    assert [part.name for part in parts] == parts_of(chosen)
    assert all(part.explanation.endswith(".") and part.value for part in parts)


def test_a_section_has_the_values_that_are_not_its_defaults() -> None:
    values = {part.name: part.value for part in explained_parts(recipe())}
    assert values["averaging"] == {"name": "ema"}
    assert values["augmentation"] == {"crop_padding": 4, "crop_fill": "reflect", "flip": "random", "cutout": 8}
    assert values["augmentation.cutout"] == 8
