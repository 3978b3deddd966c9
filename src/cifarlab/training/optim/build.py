"""Optimizers from a recipe, and their state as named tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cifarlab.language import listed, tr
from cifarlab.models.finetune import ParameterGroup
from cifarlab.recipe.schema import OptimizerSpec
from cifarlab.training.optim.muon import Muon
from cifarlab.training.optim.stored_order import ON_CPU

FUSED_DEVICES = ("cpu", "cuda")
"""Where torch updates all weights in one kernel."""


def build(
    spec: OptimizerSpec, groups: list[ParameterGroup], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """Make the optimizer for parameter groups, each with its own weight_decay; `dtype`: of Muon's matrix products."""
    fused = device.type in FUSED_DEVICES
    # on a CPU our own forms, which hand the fused kernels views that they do not have to copy (see stored_order)
    sgd, adam, adamw = ON_CPU if device.type == "cpu" else (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
    parameters = [part for group in groups for part in _split(group, spec)]
    _leave_compiler_out()
    # the rate of each group is set before every step (set_lr), so spec.lr here is only a first value
    match spec.name:
        case "sgd":
            return sgd(parameters, spec.lr, spec.momentum, nesterov=spec.nesterov, fused=fused)
        case "adam":
            return adam(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)
        case "adamw":
            return adamw(parameters, spec.lr, (spec.beta1, spec.beta2), spec.eps, fused=fused)
        case "muon":
            return Muon(parameters, spec.lr, spec.momentum, spec.filter_momentum, dtype)


def _leave_compiler_out() -> None:
    """Keep torch from importing its compiler, 1.5 s on two Zen 4 cores, for an optimizer that is made or saved."""
    # Torch marks some methods as not to be compiled when they are first called, and loads the compiler for that. They
    # are marked here, with themselves; where a version of torch does it in another way, this does nothing.
    for method in vars(torch.optim.Optimizer).values():
        if (plain := getattr(method, "__wrapped__", None)) is not None:
            vars(plain).setdefault("__dynamo_disable", plain)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group to `lr` times its lr_factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, such as its momenta, as "<parameter number>.<name>" -> tensor."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if value is not None  # SGD without momentum keeps None
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `state_tensors` returned, in each parameter's own memory format.

    Raises ValueError for tensors that are not those of this optimizer and its parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        if not number.isdecimal() or int(number) >= len(parameters):
            raise ValueError(tr("optimizer.{key} belongs to no parameter", key=key))
        like = parameters[int(number)]
        wanted = torch.zeros(()) if name == "step" else like  # Adam counts its steps in a 0-d tensor
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            found = f"{value.dtype} {tuple(value.shape)}"
            raise ValueError(tr("optimizer.{key} is {found}", key=key, found=found))
        # A checkpoint has contiguous tensors, but fused kernels pair numbers by their place in memory: a momentum in
        # another format than its parameter would move the wrong weights.
        state.setdefault(int(number), {})[name] = value if name == "step" else torch.empty_like(like).copy_(value)
    kept = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimizer, torch.optim.Adam) else {"momentum_buffer"}
    if strange := [number for number, values in state.items() if values.keys() != kept]:
        has, wanted = listed(state[strange[0]]), listed(kept)
        raise ValueError(tr("optimizer.{n} has {found} instead of {wanted}", n=strange[0], found=has, wanted=wanted))
    # the groups stay those of the recipe: a checkpoint brings state, not settings
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _split(group: ParameterGroup, spec: OptimizerSpec) -> list[dict[str, Any]]:
    """Split a group where the recipe gives filters, or norm scales and biases, a rate of their own."""
    is_muon = spec.name == "muon"
    # lr is the rate of the filters under Muon; a factor makes it rest_lr for everything else
    rest = spec.rest_lr / spec.lr if is_muon else 1.0
    parts: dict[tuple[float, float, bool], list[torch.nn.Parameter]] = {}
    for parameter in group["params"]:
        is_filter = is_muon and parameter.ndim == 4  # convolutions; the head stays with SGD, as in airbench
        bias = spec.bias_lr_factor if parameter.ndim <= 1 else 1.0  # norm scales and biases have one dimension
        factor = group["lr_factor"] * bias * (1.0 if is_filter else rest)
        # Decay is multiplied by the rate, so it is divided by the factor on the rate to keep its strength. Muon sets
        # the norm of filters itself, which leaves decay nothing to do.
        decay = 0.0 if is_filter else group["weight_decay"] / bias
        parts.setdefault((factor, decay, is_filter), []).append(parameter)
    return [
        {"params": parameters, "lr_factor": factor, "weight_decay": decay, "is_filter": is_filter}
        for (factor, decay, is_filter), parameters in parts.items()
    ]
