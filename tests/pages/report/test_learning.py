"""What the curves are said to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cifarlab.drawing.wording import with_interval
from cifarlab.evaluation.statistics import wilson
from cifarlab.pages.report.learning import learning, marked_epochs, over_fitting
from cifarlab.pages.report.material import Material
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DataFacts, Manifest
from cifarlab.runs.metrics import COLUMNS


def material(losses: list[float | None], best_epoch: int | None = None, ending: str = "all epochs done") -> Material:
    rows = [
        {**dict.fromkeys(COLUMNS, 0.5), "epoch": epoch, "val/loss": loss, "val/accuracy": loss and 1 - loss / 4}
        for epoch, loss in enumerate(losses, start=1)
    ]
    facts = Manifest(best_epoch=best_epoch, ending=ending)
    return Material(Run(Path("r")), None, facts, rows, [], None, ())


@pytest.mark.parametrize(
    ("losses", "beginning"),
    [
        ([1.0, 0.5, 0.8], "Over-fitting: the validation loss was lowest in epoch 2 and rose by 60 % until epoch 3"),
        ([1.0, 0.5, 0.52], "The validation loss has hardly changed since epoch 2"),
        ([1.0, 0.8, 0.5], "The validation loss was still at its lowest when training ended"),
        ([1.0, None, 0.5, None, 0.9], "Over-fitting: the validation loss was lowest in epoch 3"),
        ([1.0, 2.0], "Too few epochs"),
        ([None, None], "Nothing was validated"),
        ([float("nan")] * 3, "Nothing was validated"),
    ],
)
def test_over_fitting_is_named(losses: list[float | None], beginning: str) -> None:
    assert over_fitting(material(losses)).startswith(beginning)


def test_the_kept_epoch_is_told_with_both_accuracies() -> None:
    text = over_fitting(material([1.0, 0.4, 0.5], best_epoch=2))
    shares = "50.0 % of train and 90.0 % of validation"
    assert text.endswith(f"In the selected epoch (2), {shares} were classified correctly.")


def test_n39_the_accuracies_have_the_intervals_of_the_images_that_were_counted() -> None:
    found = material([1.0, 0.4, 0.5], best_epoch=2)
    rows = [{**row, "train/images": 128} for row in found.rows]
    facts = found.facts.model_copy(update={"data": DataFacts(num_val=50)})
    train, val = (with_interval(share, wilson(right, num)) for share, right, num in ((0.5, 64, 128), (0.9, 45, 50)))
    text = over_fitting(replace(found, rows=rows, facts=facts))
    assert f"{train} of train and {val} of validation were classified correctly" in text


def test_the_kept_epoch_and_an_early_end_are_marked() -> None:
    assert marked_epochs(material([1.0] * 9, 4, "early stopping")) == [(4.0, "best, epoch 4"), (9.0, "early stopping")]
    assert marked_epochs(material([1.0] * 9, 4)) == [(4.0, "best, epoch 4")]
    assert marked_epochs(material([1.0] * 9, 40, "")) == [], "no such epoch"


def test_without_epochs_there_are_no_curves() -> None:
    assert learning(material([])) is None
