"""Recipes from text and back, single values replaced, and what a person is told about a mistake."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cifarlab.cli import main
from cifarlab.errors import RecipeError
from cifarlab.language import speak
from cifarlab.recipe.mistakes import section_from
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import FORMAT, DataSpec, ModelSpec, Recipe
from cifarlab.recipe.section import ReferenceSpec
from cifarlab.recipe.toml import (
    SIZE_LIMIT,
    flatten,
    load_recipe,
    parse_recipe,
    recipe_fields,
    recipe_from,
    recipe_names,
    to_toml,
)

MINIMAL = 'name = "try"\n[model]\nname = "resnet18"\n'


def refusal(toml: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(toml, "my.toml")
    assert str(caught.value).startswith("my.toml")
    return str(caught.value)


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe(MINIMAL)


# Reading


def test_names_are_sorted_and_loadable() -> None:
    names = recipe_names()
    assert names == sorted(names)
    assert "resnet18" in names


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(MINIMAL)
    assert load_recipe(path) == load_recipe(str(path)) == parse_recipe(MINIMAL)


@pytest.mark.parametrize("name", ["resnet81", "", ".", "/", "a" * 300])
def test_an_unknown_recipe_lists_near_ones_and_says_how_to_give_a_file(name: str) -> None:
    with pytest.raises(RecipeError, match=r"(?s)resnet18.*path/to/file\.toml"):
        load_recipe(name)


@pytest.mark.parametrize("path", ["no/such/file.toml", "file.toml", "a\0.toml", "b" * 300 + ".toml", "/dev/null/x"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(RecipeError, match="Cannot read the recipe"):
        load_recipe(path)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Is a directory"):
        load_recipe(tmp_path)


def test_c05_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_recipe(path) == parse_recipe(MINIMAL)


def test_c05_tabs_are_taken() -> None:
    assert parse_recipe(MINIMAL.replace(" = ", "\t=\t")) == parse_recipe(MINIMAL)


def test_c05_nul_is_refused() -> None:
    assert "not valid TOML" in refusal(MINIMAL + 'description = "\0"\n')


def test_c05_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.toml"
    path.write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(path)


def test_c05_a_recipe_has_at_most_a_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(MINIMAL + "#" * (SIZE_LIMIT - len(MINIMAL)))
    assert load_recipe(path).name == "try"
    with path.open("a") as file:
        file.write("#")
    with pytest.raises(RecipeError, match="longer than 1048576 bytes"):
        load_recipe(path)


def test_c05_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(RecipeError, match="longer than"):
        load_recipe("/dev/zero")


BOMBS = {
    "deep arrays": "a = " + "[" * 100_000,
    "deep tables": "a = " + "{a=" * 10_000,
    "a key of many parts": "a" + ".a" * 300_000 + " = 1",
    "a table of many parts": "[a" + ".a" * 300_000 + "]",
    "a long number": MINIMAL + "[optimizer]\nlr = " + "9" * 100_000,
    "a YAML tag": "a: !!python/object/apply:os.system ['true']",
    "many unknown keys": "".join(f"a{i} = 1\n" for i in range(10_000)) + MINIMAL,
    "a long string": MINIMAL + '[optimizer]\nlr = "' + "a" * 900_000 + '"',
}


@pytest.mark.parametrize("toml", BOMBS.values(), ids=BOMBS)
def test_c05_a_bomb_is_refused_in_few_words(toml: str) -> None:
    assert len(refusal(toml)) < 5000


@pytest.mark.parametrize("toml", [MINIMAL + 'name = "b"\n', MINIMAL + '[model]\nname = "b"\n'])
def test_c06_a_key_that_comes_twice_is_refused(toml: str) -> None:
    assert "not valid TOML" in refusal(toml)


@pytest.mark.parametrize("version", [2, 99])
def test_c08_a_newer_format_needs_a_newer_cifarlab(version: int) -> None:
    text = refusal(f"format = {version}\n" + MINIMAL + "[from_the_future]\n")
    assert f"format {version}" in text
    assert "Upgrade" in text


# What is said about a mistake


@pytest.mark.parametrize(
    ("section", "typo", "meant"),
    [
        ("optimizer", "lrr", "lr"),
        ("optimizer", "learning_momentum", "momentum"),
        ("optimizer", "wieght_decay", "weight_decay"),
        ("optimizer", "beta_1", "beta1"),
        ("training", "epoch", "epochs"),
        ("training", "batchsize", "batch_size"),
        ("training", "label_smothing", "label_smoothing"),
        ("augmentation", "crop_pading", "crop_padding"),
        ("augmentation", "cut_mix", "cutmix"),
        ("augmentation", "flips", "flip"),
        ("data", "img_size", "image_size"),
        ("data", "normalization", "normalisation"),
        ("model", "preTrained", "pretrained"),
        ("stopping", "patiance", "patience"),
        ("schedule", "warm_up", "warmup"),
        ("runtime", "memoryformat", "memory_format"),
        ("reference", "reported_acc", "reported_accuracy"),
    ],
)
def test_c01_a_misspelt_key_is_told_its_section_and_the_nearest_name(section: str, typo: str, meant: str) -> None:
    text = refusal(f'name = "try"\nmodel.name = "m"\n{section}.{typo} = 1\n')
    assert f"[{section}]" in text
    assert repr(typo) in text
    assert "Did you mean" in text
    assert meant in text.split("Did you mean")[1]


@given(st.sampled_from(sorted(recipe_fields())), st.integers(0, 30))
def test_c01_a_dropped_letter_finds_the_name_again(path: str, position: int) -> None:
    section, _, key = path.rpartition(".")
    typo = key[: position % len(key)] + key[position % len(key) + 1 :]
    known = {name.rpartition(".")[2] for name in recipe_fields()}
    if len(key) < 4 or typo in known or not section:
        return
    values = {"name": "try", "model": {"name": "m"}}
    values[section] = {**values.get(section, {}), typo: 1}  # type: ignore[dict-item]
    with pytest.raises(RecipeError) as caught:
        recipe_from(values)
    assert key in str(caught.value).split("Did you mean")[1]


def test_c01_a_key_at_the_wrong_place_is_told_the_right_one() -> None:
    assert "Did you mean optimizer.lr?" in refusal("lr = 0.1\n" + MINIMAL)
    assert "Did you mean training.epochs?" in refusal(MINIMAL + "[optimizer]\nepochs = 3\n")


def test_c01_an_unknown_section_lists_sections_only() -> None:
    text = refusal("zzz = 1\n" + MINIMAL)
    known = text.split("Known: ")[1].rstrip(".").split(", ")
    assert known == sorted(Recipe.model_fields)


def test_c01_an_unknown_key_lists_the_keys_of_its_section() -> None:
    text = refusal(MINIMAL + "[stopping]\nzzz = 1\n")
    assert text.endswith("Known: metric, min_delta, patience.")


def test_every_problem_is_listed_on_its_line() -> None:
    text = refusal('name = "a b"\n[optimizer]\nlr = 0\nqqqq = 1\n')
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("  name = 'a b'")
    assert "  model is missing." in lines
    assert "  optimizer.lr = 0: input should be greater than 0." in lines
    assert any("qqqq" in line for line in lines)


def test_a_section_given_as_a_value_is_explained() -> None:
    assert "model is a section: write [model]" in refusal('name = "try"\nmodel = "resnet18"\n')


@pytest.mark.parametrize(
    "toml",
    [
        "zzz = 1\n" + MINIMAL,
        "lr = 1\n" + MINIMAL,
        MINIMAL + "[optimizer]\nlr = 0\n",
        MINIMAL + '[schedule]\nname = "multistep"\n',
        MINIMAL + "[validation]\nsize = 1.5\n",
        'name = "try"\n',
        "[[[",
    ],
)
def test_every_line_ends_as_a_sentence_does(toml: str) -> None:
    for line in refusal(toml).splitlines():
        assert line.endswith((".", "?", ":"))
        assert not line.endswith(("..", "?."))


# Replacing values


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("optimizer.lr", "0.2", 0.2),
        ("optimizer.lr", "1", 1.0),
        ("optimizer.lr", "5e-3", 0.005),
        ("training.batch_size", "64", 64),
        ("training.epochs", "5", 5.0),
        ("validation.size", "5000", 5000),
        ("validation.size", "0.25", 0.25),
        ("runtime.tensorboard", "false", False),
        ("optimizer.name", "adam", "adam"),
        ("optimizer.name", '"adam"', "adam"),
        ("data.source", "/a path/with spaces", "/a path/with spaces"),
        ("data.source", '"cifar100"', "cifar100"),
        ("data.source", "'odd", "'odd"),
        ("data.source", "7", "7"),
        ("data.image_size", "64", 64),
        ("data.image_size", "none", None),
        ("model.weights", "none", None),
        ("model.weights", "a.safetensors", "a.safetensors"),
        ("model.freeze", "none", "none"),
        ("schedule.warmup", "5 epochs", "5 epochs"),
        ("schedule.milestones", '["50 %", "75 %"]', ("50 %", "75 %")),
        ("training.class_weights", "balanced", "balanced"),
        ("training.class_weights", "[1.0, 2]", (1.0, 2.0)),
        ("description", "a = b", "a = b"),
        ("name", "other", "other"),
    ],
)
def test_override_types_the_text_by_its_field(recipe: Recipe, path: str, text: str, value: object) -> None:
    changed = override(recipe, path, text)
    section, _, key = path.rpartition(".")
    found = getattr(getattr(changed, section), key) if section else getattr(changed, key)
    assert found == value
    assert type(found) is type(value)


def test_override_leaves_the_recipe_and_every_other_value_alone(recipe: Recipe) -> None:
    before = flatten(recipe)
    changed = flatten(override(recipe, "optimizer.lr", "0.3"))
    assert flatten(recipe) == before
    assert {path for path in before if before[path] != changed[path]} == {"optimizer.lr"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("optimizer.lr", "fast"),
        ("optimizer.lr", ""),
        ("optimizer.lr", "none"),
        ("optimizer.lr", "0.1\nmomentum = 0.5"),
        ("optimizer.lr", "9" * 5000),
        ("optimizer.lr", "[" * 5000),
        ("optimizer.lr", "nan"),
        ("training.batch_size", "32.0"),
        ("runtime.tensorboard", "False"),
        ("schedule.warmup", "5"),
        ("schedule.warmup", "99 epochs"),
        ("format", "2"),
    ],
)
def test_override_refuses_what_the_field_does(recipe: Recipe, path: str, text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, path, text)
    assert path in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("lr", "optimizer.lr"),
        ("optimizer.lrr", "lr"),
        ("optimiser.lr", "optimizer.lr"),
        ("optimizer", "optimizer.momentum"),
        ("", "optimizer"),
        (".", "optimizer"),
        ("optimizer.lr.x", "optimizer"),
        ("__class__", "Known"),
    ],
)
def test_override_of_an_unknown_path_says_what_there_is(recipe: Recipe, path: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(recipe, path, "1")
    assert hint in str(caught.value)


@pytest.mark.parametrize("path", ["reference.title", "reference.url", "reference.reported_accuracy"])
def test_override_below_a_section_that_is_unset_says_so(recipe: Recipe, path: str) -> None:
    with pytest.raises(RecipeError, match=r"has no \[reference\]"):
        override(recipe, path, "none")


def test_override_below_a_section_that_is_set(recipe: Recipe) -> None:
    cited = recipe.model_copy(update={"reference": ReferenceSpec(title="a")})
    reference = override(cited, "reference.reported_accuracy", "0.9").reference
    assert reference == ReferenceSpec(title="a", reported_accuracy=0.9)


def test_c07_of_two_assignments_the_later_one_wins(recipe: Recipe) -> None:
    changed = recipe.set("optimizer.lr=0.2", "training.epochs = 3", "optimizer.lr=0.3")
    assert (changed.optimizer.lr, changed.training.epochs) == (0.3, 3)


def test_an_assignment_may_hold_more_equals_signs(recipe: Recipe) -> None:
    assert recipe.set("description=a=b").description == "a=b"


@pytest.mark.parametrize("assignment", ["optimizer.lr", "", {"optimizer.lr": 0.2}, 3])
def test_an_assignment_without_an_equals_sign_is_shown_how(recipe: Recipe, assignment: object) -> None:
    with pytest.raises(RecipeError, match=r"for example optimizer\.lr=0\.2, not") as caught:
        recipe.set(assignment)
    assert repr(assignment) in str(caught.value)


def test_set_makes_a_new_recipe_and_nothing_makes_an_equal_one(recipe: Recipe) -> None:
    before = recipe.model_dump()
    assert recipe.set("training.seed=7").training.seed == 7
    assert recipe.model_dump() == before and recipe.set() == recipe


@pytest.mark.parametrize(
    "assignments", [["optimiser.lr=1"], ["optimizer.lr=fast"], ["lr=0.1"], ["training.epochs=1", "x"], ["name=a b"]]
)
def test_set_explains_mistakes_in_the_words_of_the_command(
    assignments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quick").set(*assignments)
    assert main.run(["train", "quick", *(f"--set={each}" for each in assignments)]) == 2
    assert capsys.readouterr().err == f"error: {caught.value}\n"


def test_a_key_that_a_section_does_not_have_is_looked_for_among_its_own() -> None:
    with pytest.raises(RecipeError, match=r"Unknown key 'layuot'\. Did you mean layout"):
        section_from(DataSpec, {"layuot": "auto"}, "data")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[training]\nepochs = 0\n", "  training.epochs = 0：应大于 0。"),
        ('[optimizer]\nname = "adan"\n', "  optimizer.name = 'adan'：应为 'sgd', 'adam', 'adamw' 或 'muon'。"),
        ('[training]\nclass_weights = "even"\n', "应为 'none' 或 'balanced'，或为列表。"),
        ("[validation]\nsize = 1.5\n", "  validation.size = 1.5：应为整数，或小于 1。"),
        ('[schedule]\nwarmup = "5"\n', '时长应写作 "5 epochs"、"100 steps" 或 "10 %"，而不是 \'5\'。'),
        ('[schedule]\nname = "multistep"\n', "  使用 multistep 时，须设 schedule.milestones。"),
        ("[optimizer]\nlrr = 1\n", "  [optimizer] 中没有 'lrr' 这个键。是不是想用 lr？"),
        ("[training]\nlr = 1\n", "  没有 'training.lr' 这个键。是不是想用 optimizer.lr？"),
        ("[training]\nepochs =\n", "my.toml 不是有效的 TOML：值无效（第 5 行第 9 列）。"),
        ("training = 3\n", "my.toml 不能使用：\n  [model] 中没有 'training' 这个键。"),
    ],
)
def test_a_mistake_is_told_in_chinese(toml: str, said: str) -> None:
    speak("zh")
    try:
        assert said in refusal(MINIMAL + toml)
    finally:
        speak("en")


# There and back


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type that lie in its usual range."""
    text = str(annotation)
    if "Literal" in text and "tuple" not in text:
        return st.sampled_from([value for value in typing.get_args(annotation) if value is not type(None)])
    if annotation is bool:
        return st.booleans()
    if "int" in text and "float" not in text:
        return st.integers(8, 64)
    if "tuple" in text:
        return st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple)
    if "float" in text:
        return st.floats(0.05, 0.45)
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def allowed(path: str, annotation: Any) -> st.SearchStrategy[Any]:
    fixed: dict[str, st.SearchStrategy[Any]] = {
        "format": st.just(FORMAT),
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
        "data.columns": st.sampled_from(["", "image=a", "image=a,label=b,split="]),
        "data.split_names": st.sampled_from(["", "train=a", "train=a,val="]),
        "data.class_names": st.sampled_from(["", "a", 'a,"b, c"']),
        "data.white_level": st.integers(256, 65535),
        "schedule.warmup": st.just("1 %"),
        "training.full_size_from": st.sampled_from(["60 %", "3 epochs", "0 steps"]),
        "training.start_size": st.sampled_from([None, 8]),
        "training.hard_share": st.just(1.0),  # less excludes mixed images
        "training.hard_from": st.sampled_from(["50 %", "2 epochs", "0 steps"]),
        "schedule.every": st.sampled_from(["2 epochs", "30 steps"]),
        "schedule.peak": st.just("40 %"),
        "schedule.milestones": st.just(("1 epoch", "70 %")),
        "averaging.start": st.just("3 steps"),
        "model.pretrained": st.just(False),
        "model.unfreeze_epoch": st.none(),
        "stopping.patience": st.just(0),
        "optimizer.nesterov": st.just(False),
    }
    return fixed[path] if path in fixed else values_of(annotation)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Recipes in which every field is drawn."""
    values: dict[str, Any] = {}
    for path, (annotation, _) in recipe_fields().items():
        section, _, key = path.rpartition(".")
        target = values.setdefault(section, {}) if section else values
        target[key] = draw(allowed(path, annotation))
    return recipe_from(values)


@given(recipes())
@settings(max_examples=60, deadline=None)
def test_a_recipe_survives_being_written_and_read(recipe: Recipe) -> None:
    assert parse_recipe(to_toml(recipe)) == recipe


@given(recipes())
@settings(max_examples=20, deadline=None)
def test_overriding_every_field_with_its_own_value_changes_nothing(recipe: Recipe) -> None:
    for path, value in flatten(recipe).items():
        if isinstance(value, str | tuple) or value is None:
            continue  # text stands as it is, and lists are written in more than one way
        assert override(recipe, path, str(value).lower()) == recipe


def test_to_toml_is_complete(recipe: Recipe) -> None:
    text = to_toml(recipe)
    for path, value in flatten(recipe).items():
        assert value is None or path.rpartition(".")[2] in text


def test_an_unset_reference_stays_unset() -> None:
    recipe = Recipe(name="try", model=ModelSpec(name="m"))
    assert "[reference]" not in to_toml(recipe)
    assert parse_recipe(to_toml(recipe)).reference is None


def test_flatten_names_every_field_of_a_recipe_with_a_reference(recipe: Recipe) -> None:
    cited = recipe.model_copy(update={"reference": ReferenceSpec(title="a")})
    assert set(flatten(cited)) == set(recipe_fields())


@pytest.mark.parametrize("path", recipe_fields())
def test_the_type_of_every_field_can_be_checked_alone(path: str) -> None:
    annotation, _ = recipe_fields()[path]
    assert TypeAdapter(annotation).json_schema()
