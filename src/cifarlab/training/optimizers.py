"""Optimizers from their spec, and their state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cifarlab.models.finetune import ParameterGroup
from cifarlab.recipe import OptimizerSpec

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch updates all weights in one kernel."""


def build(spec: OptimizerSpec, groups: list[ParameterGroup], device: torch.device) -> torch.optim.Optimizer:
    """Make the optimizer for parameter groups that carry their own weight_decay."""
    fused = device.type in FUSED_DEVICES
    parameters: list[dict[str, Any]] = [{**group} for group in groups]
    match spec.name:
        case "sgd":
            return torch.optim.SGD(parameters, spec.lr, spec.momentum, nesterov=spec.nesterov, fused=fused)
        case "adam":
            return torch.optim.Adam(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)
        case "adamw":
            return torch.optim.AdamW(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group to `lr` times its lr_factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Momenta and the like under "<parameter number>.<name>"."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, in each parameter's own memory format: fused kernels need it so."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        like = parameters[int(number)]
        same = value.shape == like.shape and value.ndim > 0
        state.setdefault(int(number), {})[name] = torch.empty_like(like).copy_(value) if same else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
