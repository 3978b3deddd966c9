"""The training loop: one for every recipe and device."""

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
from cifarlab.console import Advance, log, progress
from cifarlab.errors import DivergedError, InterruptedRunError
from cifarlab.evaluation import metrics
from cifarlab.evaluation.statistics import wilson
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.machine.runtime import Runtime
from cifarlab.models import finetune
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Row, Run
from cifarlab.training import checkpoint
from cifarlab.training.divergence import diverged, is_finite
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.optim import build
from cifarlab.training.schedules import first_hard_step, image_size, lr_factor
from cifarlab.training.signals import Signals
from cifarlab.training.state import State, Totals, weights_of
from cifarlab.training.step import Step
from cifarlab.training.stopping import Best
from cifarlab.training.trackers import Tracker

LOOK_EVERY = {"cpu": 1}
"""Steps between looks at the losses; on other devices a look waits for all queued work, so it is taken every 50."""

REST_SECONDS = 10.0
"""Short epochs are not each worth a checkpoint: an epoch's end writes one when the last is older than this."""


@dataclass(frozen=True)
class Work:
    """What stays the same while a run trains."""

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
    """What this process knows and no checkpoint needs: time, and results that nobody has looked at yet."""

    seconds_before: float
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    mark: float = field(default_factory=time.monotonic)
    pending: list[tuple[Tensor, Tensor, Batch]] = field(default_factory=list)

    @property
    def elapsed_seconds(self) -> float:
        """Of the whole run, earlier processes included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def seconds_since_saving(self) -> float:
        """Since the last checkpoint of this process."""
        return time.monotonic() - self.saved

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        seconds, self.mark = now - self.mark, now
        return seconds


def fit(work: Work, state: State, signals: Signals) -> None:
    """Train until all steps are done, patience or time has run out, or a signal came.

    Raises DivergedError for a loss that is not finite and InterruptedRunError after a signal, with the state saved.
    """
    clock = Clock(state.elapsed_seconds)
    with progress(work.recipe.name, work.total_steps, "steps") as advance:
        advance(state.step)
        while not state.ending:
            train_epoch(work, state, clock, signals, advance)
            close_epoch(work, state, clock)
            if state.ending or clock.seconds_since_saving > REST_SECONDS:
                save(work, state, clock)
            stop_if_asked(work, state, clock, signals)


def train_epoch(work: Work, state: State, clock: Clock, signals: Signals, advance: Advance) -> None:
    """Go from wherever the state stands to the end of its epoch."""
    epoch = state.step // len(work.loader)
    set_frozen(work.recipe, state.model, epoch)
    choose_images(work.recipe, work.loader, state.hard, state.step, work.total_steps)
    end = min((epoch + 1) * len(work.loader), work.total_steps)
    minutes = work.recipe.training
    clock.lap()
    while state.step < end:
        take_step(work, state, clock)
        advance(1, _progress_text(state.totals))
        if minutes.max_minutes and clock.elapsed_seconds > minutes.max_minutes * 60:
            state.ending = "time limit"
        if state.step == end or state.ending:
            return  # no checkpoint between an epoch's last step and its row
        if clock.seconds_since_saving > minutes.checkpoint_minutes * 60:
            save(work, state, clock)
        stop_if_asked(work, state, clock, signals)


def choose_images(recipe: Recipe, loader: Loader, hard: HardExamples | None, step: int, total_steps: int) -> None:
    """At an epoch's start choose the hard images when it is time to; within one, go on with those that were chosen."""
    if not hard:
        return
    first = first_hard_step(recipe.training, len(loader), total_steps)
    if step >= first and step % len(loader) == 0:
        hard.choose()
    if len(hard.drawn) == hard.num_drawn:
        loader.draw_only(hard.drawn)


def take_step(work: Work, state: State, clock: Clock) -> None:
    """Make one optimizer step, and look at the results of those before it when it is time to."""
    recipe, position = work.recipe, (state.step, len(work.loader), work.total_steps)
    build.set_lr(state.optimizer, recipe.optimizer.lr * lr_factor(recipe.schedule, *position))
    batch = work.loader.batch(state.step)
    outcome = work.step(state.step, batch, image_size(recipe.training, work.card.input_size, *position))
    state.step += 1
    if state.hard:
        state.hard.note(batch.indices, outcome.losses)
    if state.average:
        state.average.update(state.model, state.step)
    clock.pending.append((outcome.loss, outcome.correct, batch))
    if len(clock.pending) >= LOOK_EVERY.get(work.runtime.device.type, 50):
        look(work, state, clock)


def look(work: Work, state: State, clock: Clock) -> None:
    """Fetch the pending results from the device; raises DivergedError when a loss is not finite."""
    if not clock.pending:
        return
    results = torch.stack([torch.stack((loss, correct)) for loss, correct, _ in clock.pending]).tolist()
    first_step = state.step - len(results)
    for number, ((loss, correct), (_, _, batch)) in enumerate(zip(results, clock.pending, strict=True)):
        if not math.isfinite(loss):
            step, indices = first_step + number, batch.indices.tolist()
            raise _diverged(work, state, f"The loss became {loss} at step {step}", step, indices=indices)
        state.totals.add(loss, correct, len(batch.labels))
    clock.pending.clear()
    state.totals.seconds += clock.lap()


def require_finite(work: Work, state: State) -> None:
    """Raise DivergedError when a step has driven the weights out of the numbers: they are neither judged nor saved."""
    if not all(map(is_finite, {state.model, state.judged})):
        raise _diverged(work, state, f"The weights are no longer finite after step {state.step - 1}", state.step)


def close_epoch(work: Work, state: State, clock: Clock) -> None:
    """Validate, keep the best weights, track the epoch, and decide whether it was the last."""
    look(work, state, clock)
    require_finite(work, state)
    epoch = -(-state.step // len(work.loader))
    is_last = state.step >= work.total_steps or bool(state.ending)
    loss, accuracy = None, None
    if work.val and (is_last or epoch % work.recipe.validation.every == 0):
        loss, accuracy = validate(work, state)
        keep_best(state, Best(accuracy, loss, epoch, state.step))
        state.stopping.update(loss, accuracy)
    elif is_last:  # without validation nobody has seen yet what the last step did
        finite_logits(work, state, work.loader.pixels[: work.recipe.evaluation.batch_size])
    if state.step >= work.total_steps:
        state.ending = "all epochs done"
    elif state.stopping.is_over:
        state.ending = state.ending or "early stopping"
    state.elapsed_seconds = clock.elapsed_seconds
    state.rows.append(_row(state, epoch, loss, accuracy))
    state.totals = Totals()
    work.tracker.write(state.rows)
    if work.recipe.runtime.histograms:
        work.tracker.write_histograms(state.model, state.step)
    log.info(_epoch_text(work, state.rows[-1]))


def validate(work: Work, state: State) -> tuple[float, float]:
    """Loss and accuracy on the validation images, in the precision of the training.

    The classifier that is left computes in fp32, with its norms folded away: an image or two may fall to the other
    side, so its accuracy is measured again at the end. Raises DivergedError for outputs that are not finite.
    """
    assert work.val is not None
    logits = finite_logits(work, state, work.val.pixels)
    return metrics.cross_entropy(logits, work.val.labels), metrics.accuracy(logits, work.val.labels)


def finite_logits(work: Work, state: State, pixels: NDArray[np.uint8] | Tensor) -> NDArray[np.float32]:
    """The output on uint8 images (N, 3, H, W); raises DivergedError where it is not finite."""
    batch_size = work.recipe.evaluation.batch_size
    logits = Classifier(state.judged, work.card, work.runtime, batch_size).logits(pixels)
    if not np.isfinite(logits).all():
        raise _diverged(work, state, f"The output is no longer finite after step {state.step - 1}", state.step)
    return logits


def keep_best(state: State, candidate: Best) -> None:
    """Copy the weights when they are the best so far; a copy, since further steps change the originals."""
    if candidate.beats(state.best):
        state.best, state.best_weights = candidate, weights_of(state.judged)


def save(work: Work, state: State, clock: Clock) -> None:
    """Write the checkpoint `last`, and the best classifier so far beside it."""
    look(work, state, clock)
    require_finite(work, state)
    state.elapsed_seconds = clock.elapsed_seconds
    if state.best_weights:
        save_model(work.run.best_weights_file, state.best_weights, work.card)
    checkpoint.save(work.run.checkpoints, state.capture())
    clock.saved = time.monotonic()
    clock.lap()


def stop_if_asked(work: Work, state: State, clock: Clock, signals: Signals) -> None:
    """After SIGINT or SIGTERM save and say how to go on."""
    if not signals.received:
        return
    save(work, state, clock)
    raise InterruptedRunError(
        f"Stopped at step {state.step} of {work.total_steps}; the state is saved.\n"
        f"Continue with: cifarlab train --resume {work.run.as_argument}",
        signals.received,
    )


def set_frozen(recipe: Recipe, model: nn.Module, epoch: int) -> None:
    """Put the network into training mode, with its backbone frozen where the recipe says so."""
    thaw = recipe.model.unfreeze_epoch
    frozen = recipe.model.freeze == "backbone" and (thaw is None or epoch < thaw)
    if frozen:
        finetune.freeze_backbone(model)
    elif recipe.model.freeze == "backbone":
        finetune.unfreeze(model)
    finetune.train_mode(model, frozen)


def _diverged(work: Work, state: State, what: str, step: int, **facts: Any) -> DivergedError:
    return diverged(work.run, work.recipe, work.card, state, what, step, **facts)


def _row(state: State, epoch: int, loss: float | None, accuracy: float | None) -> Row:
    totals = state.totals
    return {
        "epoch": epoch,
        "step": state.step,
        "elapsed_seconds": round(state.elapsed_seconds, 3),
        "train/loss": totals.loss / max(1, totals.num_images),
        "train/accuracy": totals.correct / max(1, totals.num_images),
        "train/images": totals.num_images,
        "val/loss": loss,
        "val/accuracy": accuracy,
        "lr": state.optimizer.param_groups[-1]["lr"] / state.optimizer.param_groups[-1]["lr_factor"],
        "images_per_second": round(totals.num_images / max(totals.seconds, 1e-9), 1),
    }


def _progress_text(totals: Totals) -> str:
    images = max(1, totals.num_images)
    speed = totals.num_images / max(totals.seconds, 1e-9)
    return f"loss {totals.loss / images:.3f}  accuracy {totals.correct / images:.1%}  {speed:,.0f} images/s"


def _epoch_text(work: Work, row: Row) -> str:
    epochs = math.ceil(work.total_steps / len(work.loader))
    train_loss, val_loss = (_loss_text(row[f"{split}/loss"]) for split in ("train", "val"))
    text = f"epoch {row['epoch']}/{epochs}  train loss {train_loss} accuracy {row['train/accuracy']:.1%}"
    if work.val is not None and row["val/accuracy"] is not None:
        low, high = wilson(round(row["val/accuracy"] * len(work.val)), len(work.val))
        text += f"  val loss {val_loss} accuracy {row['val/accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})"
    return f"{text}  {row['images_per_second']:,.0f} images/s  {row['elapsed_seconds']:.0f} s"


def _loss_text(loss: float | None) -> str:
    """A loss on its way to infinity without its thirty digits."""
    return "" if loss is None else f"{loss:.3f}" if loss < 1e6 else f"{loss:.2g}"
