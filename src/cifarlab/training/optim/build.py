"""Optimizers from their spec, and their state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cifarlab.models.finetune import ParameterGroup
from cifarlab.recipe.schema import OptimizerSpec
from cifarlab.training.optim.muon import Muon
from cifarlab.training.optim.stored_order import ON_CPU

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch updates all weights in one kernel."""


def build(
    spec: OptimizerSpec, groups: list[ParameterGroup], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """Make the optimizer for parameter groups that carry their own weight_decay; `dtype`: of muon's matrix products."""
    fused = device.type in FUSED_DEVICES
    sgd, adam, adamw = ON_CPU if device.type == "cpu" else (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
    parameters = [part for group in groups for part in _split(group, spec)]
    match spec.name:
        case "sgd":
            return sgd(parameters, spec.lr, spec.momentum, nesterov=spec.nesterov, fused=fused)
        case "adam":
            return adam(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)
        case "adamw":
            return adamw(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)
        case "muon":
            return Muon(parameters, spec.lr, spec.momentum, spec.filter_momentum, dtype)


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
    """Put back what `state_tensors` gave, in each parameter's own memory format: fused kernels need it so.

    Raises ValueError for tensors that are not those of this optimizer and its parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        if not number.isdecimal() or int(number) >= len(parameters):
            raise ValueError(f"optimizer.{key} belongs to no parameter")
        like = parameters[int(number)]
        wanted = torch.zeros(()) if name == "step" else like  # the one number that is kept beside the tensors
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            raise ValueError(f"optimizer.{key} is {value.dtype} {tuple(value.shape)}")
        state.setdefault(int(number), {})[name] = value if name == "step" else torch.empty_like(like).copy_(value)
    kept = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimizer, torch.optim.Adam) else {"momentum_buffer"}
    if strange := [number for number, values in state.items() if values.keys() != kept]:
        raise ValueError(f"optimizer.{strange[0]} has {', '.join(state[strange[0]])} instead of {', '.join(kept)}")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _split(group: ParameterGroup, spec: OptimizerSpec) -> list[dict[str, Any]]:
    """The same parameters, apart where the recipe gives filters, norm scales and biases their own rates.

    A larger rate would make weight decay stronger too, which is therefore divided by the factor.
    """
    is_muon = spec.name == "muon"
    rest = spec.rest_lr / spec.lr if is_muon else 1.0
    parts: dict[tuple[float, float, bool], list[torch.nn.Parameter]] = {}
    for parameter in group["params"]:
        is_filter = is_muon and parameter.ndim == 4
        bias = spec.bias_lr_factor if parameter.ndim <= 1 else 1.0
        factor = group["lr_factor"] * bias * (1.0 if is_filter else rest)
        decay = 0.0 if is_filter else group["weight_decay"] / bias
        parts.setdefault((factor, decay, is_filter), []).append(parameter)
    return [
        {"params": parameters, "lr_factor": factor, "weight_decay": decay, "is_filter": is_filter}
        for (factor, decay, is_filter), parameters in parts.items()
    ]
