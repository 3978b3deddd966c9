"""Where a training changed its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cifarlab.pages.report.learning import marked_epochs, phases
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DataFacts, Manifest
from cifarlab.runs.metrics import COLUMNS, Row

GROWING = ("training.epochs=10", "training.start_size=16", "training.full_size_from=70 %")
HARD = ("training.hard_share=0.5", "training.hard_from=40 %")


def material(*changes: str, num_epochs: int = 10, steps_per_epoch: int = 20) -> Material:
    recipe = load_recipe("quick").set("training.epochs=10", *changes)
    rows: list[Row] = [
        {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, "step": epoch * steps_per_epoch}
        for epoch in range(1, num_epochs + 1)
    ]
    return with_rows(recipe, rows)


def with_rows(recipe: Recipe | None, rows: list[Row]) -> Material:
    return Material(Run(Path("r")), recipe, Manifest(), rows, [], None, ())


@pytest.mark.parametrize(
    ("hard_from", "epoch"),
    [("40 %", 5), ("41 %", 6), ("3 epochs", 4), ("61 steps", 5), ("0 %", 2)],
    ids=str,
)
def test_hard_images_are_drawn_from_the_next_whole_epoch_on(hard_from: str, epoch: int) -> None:
    (found,) = phases(material("training.hard_share=0.3", f"training.hard_from={hard_from}"))
    assert found.epoch == epoch
    assert found.sentence.startswith(f"From epoch {epoch} on, only the 30 % of the training images")


@pytest.mark.parametrize(("full_size_from", "epoch"), [("70 %", 8), ("69 %", 7), ("30 steps", 2)], ids=str)
def test_images_have_their_full_size_from_the_middle_of_an_epoch_on(full_size_from: str, epoch: int) -> None:
    (found,) = phases(material("training.start_size=16", f"training.full_size_from={full_size_from}"))
    assert found.epoch == epoch
    assert found.sentence.startswith(
        f"Images grew from 16 pixels to their full size, which they had from epoch {epoch} "
    )


def test_phases_come_in_order_and_are_marked_on_the_curves() -> None:
    both = material(*GROWING, *HARD)
    assert [phase.epoch for phase in phases(both)] == [5, 8]
    assert marked_epochs(both) == [(5.0, "hard images, epoch 5"), (8.0, "full size, epoch 8")]


@pytest.mark.parametrize(("size", "told"), [([], True), ([17, 17], True), ([16, 16], False)], ids=str)
def test_images_that_begin_with_their_full_size_do_not_grow(size: list[int], told: bool) -> None:
    growing = material(*GROWING)
    facts = Manifest(data=DataFacts(image_size=size))
    assert bool(phases(replace(growing, facts=facts))) == told


def test_a_size_that_the_recipe_names_goes_before_that_of_the_files() -> None:
    facts = Manifest(data=DataFacts(image_size=[64, 64]))
    assert not phases(replace(material(*GROWING, "data.image_size=16"), facts=facts))


def test_what_a_stopped_run_never_came_to_is_not_told() -> None:
    assert [phase.epoch for phase in phases(material(*GROWING, *HARD, num_epochs=7))] == [5]
    assert phases(material(*GROWING, *HARD, num_epochs=4)) == []


def test_a_plain_training_has_no_phases() -> None:
    assert phases(material()) == []


def test_files_that_do_not_tell_give_none() -> None:
    whole = material(*GROWING, *HARD)
    assert phases(with_rows(None, whole.rows)) == []
    assert phases(with_rows(whole.recipe, [])) == []
    assert phases(with_rows(whole.recipe, whole.rows[1:])) == [], "the first row tells the steps of an epoch"
    assert phases(with_rows(whole.recipe, [{**row, "step": None} for row in whole.rows])) == []
