"""How the run learned: curves, a sentence on whether they show over-fitting, and one on each jump that is no fault."""

from __future__ import annotations

import math
from typing import NamedTuple

from markupsafe import Markup

from cifarlab.drawing.charts.description import Figure, LineChart, Mark, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Section, heading, paragraph, side_by_side
from cifarlab.drawing.wording import percent, with_interval
from cifarlab.evaluation.statistics import wilson
from cifarlab.language import in_a_row, tr
from cifarlab.pages.report.material import Material
from cifarlab.recipe.duration import duration_steps, training_steps
from cifarlab.training.schedules import first_hard_step

RISEN = 1.05
"""A validation loss that ends this many times above its lowest counts as over-fitting, not as noise."""


class Phase(NamedTuple):
    """A change of the training itself, from this epoch on: its name on a chart, and a sentence for the reader."""

    epoch: int
    name: str
    sentence: str


def learning(material: Material) -> Section | None:
    """Loss, accuracy and learning rate over epochs; None for a run without an epoch."""
    if not material.rows:
        return None
    marks = marked_epochs(material)
    epoch, rate = tr("epoch"), tr("learning rate")
    rates = [Series(rate, points(material, "lr"), 6)]
    curves = [
        LineChart(tr("Loss"), epoch, tr("cross-entropy"), _pair(material, "loss"), marks),
        LineChart(tr("Accuracy"), epoch, tr("accuracy"), _pair(material, "accuracy"), marks, percent=True),
        LineChart(tr("Learning rate"), epoch, rate, rates, marks, from_zero=True),
    ]
    sentences = [over_fitting(material), *(phase.sentence for phase in phases(material))]
    finding = Markup("<div>{}{}</div>").format(
        heading(tr("Interpretation")), Markup("").join(paragraph(sentence) for sentence in sentences)
    )
    note = tr("Train values are means over the epoch, on augmented images and while the weights still changed.")
    return Section(
        tr("Learning curves"), side_by_side(*map(to_svg, curves), finding), note, figures=[Figure("curves", curves)]
    )


def marked_epochs(material: Material) -> list[Mark]:
    """Epochs to point out: where the training changed, which was kept, where early stopping or the clock ended it."""
    marks = [Mark(float(phase.epoch), phase.name) for phase in phases(material)]
    best = material.facts.best_epoch
    if best is not None and 0 <= best <= _last_epoch(material):
        marks.append(Mark(float(best), tr("best, epoch {n}", n=best)))
    if material.facts.ending not in ("", "all epochs done"):
        marks.append(Mark(_last_epoch(material), material.facts.ending_text[:40]))
    return marks


def over_fitting(material: Material) -> str:
    """Say in a sentence or two what the validation curve shows."""
    losses = dict(points(material, "val/loss"))
    if not losses:
        return tr("Nothing was validated, so the curves cannot show over-fitting.")
    lowest = min(losses, key=lambda epoch: losses[epoch])
    last = max(losses)
    if len(losses) < 3:
        text = tr("Too few epochs were validated to detect over-fitting.")
    elif losses[last] > RISEN * losses[lowest]:
        rise = losses[last] / losses[lowest] - 1
        text = tr(
            "Over-fitting: the validation loss was lowest in epoch {lowest:g} and rose by {rise} until epoch {last:g}, "
            "while the network went on memorising its training images.",
            lowest=lowest,
            rise=percent(rise, 0),
            last=last,
        )
    elif is_still_improving(material):
        text = tr("The validation loss was still at its lowest when training ended: more epochs may help.")
    else:
        text = tr("The validation loss has hardly changed since epoch {n:g}: more epochs would hardly help.", n=lowest)

    best, num_val = material.facts.best_epoch, material.facts.data.num_val
    train, val = (dict(points(material, f"{split}/accuracy")) for split in ("train", "val"))
    if best is None or best not in train or best not in val:
        return text
    # an epoch of training images is counted on its own: hard-example mining and a dropped last batch make it shorter
    num_train = round(dict(points(material, "train/images")).get(best, 0))
    selected = tr(
        "In the selected epoch ({n}), {train} of train and {val} of validation were classified correctly.",
        n=best,
        train=_share(train[best], num_train),
        val=_share(val[best], num_val),
    )
    return in_a_row([text, selected])


def is_still_improving(material: Material) -> bool:
    """Whether the validation loss was lowest in the last tenth of the epochs, so that its minimum may lie ahead."""
    losses = dict(points(material, "val/loss"))
    if len(losses) < 3:
        return False
    lowest, last = min(losses, key=lambda epoch: losses[epoch]), max(losses)
    return last - lowest <= 0.1 * last and losses[last] <= RISEN * losses[lowest]


def points(material: Material, column: str) -> list[tuple[float, float]]:
    """A column of metrics.csv over epochs, without values that are missing or not finite."""
    # validation.every leaves epochs without validation: the line connects the others, because a 0 would look like a
    # collapse and a repeated value like a plateau
    return [
        (float(row["epoch"] or 0), float(value))
        for row in material.rows
        if (value := row[column]) is not None and math.isfinite(value)
    ]


def phases(material: Material) -> list[Phase]:
    """The changes of the training that a run came to, in the order of epochs; none where its files do not tell.

    They explain jumps in the curves that would otherwise be taken for a fault of the network.
    """
    if material.recipe is None or not material.rows:
        return []
    training, first, last = material.recipe.training, material.rows[0], material.rows[-1]
    if first["epoch"] != 1 or not first["step"]:
        return []  # the first row tells how many steps an epoch has
    steps_per_epoch = int(first["step"])
    steps = (steps_per_epoch, training_steps(training.epochs, steps_per_epoch))
    found = []

    full_size = material.recipe.data.image_size or max(material.facts.data.image_size, default=math.inf)
    if training.start_size is not None and training.start_size < full_size:
        # sizes change within an epoch, so the epoch of the change already ends at full size
        epoch = duration_steps(training.full_size_from, *steps) // steps_per_epoch + 1
        sentence = tr(
            "Images grew from {size} pixels to their full size, which they had from epoch {n} on. Validation always "
            "uses the full size, so its earlier values understate the network.",
            size=training.start_size,
            n=epoch,
        )
        found.append(Phase(epoch, tr("full size, epoch {n}", n=epoch), sentence))
    if training.hard_share < 1:
        epoch = first_hard_step(training, *steps) // steps_per_epoch + 1
        sentence = tr(
            "From epoch {n} on, only the {share} of the training images with the highest losses were used: the train "
            "curves jump there, and from then on they describe hard images alone.",
            n=epoch,
            share=percent(training.hard_share, 0),
        )
        found.append(Phase(epoch, tr("hard images, epoch {n}", n=epoch), sentence))
    # epoch 1 changes nothing, and a run that was stopped never came to the later ones
    return sorted(phase for phase in found if 1 < phase.epoch <= (last["epoch"] or 0))


def _share(share: float, num_images: int) -> str:
    """A fraction of some images with its interval, where their number is known."""
    return with_interval(share, wilson(round(share * num_images), num_images)) if num_images else percent(share)


def _pair(material: Material, name: str) -> list[Series]:
    # dashed: the train curve is measured on other, augmented images, so only its shape compares with the solid line
    train = Series(tr("train"), points(material, f"train/{name}"), 0, dashed=True)
    val = Series(tr("validation"), points(material, f"val/{name}"), 1)
    return [train, val] if val.points else [train]


def _last_epoch(material: Material) -> float:
    return max((float(row["epoch"] or 0) for row in material.rows), default=0.0)
