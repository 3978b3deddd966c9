"""Where the training itself changed, so that a jump in a curve is not taken for a fault of the network."""

from __future__ import annotations

import math
from typing import NamedTuple

from cifarlab.drawing.wording import percent
from cifarlab.pages.report.material import Material
from cifarlab.recipe.duration import duration_steps, training_steps
from cifarlab.recipe.schema import TrainingSpec
from cifarlab.training.schedules import first_hard_step


class Phase(NamedTuple):
    """From this epoch on something is different: in a word for a chart, in a sentence for the reader."""

    epoch: int
    name: str
    sentence: str


def phases(material: Material) -> list[Phase]:
    """The phases that a run came to, in the order of epochs; none where its files do not tell."""
    if material.recipe is None or not material.rows:
        return []
    training, first, last = material.recipe.training, material.rows[0], material.rows[-1]
    if first["epoch"] != 1 or not first["step"]:
        return []
    steps_per_epoch = int(first["step"])
    steps = (steps_per_epoch, training_steps(training.epochs, steps_per_epoch))
    found = (_full_size(material, *steps), _hard_images(training, *steps))
    return sorted(phase for phase in found if phase and 1 < phase.epoch <= (last["epoch"] or 0))


def _full_size(material: Material, steps_per_epoch: int, total_steps: int) -> Phase | None:
    assert material.recipe is not None
    training, stored = material.recipe.training, material.facts.data.image_size
    full_size = material.recipe.data.image_size or max(stored, default=math.inf)
    if training.start_size is None or training.start_size >= full_size:
        return None
    start = duration_steps(training.full_size_from, steps_per_epoch, total_steps)
    epoch = start // steps_per_epoch + 1
    sentence = (
        f"Images grew from {training.start_size} pixels on and had their full size from epoch {epoch} on. Validation "
        "always has the full size, so its values before say less than what the network could do."
    )
    return Phase(epoch, f"full size, epoch {epoch}", sentence)


def _hard_images(training: TrainingSpec, steps_per_epoch: int, total_steps: int) -> Phase | None:
    if training.hard_share == 1:
        return None
    epoch = first_hard_step(training, steps_per_epoch, total_steps) // steps_per_epoch + 1
    sentence = (
        f"From epoch {epoch} on only the {percent(training.hard_share, 0)} of the training images with the highest "
        "losses were drawn: the train curves jump there, and from there on tell of hard images alone."
    )
    return Phase(epoch, f"hard images, epoch {epoch}", sentence)
