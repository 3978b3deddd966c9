"""How the run learned: curves that show over-fitting, and a sentence that says whether they do."""

from __future__ import annotations

import math

from markupsafe import Markup

from cifarlab.drawing.charts.description import Figure, LineChart, Mark, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Section, heading, paragraph, side_by_side
from cifarlab.drawing.wording import percent, with_interval
from cifarlab.evaluation.statistics import wilson
from cifarlab.pages.report.material import Material
from cifarlab.pages.report.phases import phases

RISEN = 1.05
"""A validation loss this far above its lowest counts as over-fitting, not as noise."""


def learning(material: Material) -> Section | None:
    """Loss, accuracy and learning rate over epochs; nothing without an epoch."""
    if not material.rows:
        return None
    marks = marked_epochs(material)
    rate = [Series("learning rate", points(material, "lr"), 6)]
    curves = [
        LineChart("Loss", "epoch", "cross-entropy", _pair(material, "loss"), marks),
        LineChart("Accuracy", "epoch", "accuracy", _pair(material, "accuracy"), marks, percent=True),
        LineChart("Learning rate", "epoch", "learning rate", rate, marks, from_zero=True),
    ]
    sentences = [over_fitting(material), *(phase.sentence for phase in phases(material))]
    finding = Markup("<div>{}{}</div>").format(
        heading("What they say"), Markup("").join(paragraph(sentence) for sentence in sentences)
    )
    note = "Train values are means over the epoch, on augmented images and while the weights still changed."
    return Section(
        "Learning curves", side_by_side(*map(to_svg, curves), finding), note, figures=[Figure("curves", curves)]
    )


def marked_epochs(material: Material) -> list[Mark]:
    """Epochs to point out: where the training changed, which was kept, where early stopping or the clock ended it."""
    marks = [Mark(float(phase.epoch), phase.name) for phase in phases(material)]
    best = material.facts.best_epoch
    if best is not None and 0 <= best <= _last_epoch(material):
        marks.append(Mark(float(best), f"best, epoch {best}"))
    if material.facts.ending not in ("", "all epochs done"):
        marks.append(Mark(_last_epoch(material), material.facts.ending[:40]))
    return marks


def over_fitting(material: Material) -> str:
    """Say in a sentence or two what the validation curve says."""
    losses = dict(points(material, "val/loss"))
    if not losses:
        return "Nothing was validated, so the curves cannot show over-fitting."
    lowest = min(losses, key=lambda epoch: losses[epoch])
    last = max(losses)
    if len(losses) < 3:
        text = "Too few epochs were validated to see over-fitting."
    elif losses[last] > RISEN * losses[lowest]:
        rise = losses[last] / losses[lowest] - 1
        text = (
            f"Over-fitting: the validation loss was lowest in epoch {lowest:g} and rose by {percent(rise, 0)} until "
            f"epoch {last:g}, while the network went on learning its training images by heart."
        )
    elif last - lowest <= 0.1 * last:
        text = "No over-fitting: the validation loss was still at its lowest when training ended. More epochs may help."
    else:
        text = f"No clear over-fitting: the validation loss has hardly changed since epoch {lowest:g}."
    return f"{text}{_gap(material)}"


def points(material: Material, column: str) -> list[tuple[float, float]]:
    """A column of metrics.csv over epochs, what is missing or not finite left out."""
    return [
        (float(row["epoch"] or 0), float(value))
        for row in material.rows
        if (value := row[column]) is not None and math.isfinite(value)
    ]


def _gap(material: Material) -> str:
    """Train and validation accuracy of the kept epoch, side by side."""
    best = material.facts.best_epoch
    train, val = (dict(points(material, f"{split}/accuracy")) for split in ("train", "val"))
    if best is None or best not in train or best not in val:
        return ""
    counted, num_val = dict(points(material, "train/images")).get(best, 0), material.facts.data.num_val
    right = f"{_share(train[best], round(counted))} of train and {_share(val[best], num_val)} of validation were right"
    return f" In epoch {best}, which was kept, {right}."


def _share(share: float, num_images: int) -> str:
    """A fraction of some images with its interval, where their number is known."""
    return with_interval(share, wilson(round(share * num_images), num_images)) if num_images else percent(share)


def _pair(material: Material, name: str) -> list[Series]:
    train = Series("train", points(material, f"train/{name}"), 0, dashed=True)
    val = Series("validation", points(material, f"val/{name}"), 1)
    return [train, val] if val.points else [train]


def _last_epoch(material: Material) -> float:
    return max((float(row["epoch"] or 0) for row in material.rows), default=0.0)
