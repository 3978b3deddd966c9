from __future__ import annotations

import re
from typing import Any

import pytest

from cifarlab.language import speak, tr
from cifarlab.recipe.explained import differences, explained_toml
from cifarlab.recipe.parts import explained_parts
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import flatten, load_recipe, parse_recipe, recipe_fields, recipe_from, recipe_names


def recipe(**sections: Any) -> Recipe:
    return recipe_from({"name": "r", "model": {"name": "simple-cnn"}, **sections})


def test_only_the_network_has_no_default() -> None:
    (found,) = differences(recipe()).items()
    assert found[0] == "model.name" and found[1].needed and found[1].value == "simple-cnn"


def test_differences_have_the_default_and_the_explanation_of_the_field() -> None:
    found = differences(recipe(training={"batch_size": 64, "max_minutes": 3.0}, optimizer={"lr": 0.1}))
    assert list(found) == ["model.name", "training.batch_size", "training.max_minutes"]
    assert (found["training.batch_size"].value, found["training.batch_size"].default_text) == (64, "128")
    assert found["training.batch_size"].explanation == "Images per optimizer step."
    assert found["training.max_minutes"].default_text == "unset"


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("width", [30, 80])
def test_the_explained_recipe_is_the_same_recipe_and_marks_what_differs(name: str, width: int) -> None:
    chosen = load_recipe(name)
    text = explained_toml(chosen, width)
    assert parse_recipe(text) == chosen
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments and max(map(len, comments)) <= max(width, max(len(word) + 2 for word in text.split()))
    default = flatten(recipe(model={"name": "another"}))
    differing = {
        path for path, value in flatten(chosen).items()
        if default.get(path) != value and not path.startswith("reference.") and path not in ("name", "description")
    }  # fmt: skip
    assert set(differences(chosen)) == differing
    assert len(re.findall("  # default: ", text)) == len(differing) - 1  # the network has none


def test_lists_and_text_that_looks_like_toml_stay_as_they_are() -> None:
    chosen = recipe(
        description="[training]\nepochs = 3  # default: 4",
        schedule={"name": "multistep", "milestones": ["2 epochs", "50 %"]},
        training={"class_weights": [1.0, 2.0]},
    )
    text = explained_toml(chosen)
    assert parse_recipe(text) == chosen
    assert "milestones = [  # default: []\n" in text and 'class_weights = [  # default: "none"\n' in text


def test_comments_are_in_the_language_that_is_spoken_and_the_recipe_is_the_same() -> None:
    chosen = load_recipe("speed")
    speak("zh")
    try:
        text = explained_toml(chosen)
    finally:
        speak("en")
    assert parse_recipe(text) == chosen
    assert "\n# 每隔这么多轮验证一次，最后一轮之后总会验证。\nevery = 3  # 默认：1\n" in text


def test_every_explanation_and_description_has_a_translation() -> None:
    found = [" ".join(explanation.split()) for _, explanation in recipe_fields().values()]
    found += [load_recipe(name).description for name in recipe_names()]
    found += [part.explanation for name in recipe_names() for part in explained_parts(load_recipe(name))]
    speak("zh")
    try:
        assert [text for text in found if tr(text) == text] == []
    finally:
        speak("en")
