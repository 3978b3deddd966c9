"""The training loop: one for every recipe and device.

`fit` alternates `train_epoch` and `close_epoch`. Everything that changes is in the State, which a checkpoint holds;
everything that stays is in the Setup.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.batches.loader import Batch, Loader
from cifarlab.console import Advance, Fact, fitting, log, progress
from cifarlab.drawing.notebook import live_curves
from cifarlab.drawing.wording import percent
from cifarlab.errors import DivergedError, InterruptedRunError
from cifarlab.evaluation import metrics
from cifarlab.evaluation.statistics import wilson
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.language import tr
from cifarlab.machine.contention import Watch
from cifarlab.machine.runtime import Runtime
from cifarlab.models import finetune
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import Metrics, Row
from cifarlab.training import checkpoint
from cifarlab.training.divergence import LOSS, OUTPUT, WEIGHTS, diverged, is_finite
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.optim import build
from cifarlab.training.schedules import first_hard_step, image_size, lr_factor
from cifarlab.training.signals import Signals
from cifarlab.training.state import State, Totals, weights_of
from cifarlab.training.step import Step
from cifarlab.training.stopping import Best
from cifarlab.training.trackers import Tracker

FETCH_EVERY = {"cpu": 1}
"""Steps between fetches of the losses, by kind of device; 50 where none is named.

A GPU works through a queue, and reading a number waits until the queue is empty: fetching each loss would let the
device idle while Python prepares the next step. On a CPU nothing is queued, so the loss is there already.
"""

EPOCH_CHECKPOINT_SECONDS = 10.0
"""An epoch's end writes a checkpoint only when the last one is older than this: short epochs would mostly write."""


@dataclass(frozen=True)
class Setup:
    """Everything about a training that stays the same while it runs."""

    recipe: Recipe
    run: Run
    runtime: Runtime
    card: ModelCard
    loader: Loader
    val: Images | None
    step: Step
    tracker: Tracker
    total_steps: int


@dataclass
class Clock:
    """What only this process knows and no checkpoint needs: times, and results that were not fetched yet."""

    seconds_before: float
    """Spent on this run by earlier processes."""
    # monotonic, since the system clock may be set while a run trains
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    mark: float = field(default_factory=time.monotonic)
    pending: list[tuple[Tensor, Tensor, Batch]] = field(default_factory=list)
    """Loss, number of correct images and batch of each step since the last fetch, still on the device."""
    watch: Watch | None = None
    """Warns when other programs hold the cores of a CPU that trains."""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds of the whole run, earlier processes included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def seconds_since_saving(self) -> float:
        """Seconds since the last checkpoint of this process."""
        return time.monotonic() - self.saved

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.mark = now - self.mark, now
        return seconds


def fit(setup: Setup, state: State, signals: Signals) -> None:
    """Train until all steps are done, patience or time has run out, or a signal came.

    Raises DivergedError for a loss that is not finite and InterruptedRunError after a signal, with the state saved.
    """
    clock = Clock(state.elapsed_seconds)
    if setup.runtime.device.type == "cpu":
        clock.watch = Watch(setup.runtime.threads, clock.started)
    draw = live_curves()
    with progress(setup.recipe.name, setup.total_steps) as advance:
        advance(state.step)  # of a resumed run
        while not state.ending:
            train_epoch(setup, state, clock, signals, advance)
            close_epoch(setup, state, clock)
            draw(Metrics(dict(row) for row in state.rows))
            if state.ending or clock.seconds_since_saving > EPOCH_CHECKPOINT_SECONDS:
                save_checkpoint(setup, state, clock)
            stop_if_asked(setup, state, clock, signals)


def train_epoch(setup: Setup, state: State, clock: Clock, signals: Signals, advance: Advance) -> None:
    """Train from the state's step to the end of its epoch."""
    epoch = state.step // len(setup.loader)
    set_frozen(setup.recipe, state.model, epoch)
    choose_images(setup.recipe, setup.loader, state.hard, state.step, setup.total_steps)
    end = min((epoch + 1) * len(setup.loader), setup.total_steps)  # the last epoch may be a part of one
    training = setup.recipe.training
    title, so_far = _epoch_of(setup, epoch + 1), _validated(state)
    clock.lap()  # time between epochs (validation, writing) does not count into images per second
    while state.step < end:
        take_step(setup, state, clock)
        if clock.watch:
            clock.watch.look(time.monotonic())
        loss = (1, tr("loss {number}", number=_loss_text(state.totals.mean_loss)))
        speed = (4, tr("{n:,.0f} images/s", n=state.totals.images_per_second))
        advance(1, loss, *so_far, speed, what=title)
        if training.max_minutes and clock.elapsed_seconds > training.max_minutes * 60:
            state.ending = "time limit"
        if state.step == end or state.ending:
            # No checkpoint between an epoch's last step and its row: the step alone tells a resumed run its epoch, so
            # it would begin the next one, and this one would never be validated nor get its row.
            return
        if clock.seconds_since_saving > training.checkpoint_minutes * 60:
            save_checkpoint(setup, state, clock)
        stop_if_asked(setup, state, clock, signals)


def set_frozen(recipe: Recipe, model: nn.Module, epoch: int) -> None:
    """Put the network into training mode, with its backbone frozen where the recipe says so."""
    thaw = recipe.model.unfreeze_epoch
    frozen = recipe.model.freeze == "backbone" and (thaw is None or epoch < thaw)
    if frozen:
        finetune.freeze_backbone(model)
    elif recipe.model.freeze == "backbone":
        finetune.unfreeze(model)
    finetune.train_mode(model, frozen)  # norms of a frozen backbone keep their statistics, too


def choose_images(recipe: Recipe, loader: Loader, hard: HardExamples | None, step: int, total_steps: int) -> None:
    """At an epoch's start choose the hard images when it is time to; within an epoch keep those that were chosen."""
    if not hard:
        return
    first = first_hard_step(recipe.training, len(loader), total_steps)
    if step >= first and step % len(loader) == 0:
        hard.choose()
    # a run that is resumed within an epoch has its choice from the checkpoint and only tells the new loader
    if len(hard.drawn) == hard.num_drawn:
        loader.draw_only(hard.drawn)


def take_step(setup: Setup, state: State, clock: Clock) -> None:
    """Make one optimizer step, and fetch the results of those before it when it is time to."""
    recipe, position = setup.recipe, (state.step, len(setup.loader), setup.total_steps)
    # Rate, batch, image size and (inside of step) all random numbers are functions of the seed and the step number.
    # So there is no state of a scheduler, sampler or generator that a checkpoint could miss.
    build.set_lr(state.optimizer, recipe.optimizer.lr * lr_factor(recipe.schedule, *position))
    batch = setup.loader.batch(state.step)
    outcome = setup.step(state.step, batch, image_size(recipe.training, setup.card.input_size, *position))
    state.step += 1
    if state.hard:
        state.hard.record(batch.indices, outcome.losses)
    if state.average:
        state.average.update(state.model, state.step)
    clock.pending.append((outcome.loss, outcome.correct, batch))
    if len(clock.pending) >= FETCH_EVERY.get(setup.runtime.device.type, 50):
        fetch_results(setup, state, clock)


def fetch_results(setup: Setup, state: State, clock: Clock) -> None:
    """Fetch the pending results from the device; raises DivergedError when a loss is not finite."""
    if not clock.pending:
        return
    # stacked on the device, so that all of them come in one transfer
    results = torch.stack([torch.stack((loss, correct)) for loss, correct, _ in clock.pending]).tolist()
    first_step = state.step - len(results)
    for number, ((loss, correct), (_, _, batch)) in enumerate(zip(results, clock.pending, strict=True)):
        if not math.isfinite(loss):
            step, indices = first_step + number, batch.indices.tolist()
            raise _diverged(setup, state, LOSS, step, loss=loss, indices=indices)
        state.totals.add(loss, correct, len(batch.labels))
    clock.pending.clear()
    state.totals.seconds += clock.lap()  # after .tolist(), which has waited for the device


def close_epoch(setup: Setup, state: State, clock: Clock) -> None:
    """Validate, keep the best weights, track the epoch, and decide whether it was the last."""
    fetch_results(setup, state, clock)
    require_finite(setup, state)
    epoch = -(-state.step // len(setup.loader))  # rounded up: a part of an epoch at the end counts as one
    is_last = state.step >= setup.total_steps or bool(state.ending)
    loss, accuracy = None, None
    if setup.val and (is_last or epoch % setup.recipe.validation.every == 0):
        loss, accuracy = validate(setup, state)
        keep_best(state, Best(accuracy, loss, epoch, state.step))
        state.stopping.update(loss, accuracy)
    elif is_last:  # without validation no later forward pass would show what the last step did to the weights
        finite_logits(setup, state, setup.loader.pixels[: setup.recipe.evaluation.batch_size])
    if state.step >= setup.total_steps:
        state.ending = "all epochs done"
    elif state.stopping.is_over:
        state.ending = state.ending or "early stopping"
    state.elapsed_seconds = clock.elapsed_seconds
    state.rows.append(_row(state, epoch, loss, accuracy))
    state.totals = Totals()
    setup.tracker.write(state.rows)
    if setup.recipe.runtime.histograms:
        setup.tracker.write_histograms(state.model, state.step)
    log.info(_epoch_text(setup, state.rows[-1]))


def require_finite(setup: Setup, state: State) -> None:
    """Raise DivergedError when a weight is NaN or infinite, before weights are evaluated or saved.

    A loss shows it one step late. Saved meanwhile, such weights would replace the last checkpoint and, the next time,
    the one before it: nothing would be left to continue from.
    """
    if not all(map(is_finite, {state.model, state.evaluated_model})):  # a set, as they are often the same network
        raise _diverged(setup, state, WEIGHTS, state.step)


def validate(setup: Setup, state: State) -> tuple[float, float]:
    """Loss and accuracy on the validation images, in the precision of the training.

    The classifier that is left computes in fp32, with its norms folded away, and may disagree on an image or two, so
    its accuracy is measured again at the end. Raises DivergedError for outputs that are not finite.
    """
    assert setup.val is not None
    logits = finite_logits(setup, state, setup.val.pixels)
    return metrics.cross_entropy(logits, setup.val.labels), metrics.accuracy(logits, setup.val.labels)


def finite_logits(setup: Setup, state: State, pixels: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
    """The output on uint8 images (N, 3, H, W), (N, C); raises DivergedError where it is not finite."""
    batch_size = setup.recipe.evaluation.batch_size
    logits = Classifier(state.evaluated_model, setup.card, setup.runtime, batch_size).logits(pixels)
    if not np.isfinite(logits).all():  # finite weights can still overflow on the way through the network
        raise _diverged(setup, state, OUTPUT, state.step)
    return logits


def keep_best(state: State, candidate: Best) -> None:
    """Copy the weights when they are the best so far."""
    if candidate.beats(state.best):
        # a copy, since the optimizer changes weights in place: a reference would always be the latest weights
        state.best, state.best_weights = candidate, weights_of(state.evaluated_model)


def save_checkpoint(setup: Setup, state: State, clock: Clock) -> None:
    """Write the checkpoint `last` and the best classifier so far."""
    fetch_results(setup, state, clock)  # pending losses belong to the totals that are saved
    require_finite(setup, state)
    state.elapsed_seconds = clock.elapsed_seconds
    if state.best_weights:
        save_model(setup.run.best_weights_file, state.best_weights, setup.card)
    checkpoint.save(setup.run.checkpoints, state.capture())
    clock.saved = time.monotonic()
    clock.lap()  # writing does not count into images per second


def stop_if_asked(setup: Setup, state: State, clock: Clock, signals: Signals) -> None:
    """After SIGINT or SIGTERM save the state and raise InterruptedRunError, which says how to continue."""
    if not signals.received:
        return
    save_checkpoint(setup, state, clock)
    text = tr("Stopped at step {step} of {total}; the state is saved.\nContinue with: cifarlab train --resume {run}")
    text = text.format(step=state.step, total=setup.total_steps, run=setup.run.as_argument)
    raise InterruptedRunError(text, signals.received)


def _diverged(setup: Setup, state: State, what: str, step: int, **facts: Any) -> DivergedError:
    return diverged(setup.run, setup.recipe, setup.card, state, what, step, **facts)


def _row(state: State, epoch: int, loss: float | None, accuracy: float | None) -> Row:
    """The row of metrics.csv for an epoch; loss and accuracy are those of validation."""
    totals, group = state.totals, state.optimizer.param_groups[-1]
    return {
        "epoch": epoch,
        "step": state.step,
        "elapsed_seconds": round(state.elapsed_seconds, 3),
        "train/loss": totals.mean_loss,
        "train/accuracy": totals.accuracy,
        "train/images": totals.num_images,
        "val/loss": loss,
        "val/accuracy": accuracy,
        "lr": group["lr"] / group["lr_factor"],  # the recipe's rate, without the group's factor
        "images_per_second": round(totals.images_per_second, 1),
    }


def _validated(state: State) -> list[Fact]:
    """The last and the best validation accuracy, to stand beside the progress bar of an epoch."""
    last = next((row["val/accuracy"] for row in reversed(state.rows) if row["val/accuracy"] is not None), None)
    if last is None or state.best is None:
        return []
    best = tr("best {accuracy}", accuracy=percent(state.best.accuracy))
    return [(3, tr("val {accuracy}", accuracy=percent(last))), (2, best)]


def _epoch_text(setup: Setup, row: Row) -> str:
    """The line of an epoch, with as much as the terminal has room for."""
    facts = [
        (0, _epoch_of(setup, row["epoch"] or 0)),
        (1, tr("loss {number}", number=_loss_text(row["train/loss"]))),
    ]
    facts += [(4, tr("train {accuracy}", accuracy=percent(row["train/accuracy"] or 0)))]
    if setup.val is not None and (accuracy := row["val/accuracy"]) is not None:
        low, high = wilson(round(accuracy * len(setup.val)), len(setup.val))
        interval = tr("({low} to {high})", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}")
        loss = tr("val loss {number}", number=_loss_text(row["val/loss"]))
        facts += [(6, loss), (2, tr("val {accuracy}", accuracy=percent(accuracy))), (5, interval)]
    speed = tr("{n:,.0f} images/s", n=row["images_per_second"] or 0)
    facts += [(7, speed), (3, tr("{n:.0f} s", n=row["elapsed_seconds"]))]
    return fitting(facts)


def _epoch_of(setup: Setup, epoch: float) -> str:
    """ "epoch  3/45", as wide in the first epoch as in the last."""
    num_epochs = f"{math.ceil(setup.total_steps / len(setup.loader))}"
    return tr("epoch {number}", number=f"{epoch:>{len(num_epochs)}}/{num_epochs}")


def _loss_text(loss: float | None) -> str:
    # a diverging loss has up to thirty digits before the point
    return "" if loss is None else f"{loss:.3f}" if loss < 1e6 else f"{loss:.2g}"
