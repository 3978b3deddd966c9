"""The Recipe types: what they refuse, and that every field says what it is for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cifarlab.errors import RecipeError
from cifarlab.recipe.schema import NAME, ModelSpec, Recipe
from cifarlab.recipe.section import listed_names, named_columns, named_splits
from cifarlab.recipe.toml import recipe_fields, recipe_from

MINIMAL: dict[str, Any] = {"name": "try", "model": {"name": "resnet18"}}


def with_value(path: str, value: object) -> dict[str, Any]:
    """The minimal recipe with one value put in."""
    section, _, key = path.rpartition(".")
    if not section:
        return {**MINIMAL, key: value}
    title = {"title": "a title"} if section == "reference" else {}
    return {**MINIMAL, section: {**title, **MINIMAL.get(section, {}), key: value}}


def refusal(path: str, value: object) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe_from(with_value(path, value))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_recipe_needs_only_a_name_and_a_model() -> None:
    recipe = Recipe(name="try", model=ModelSpec(name="resnet18"))
    assert recipe.training.batch_size == 128
    assert recipe.validation.size == 0.1


def test_a_recipe_is_immutable() -> None:
    recipe = Recipe(name="try", model=ModelSpec(name="resnet18"))
    with pytest.raises(ValidationError):
        recipe.optimizer.lr = 1.0
    with pytest.raises(ValidationError):
        recipe.name = "other"


@pytest.mark.parametrize("path", recipe_fields())
def test_every_field_is_described(path: str) -> None:
    _, description = recipe_fields()[path]
    assert description.strip()
    assert description.endswith((".", "off"))


WRONG = [{"a": 1}, [["a"]], b"bytes", object()]


@pytest.mark.parametrize("path", recipe_fields())
@pytest.mark.parametrize("value", WRONG, ids=["table", "nested list", "bytes", "object"])
def test_c02_no_field_takes_a_value_of_another_kind(path: str, value: object) -> None:
    assert path in refusal(path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer.lr", "0.1"),
        ("optimizer.lr", True),
        ("training.batch_size", "3"),
        ("training.batch_size", True),
        ("training.batch_size", 32.0),
        ("training.seed", 1.0),
        ("data.skip_bad", 1),
        ("data.skip_bad", "true"),
        ("data.source", ["cifar10"]),
        ("data.source", 10),
        ("model.name", 18),
        ("schedule.milestones", "5 epochs"),
        ("schedule.milestones", [5]),
        ("training.class_weights", ["1"]),
        ("format", "1"),
        ("format", True),
        ("runtime.threads", 1.5),
    ],
)
def test_c02_nothing_is_coerced(path: str, value: object) -> None:
    assert path in refusal(path, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "path", [path for path, (annotation, _) in recipe_fields().items() if "float" in str(annotation)]
)
def test_c03_no_number_is_nan_or_infinite(path: str, value: float) -> None:
    assert path in refusal(path, value)
    assert path in refusal(path, [value, value])


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("optimizer.lr", -1, "greater than 0"),
        ("optimizer.lr", 0, "greater than 0"),
        ("optimizer.momentum", 1, "less than 1"),
        ("optimizer.weight_decay", -1e-9, "greater than or equal to 0"),
        ("optimizer.name", "adan", "'sgd', 'adam', 'adamw' or 'muon'"),
        ("training.batch_size", 0, "greater than or equal to 1"),
        ("training.epochs", 0, "greater than 0"),
        ("training.seed", -1, "greater than or equal to 0"),
        ("training.seed", 2**32, "less than 4294967296"),
        ("training.label_smoothing", 1, "less than 1"),
        ("training.hard_share", 0, "greater than 0"),
        ("training.class_weights", [1.0, -1.0], "greater than or equal to 0"),
        ("training.class_weights", [], "at least 1"),
        ("training.class_weights", "even", "'none' or 'balanced'"),
        ("data.image_size", 7, "greater than or equal to 8"),
        ("data.image_size", 513, "less than or equal to 512"),
        ("validation.size", -1, "greater than or equal to 0"),
        ("validation.size", 1.5, "less than 1"),
        ("validation.every", 0, "greater than or equal to 1"),
        ("augmentation.hue", 0.6, "less than or equal to 0.5"),
        ("augmentation.translation", 1.0, "less than 1"),
        ("schedule.warmup", "5 minutes", "a duration reads"),
        ("schedule.milestones", ["5 minutes"], "a duration reads"),
        ("stopping.metric", "test/accuracy", "'val/loss' or 'val/accuracy'"),
        ("averaging.decay", 1.0, "less than 1"),
        ("reference.reported_accuracy", 96.47, "less than or equal to 1"),
        ("format", 0, "greater than or equal to 1"),
    ],
)
def test_c03_an_impossible_value_states_the_range(path: str, value: object, allowed: str) -> None:
    text = refusal(path, value)
    assert path in text
    assert allowed in text


@pytest.mark.parametrize(
    ("values", "both"),
    [
        (
            {"schedule": {"warmup": "11 epochs"}, "training": {"epochs": 10}},
            ("schedule.warmup", "training.epochs"),
        ),
        ({"schedule": {"warmup": "101 %"}}, ("schedule.warmup", "training.epochs")),
        ({"schedule": {"name": "step", "every": "0 epochs"}}, ("schedule.every", "0")),
        ({"schedule": {"name": "multistep"}}, ("schedule.milestones", "multistep")),
        ({"model": {"name": "resnet18", "pretrained": True}}, ("model.pretrained", "model.name")),
        (
            {"model": {"name": "timm:resnet18", "pretrained": True, "weights": "a.safetensors"}},
            ("model.pretrained", "model.weights"),
        ),
        ({"model": {"name": "resnet18", "unfreeze_epoch": 2}}, ("model.unfreeze_epoch", "model.freeze")),
        ({"stopping": {"patience": 3}, "validation": {"size": 0}}, ("stopping.patience", "validation.size")),
        ({"training": {"hard_share": 0.5}, "augmentation": {"cutmix": 1.0}}, ("training.hard_share", "cutmix")),
        ({"training": {"hard_share": 0.5}, "augmentation": {"mixup": 0.2}}, ("training.hard_share", "mixup")),
        ({"optimizer": {"nesterov": True, "momentum": 0.0}}, ("optimizer.nesterov", "momentum")),
        ({"optimizer": {"nesterov": True, "name": "adam"}}, ("optimizer.nesterov", "sgd")),
    ],
)
def test_c04_a_contradiction_names_both_sides(values: dict[str, Any], both: tuple[str, str]) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({**MINIMAL, **values})
    assert all(name in str(caught.value) for name in both)


def test_the_same_fields_without_the_contradiction_are_fine() -> None:
    values = {
        "schedule": {"warmup": "10 epochs", "name": "multistep", "milestones": ["50 %"]},
        "model": {
            "name": "torchvision:resnet18",
            "pretrained": True,
            "freeze": "backbone",
            "unfreeze_epoch": 2,
        },
        "stopping": {"patience": 3},
        "optimizer": {"nesterov": True},
        "training": {"epochs": 10},
    }
    assert recipe_from({**MINIMAL, **values}).schedule.milestones == ("50 %",)


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from({**MINIMAL, "schedule": {"name": "multistep", "warmup": "99 epochs"}})
    assert "schedule.warmup" in str(caught.value)
    assert "schedule.milestones" in str(caught.value)


GOOD_NAMES = ["a", "resnet18", "A.b_c-9", "x" * 64, "con"]
BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "-a",
    "_a",
    ".a",
    "x" * 65,
    "a b",
    "a\n",
    "\0",
    "é",
    "a:b",
    "~",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_c10_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    assert "name" in refusal("name", name)
    assert re.fullmatch(NAME, name) is None


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_c10_other_names_are_taken(name: str) -> None:
    assert recipe_from(with_value("name", name)).name == name


def test_n10_columns_are_named_by_what_they_stand_for() -> None:
    assert named_columns(" image = my photo,label=kind, split=") == {"image": "my photo", "label": "kind", "split": ""}
    assert named_columns("") == {}


@pytest.mark.parametrize("text", ["photo", "image", "image=", "picture=photo", "image=a,image=b", "image=a;label=b,c"])
def test_n10_columns_that_say_something_else(text: str) -> None:
    assert "image=NAME, label=NAME, split=NAME" in refusal("data.columns", text)


def test_n01_splits_can_be_named() -> None:
    assert named_splits('train=a/b, "test=c, d",val=') == {"train": "a/b", "test": "c, d", "val": ""}


@pytest.mark.parametrize("text", ["learn", "train", "learn=train", "train=a,train=b", '"train=a'])
def test_n01_splits_that_say_something_else(text: str) -> None:
    assert "train=NAME, val=NAME, test=NAME" in refusal("data.split_names", text)


def test_class_names_are_a_list_in_text() -> None:
    assert listed_names("") == ()
    assert listed_names('frog, truck,"big, red"') == ("frog", "truck", "big, red")
    for text in ("frog,,truck", "frog,frog", '"frog'):
        assert "data.class_names" in refusal("data.class_names", text)


@given(st.text())
def test_n01_any_text_for_split_names_is_read_or_refused(text: str) -> None:
    try:
        assert named_splits(text).keys() <= {"train", "val", "test"}
    except ValueError as error:
        assert str(error)
