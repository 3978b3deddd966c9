"""The learning-rate range test: raise the rate step by step and watch the loss."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifarlab.console import progress
from cifarlab.drawing.charts.description import LineChart, Mark, Series
from cifarlab.drawing.charts.png import write_png
from cifarlab.errors import UsageError
from cifarlab.files import write_atomic
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.sources import open_source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.language import in_english, ntr, tr
from cifarlab.recipe.duration import training_steps
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import RANGE_TEST
from cifarlab.training.loop import choose_images, set_frozen
from cifarlab.training.optim import build
from cifarlab.training.schedules import image_size
from cifarlab.training.train import hard_examples, make_card, make_step

SMOOTHING = 0.9
"""Weight of the previous average of the loss at each step: about the last 10 losses count."""
FEWEST_STEPS = 10
"""Steps before the average of the loss is steady enough to be read."""
DIVERGED = 4.0
"""The test ends when the smoothed loss is this many times its lowest value."""
FALLEN = 0.95
"""The network has learnt something when the loss falls below this share of where it began."""
MARGIN = 10.0
"""The suggestion is this many times below the rate with the lowest loss.

At the lowest loss training is about to diverge; at a tenth of that rate the loss falls fast and steadily. The rule is
that of the fast.ai course (Howard and Gugger, 2018) for the test of Smith (2017).
"""


@dataclass(frozen=True)
class RangeTest:
    """The rate, the loss of the batch and the smoothed loss of every step; and the suggestion."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    lowest: float
    """The rate with the lowest smoothed loss."""
    steepest: float | None
    """The rate at which the smoothed loss falls fastest; None when it hardly falls, as that would be noise."""

    @property
    def reason(self) -> str:
        """Why this rate is suggested, or none is."""
        if self.suggestion is None:
            return tr(
                "The loss hardly fell between {low:.2g} and {high:.2g}, so nothing can be suggested: "
                "give it more --steps or another range.",
                low=self.lrs[0],
                high=self.lrs[-1],
            )
        if self.lowest == self.lrs[-1]:
            return tr(
                "The loss still falls at {lr:.2g}, the end of the range; a tenth of that is safe, "
                "and a larger --end may allow more.",
                lr=self.lowest,
            )
        return tr(
            "The smoothed loss is lowest at {lr:.2g} and rises beyond; a tenth of that is far enough from where "
            "training diverges.",
            lr=self.lowest,
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields and the reason as JSON values."""
        with in_english():
            return {**asdict(self), "reason": self.reason}


def lr_find(
    recipe: Recipe, *, start: float = 1e-6, end: float = 10.0, steps: int = 100, data_dir: Path | None = None
) -> RangeTest:
    """Train a recipe for `steps` batches while the rate rises by equal factors from `start` to `end`.

    The rate replaces optimizer.lr and its schedule; everything else is as in the first `steps` of training, growing
    images and hard examples included. The network is thrown away, and neither the validation nor the test split is
    looked at. Smith (2017), https://arxiv.org/abs/1506.01186.
    Raises UsageError for an empty range or too few steps.
    """
    if not 0 < start < end or not math.isfinite(end) or steps < FEWEST_STEPS:
        raise UsageError(tr("A range test needs 0 < start < end and at least {n} steps.", n=FEWEST_STEPS))
    # val is held out as in training, so that the rate is found on the images that it is for
    images, _ = load_train_and_val(open_source(recipe.data, data_dir), recipe.validation)
    runtime = choose_runtime(recipe.runtime)
    lrs: list[float] = []
    losses: list[float] = []
    with runtime.in_use(), progress(tr("Raising the learning rate"), steps, tr("steps")) as advance:
        card = make_card(recipe, images)
        loader, step = make_step(recipe, runtime, card, images)
        total_steps, hard = training_steps(recipe.training.epochs, len(loader)), hard_examples(recipe, loader)
        for number in range(steps):
            if number % len(loader) == 0:
                set_frozen(recipe, step.model, number // len(loader))
                choose_images(recipe, loader, hard, number, total_steps)
            # by equal factors, since it is the order of magnitude that is looked for
            lr = start * (end / start) ** (number / (steps - 1))
            build.set_lr(step.optimizer, lr)
            batch = loader.batch(number)
            size = image_size(recipe.training, card.input_size, number, len(loader), total_steps)
            outcome = step(number, batch, size)
            if hard:
                hard.record(batch.indices, outcome.losses)
            loss = float(outcome.loss)  # waits for the device, as every loss may be the last
            if not math.isfinite(loss):
                break  # expected at some rate: the end of the test, not an error
            lrs.append(lr)
            losses.append(loss)
            advance(1, (1, f"lr {lr:.2g}"), (2, tr("loss {number}", number=f"{loss:.3f}")))
            smoothed = smooth(losses)
            if len(losses) >= FEWEST_STEPS and smoothed[-1] > DIVERGED * min(smoothed):
                break  # higher rates would only stretch the chart
    return read_range_test(lrs, losses)


def read_range_test(lrs: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """Read a range test; raises UsageError when the loss was not finite from the first steps on."""
    if len(losses) < FEWEST_STEPS:
        raise UsageError(
            ntr(
                "The loss was not finite after {n} step. Begin with a lower rate: --start.",
                "The loss was not finite after {n} steps. Begin with a lower rate: --start.",
                len(losses),
                n=len(losses),
            )
        )
    smoothed = smooth(losses)  # single batches are too noisy to find a minimum in
    low = min(range(len(smoothed)), key=smoothed.__getitem__)
    # where the loss hardly fell, any rate would be a guess
    suggestion = lrs[low] / MARGIN if smoothed[low] <= FALLEN * smoothed[0] else None
    steepest = None
    if suggestion is not None:
        # on the way down, per factor of the rate; without the first steps, whose average is still noisy
        places = range(min(FEWEST_STEPS, max(low - 1, 0)), max(low, 1))
        slopes = {
            place: (smoothed[place + 1] - smoothed[place]) / math.log(lrs[place + 1] / lrs[place]) for place in places
        }
        steepest = lrs[min(slopes, key=slopes.__getitem__)]
    return RangeTest(tuple(lrs), tuple(losses), tuple(smoothed), suggestion, lrs[low], steepest)


def smooth(values: Sequence[float]) -> list[float]:
    """The exponential moving average with bias correction (Kingma and Ba, 2015, section 3)."""
    # Started at 0, the average of n values has weights that sum up to 1 - SMOOTHINGⁿ, not 1. Uncorrected, the first
    # losses would look ten times too small, and the lowest would always be the first.
    average, found = 0.0, []
    for number, value in enumerate(values, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        found.append(average / (1 - SMOOTHING**number))
    return found


def write_range_test(found: RangeTest, recipe: Recipe, out: Path) -> Run:
    """Leave a folder with the recipe, lr-find.csv, lr-find.json and figures/lr-find.png."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["lr", "loss", "smoothed"])
    writer.writerows(zip(found.lrs, found.losses, found.smoothed, strict=True))
    with Run.new(out, f"{recipe.name[:56]}-lr-find", recipe, study=RANGE_TEST, plan=found.to_dict()) as run:
        write_atomic(run.path / "lr-find.csv", table.getvalue())
        write_png([range_chart(found)], run.figure("lr-find"))
    return run


def range_chart(found: RangeTest) -> LineChart:
    """Describe the loss over the rising learning rate: single batches, their smoothed mean, and the rates found."""
    marks = []
    if found.suggestion is not None:
        marks.append(Mark(found.suggestion, tr("suggested: {lr:.2g}", lr=found.suggestion)))
        marks.append(Mark(found.lowest, tr("lowest loss: {lr:.2g}", lr=found.lowest)))
    low, high = min(found.smoothed), max(found.smoothed[0], min(found.smoothed))
    fall = high - low or 1  # from where the loss begins; when it diverges, it rises far above that
    return LineChart(
        tr("Loss over a rising learning rate"), tr("learning rate"), tr("loss"),
        [
            Series(tr("batches"), list(zip(found.lrs, found.losses, strict=True)), 6, scattered=True),
            Series(tr("smoothed"), list(zip(found.lrs, found.smoothed, strict=True))),
        ],
        marks, x_log=True, y_limits=(low - 0.15 * fall, high + 0.6 * fall),
    )  # fmt: skip
