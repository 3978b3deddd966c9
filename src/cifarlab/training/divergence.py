"""When a training no longer gives finite numbers: how that is noticed, what is kept, and what helps."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from cifarlab.drawing.wording import percent
from cifarlab.errors import DivergedError
from cifarlab.files import write_atomic
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DIVERGED
from cifarlab.training.state import State


def is_finite(model: nn.Module) -> bool:
    """Whether all weights and buffers are numbers; a loss shows it only one step later, and a last step has none."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def diverged(
    run: Run, recipe: Recipe, card: ModelCard, state: State, what: str, step: int, **facts: Any
) -> DivergedError:
    """Keep the best classifier so far, write down what led to it, and say what helps.

    what: is not finite, and when; step: how many steps had been made; facts: what else diverged.json has to say.
    """
    rates = [group["lr"] for group in state.optimizer.param_groups]
    evidence = {"what": what, "step": step, "lr": rates, "seed": recipe.training.seed, **facts}
    write_atomic(run.divergence_file, json.dumps(evidence, indent=2) + "\n")
    run.update_manifest(status=DIVERGED, ending=DIVERGED, divergence=f"{what}.")
    return DivergedError(f"{what}.\n{_kept(run, card, state)}\n{_advice(recipe, step)}")


def _kept(run: Run, card: ModelCard, state: State) -> str:
    evidence = f"The evidence is in {run.divergence_file}."
    if state.best is None:
        return f"No epoch had been validated, so no classifier was kept. {evidence}"
    path = run.best_weights_file
    save_model(path, state.best_weights, card)
    accuracy = percent(state.best.accuracy)
    return f"Kept: {path}, the classifier of epoch {state.best.epoch} ({accuracy} on val). {evidence}"


def _advice(recipe: Recipe, step: int) -> str:
    if step == 0:
        return "No step had been made, so look at model.weights, training.class_weights and runtime.precision."
    helps = [f"an optimizer.lr below {recipe.optimizer.lr:g}", "a longer schedule.warmup", "training.clip_norm"]
    if recipe.runtime.precision == "fp16":
        helps.append("runtime.precision=fp32")
    return f"A resumed run would do the same. Train anew with {', '.join(helps[:-1])} or {helps[-1]}."
