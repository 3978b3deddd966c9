"""A training that no longer gives finite numbers: how that is noticed, what is kept, and what helps."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from cifarlab.drawing.wording import percent
from cifarlab.errors import DivergedError
from cifarlab.files import write_atomic
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DIVERGED
from cifarlab.training.state import State

LOSS = translatable("The loss became {loss} at step {step}.")
WEIGHTS = translatable("The weights are no longer finite after step {last}.")
OUTPUT = translatable("The output is no longer finite after step {last}.")
"""What is no longer finite, and since when; `last` is the step before `step`."""


def is_finite(model: nn.Module) -> bool:
    """Whether all weights and buffers are finite."""
    # buffers too: running statistics can overflow while every loss is finite, as only evaluation uses them
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    # one bool per tensor, stacked on the device, so that it is waited for once
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def diverged(
    run: Run, recipe: Recipe, card: ModelCard, state: State, what: str, step: int, loss: float = 0.0, **facts: Any
) -> DivergedError:
    """Keep the best classifier so far and the evidence; returns the error, which says what helps.

    what: LOSS, WEIGHTS or OUTPUT; step: how many steps had been made; facts: what else belongs into diverged.json.
    """
    spoken, english = (say(what, loss=loss, step=step, last=step - 1) for say in (tr, str.format))
    # step, rates and seed (and the images of the batch) are all that is needed to repeat the step that failed
    rates = [group["lr"] for group in state.optimizer.param_groups]
    evidence = {"what": english.removesuffix("."), "step": step, "lr": rates, "seed": recipe.training.seed, **facts}
    write_atomic(run.divergence_file, json.dumps(evidence, indent=2) + "\n")
    run.update_manifest(status=DIVERGED, ending=DIVERGED, divergence=english)
    kept = tr("No epoch had been validated, so no classifier was kept.")
    if state.best is not None:
        # the last checkpoint may be minutes old, so the best weights are written now
        save_model(run.best_weights_file, state.best_weights, card)
        kept = tr(
            "Kept: {file}, the classifier of epoch {epoch} ({accuracy} on val).",
            file=run.best_weights_file,
            epoch=state.best.epoch,
            accuracy=percent(state.best.accuracy),
        )
    left = tr("{kept} The evidence is in {file}.", kept=kept, file=run.divergence_file)
    return DivergedError("\n".join([spoken, left, _advice(recipe, step)]))


def _advice(recipe: Recipe, step: int) -> str:
    if step == 0:  # the learning rate has had no part in it yet
        return tr("No step had been made, so look at model.weights, training.class_weights and runtime.precision.")
    # randomness is a function of the seed and the step, so the same step would fail again
    advice = tr(
        "A resumed run would do the same. Train anew with an optimizer.lr below {lr:g}, a longer schedule.warmup or "
        "training.clip_norm."
    )
    if recipe.runtime.precision == "fp16":  # overflows above 65,504
        advice = tr(
            "A resumed run would do the same. Train anew with an optimizer.lr below {lr:g}, a longer schedule.warmup, "
            "training.clip_norm or runtime.precision=fp32."
        )
    return advice.format(lr=recipe.optimizer.lr)
