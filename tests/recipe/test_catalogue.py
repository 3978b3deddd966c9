"""The shipped recipes in groups, and what they reached."""

from __future__ import annotations

import pytest

from cifarlab.recipe.catalogue import CLASSICS, GROUPS, WORDS, augmentation_words
from cifarlab.recipe.measured import measured
from cifarlab.recipe.schema import AugmentationSpec
from cifarlab.recipe.toml import load_recipe, recipe_names


def test_every_shipped_recipe_is_in_a_group() -> None:
    assert {name for names in GROUPS.values() for name in names} == set(recipe_names())


def test_every_recipe_of_another_project_is_among_the_classics() -> None:
    classics = {name for names in CLASSICS.values() for name in names}
    assert set(recipe_names()) - classics == {"quick", "speed", "speed-plus", "resnet18", "resnet34", "resnet50"}


@pytest.mark.parametrize("title", CLASSICS)
def test_the_recipes_of_a_classic_have_one_source(title: str) -> None:
    sources = [load_recipe(name).reference for name in CLASSICS[title]]
    assert len({source.title for source in sources if source}) == 1 and None not in sources


def test_every_augmentation_has_a_word_unless_it_only_says_how_another_works() -> None:
    assert set(AugmentationSpec.model_fields) - set(WORDS) == {"crop_fill", "mix_probability"}


def test_words_are_those_of_what_is_on() -> None:
    assert augmentation_words(AugmentationSpec()) == []
    assert augmentation_words(AugmentationSpec(crop_padding=4, brightness=0.2, hue=0.1)) == ["crops", "colour"]


def test_every_accuracy_has_its_uncertainty_and_every_time_its_machine() -> None:
    assert measured()
    for name, found in measured().items():
        recipe = load_recipe(name)
        assert (found.sd is None) == (found.interval is not None) == (found.num_seeds == 1)
        if found.interval is not None:
            assert found.interval[0] < found.accuracy < found.interval[1]
        assert found.seconds is None or found.machine.endswith("threads")
        assert found.data == recipe.data.source and found.epochs <= recipe.training.epochs
