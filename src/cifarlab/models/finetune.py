"""Start from weights that were learned elsewhere: load them, freeze the backbone, or train it more slowly."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import torch
from safetensors.torch import load as parse_safetensors
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cifarlab.console import log
from cifarlab.errors import CheckpointError, RecipeError, cause
from cifarlab.language import listed, tr

# Attribute that marks the parameters which `unfreeze` may release: some networks have others that are never trained.
_FROZEN = "frozen_by_finetune"


class ParameterGroup(TypedDict):
    """One parameter group for an optimizer; lr_factor multiplies the base learning rate."""

    params: list[nn.Parameter]
    lr_factor: float
    weight_decay: float


def head(model: nn.Module) -> nn.Module:
    """Find the layer that maps features to classes: what get_classifier() returns (timm), or the last linear layer.

    A network without linear layers ends in a 1×1 convolution (SqueezeNet). Several classifiers are returned as one
    ModuleList. Raises RecipeError if there is none.
    """
    get_classifier = getattr(model, "get_classifier", None)
    named = get_classifier() if callable(get_classifier) else None
    if isinstance(named, tuple):  # distilled transformers have one for the class token, one for the distillation token
        return nn.ModuleList(named)
    if isinstance(named, nn.Linear | nn.Conv2d):
        return named
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    pointwise = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    if not linear and not pointwise:
        raise RecipeError(
            tr(
                "{network} has no linear layer that could be its head.\n"
                "Give it a method get_classifier() that returns the layer.",
                network=type(model).__name__,
            )
        )
    return (linear or pointwise)[-1]  # in the order of definition, where the head comes last by custom


def freeze_backbone(model: nn.Module) -> None:
    """Freeze everything but the head; `train_mode` takes care of the batch norms."""
    for parameter in _backbone(model):
        if parameter.requires_grad:
            parameter.requires_grad_(False)
            setattr(parameter, _FROZEN, True)


def unfreeze(model: nn.Module) -> None:
    """Train what `freeze_backbone` froze again."""
    for parameter in model.parameters():
        if hasattr(parameter, _FROZEN):
            parameter.requires_grad_(True)
            delattr(parameter, _FROZEN)


def train_mode(model: nn.Module, frozen: bool) -> None:
    """Set the network to training mode, except that the batch norms of a frozen backbone keep their statistics.

    In training mode these would follow the new images although the weights are frozen, and change the features.
    """
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def parameter_groups(
    model: nn.Module, backbone_lr_factor: float, weight_decay: float, decay_norm_and_bias: bool
) -> list[ParameterGroup]:
    """Group all parameters, frozen ones included, by learning rate factor and weight decay.

    Raises RecipeError if there is no head.
    """
    # By identity, since == compares the values of tensors.
    backbone = {id(parameter) for parameter in _backbone(model)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        # Frozen ones are in from the start: without a gradient an optimizer skips them until they are unfrozen.
        factor = backbone_lr_factor if id(parameter) in backbone else 1.0
        # The parameters with one dimension are norm scales and biases.
        decay = weight_decay if decay_norm_and_bias or parameter.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return [
        ParameterGroup(params=parameters, lr_factor=factor, weight_decay=decay)
        for (factor, decay), parameters in groups.items()
    ]


def load_backbone_weights(model: nn.Module, path: Path) -> None:
    """Copy weights from a safetensors file by name; a head for another number of classes keeps its initial weights.

    Raises CheckpointError, before anything is copied, if the file cannot be read, if a value is not finite, or if any
    other name or shape differs.
    """
    found = read_weights(path)
    expected = model.state_dict()
    in_head = {id(parameter) for parameter in head(model).parameters()}
    # A parameter that two layers share has two names, and a file may hold both.
    head_names = {name for name, value in model.named_parameters(remove_duplicate=False) if id(value) in in_head}
    if any(name in found and found[name].shape != expected[name].shape for name in head_names):
        log.info(tr("{path}: the head has other classes and starts anew.", path=path))
        found = {name: tensor for name, tensor in found.items() if name not in head_names}
        expected = {name: tensor for name, tensor in expected.items() if name not in head_names}
    problems = _differences(expected, found)
    if problems:
        message = tr("{path} does not fit {network}; nothing was loaded:", path=path, network=type(model).__name__)
        raise CheckpointError("\n  ".join([message, *problems]))
    # Not strict, since the head's weights and old files' counters may be absent; _differences has checked the rest.
    model.load_state_dict(found, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name, on the CPU.

    Raises CheckpointError if the file is missing, damaged, or holds NaN or infinity.
    """
    try:
        tensors = parse_safetensors(path.read_bytes())
    except Exception as error:  # the parser raises its own and Python's errors on damaged headers
        message = tr("Cannot read the weights {path}: {reason}.\nA safetensors file is needed.")
        raise CheckpointError(message.format(path=path, reason=cause(error))) from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        message = tr("{path} holds NaN or infinity in {names}. Its training had diverged.")
        raise CheckpointError(message.format(path=path, names=listed(broken)))
    return tensors


def _backbone(model: nn.Module) -> list[nn.Parameter]:
    in_head = {id(parameter) for parameter in head(model).parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in in_head]


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """Return one line for each tensor that is missing, unknown or of another shape."""
    problems = []
    for name in [*expected, *(name for name in found if name not in expected)]:
        # Files older than torch 0.4.1 have no counters; they matter only to norms with a cumulative average.
        if name.endswith("num_batches_tracked") and name not in found:
            continue
        want, have = (_shape(tensors.get(name)) for tensors in (expected, found))
        if want != have:
            problems.append(tr("{name}: expected {want}, found {have}", name=name, want=want, have=have))
    return problems


def _shape(tensor: Tensor | None) -> str:
    if tensor is None:
        return tr("nothing")
    return "×".join(map(str, tensor.shape)) or tr("a number")  # no dimensions: a scalar
