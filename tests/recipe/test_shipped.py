"""Every recipe that ships: complete, cited, and the same after a trip through its file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from cifarlab.images.images import Images
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe import toml
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, parse_recipe, recipe_names, to_toml
from cifarlab.runs.folder import Run
from cifarlab.training.optim import build
from cifarlab.training.train import make_card, make_step, prepare

FOLDER = Path(toml.__file__).parent / "shipped"


@pytest.fixture(params=recipe_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return load_recipe(name)


def test_the_folder_holds_recipes_only() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.toml" for name in recipe_names()}


def test_a_recipe_is_called_as_its_file_is(name: str, recipe: Recipe) -> None:
    assert recipe.name == name


def test_a_recipe_describes_and_cites_itself(recipe: Recipe) -> None:
    assert 10 < len(recipe.description) <= 100
    assert "\n" not in recipe.description
    assert not recipe.description.endswith(".")
    assert recipe.reference is not None
    assert recipe.reference.title
    assert recipe.reference.differences.endswith(".")
    assert "\n" not in recipe.reference.differences


def test_a_recipe_says_only_what_differs_from_the_defaults(name: str) -> None:
    written = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    for section, values in written.items():
        if not isinstance(values, dict) or section in {"model", "reference"}:
            continue
        default = Recipe.model_fields[section].get_default(call_default_factory=True)
        same = [key for key, value in values.items() if getattr(default, key) == value]
        assert not same, f"[{section}] {same}"


def test_a_recipe_is_commented(name: str) -> None:
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    assert text.startswith("# ")
    assert max(len(line) for line in text.splitlines()) <= 120


def test_a_recipe_survives_its_complete_form(recipe: Recipe) -> None:
    assert parse_recipe(to_toml(recipe)) == recipe


def test_a_recipe_chooses_on_validation_and_opens_the_test_split_at_its_end(recipe: Recipe) -> None:
    assert recipe.validation.size > 0
    assert recipe.evaluation.test


def test_a_reported_accuracy_is_a_fraction_better_than_chance(recipe: Recipe) -> None:
    assert recipe.reference is not None
    reported = recipe.reference.reported_accuracy
    assert reported is None or 0.1 < reported < 1


@pytest.mark.filterwarnings("ignore:.*initialization of GoogleNet:FutureWarning")
def test_a_recipe_is_built_and_makes_its_first_step(recipe: Recipe, tmp_path: Path) -> None:
    """On random images: every weight that may learn moves, and the loss is that of a network that knows nothing yet."""
    changes = ["training.batch_size=4", "runtime.device=cpu", "runtime.precision=fp32", "runtime.tensorboard=false"]
    if recipe.model.pretrained:  # the published weights would have to be fetched
        changes.append("model.pretrained=false")
    recipe = recipe.set(*changes)
    rng = np.random.default_rng(0)
    names = tuple("abcdefghij")
    images = Images(rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40, dtype=np.int64) % 10, names)
    runtime = choose_runtime(recipe.runtime)
    card = make_card(recipe, images)
    setup, state = prepare(recipe, Run(tmp_path), runtime, card, *make_step(recipe, runtime, card, images), None)
    before = {name: value.detach().clone() for name, value in state.model.named_parameters() if value.requires_grad}
    state.model.train()
    build.set_lr(state.optimizer, recipe.optimizer.lr)
    loss = setup.step(0, setup.loader.batch(0)).loss
    assert 1.0 < loss.item() < 8.0  # ln 10 is 2.3; batch norm over four images strays from it
    moved = {name for name, value in state.model.named_parameters() if name in before and not value.equal(before[name])}
    assert moved == set(before)
