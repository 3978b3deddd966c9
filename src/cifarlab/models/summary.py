"""The layers of a network, and what it costs in parameters and operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from cifarlab.models.taps import capture, layer_names, probe

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Layer:
    """One row of the layer table; output is the shape for one image, without the batch dimension."""

    name: str
    kind: str
    output: tuple[int, ...] | None
    num_parameters: int
    multiply_adds: int


def num_parameters(model: nn.Module) -> int:
    """Count the trainable values, frozen ones included; buffers such as running statistics do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Count the multiply-adds of convolutions and matrix products for one image, without norms and activations."""
    with _flop_counter() as counter:
        probe(model, image_size)
    return int(counter.get_total_flops()) // 2  # the counter takes a multiply-add for two


def layers(model: nn.Module, image_size: int) -> list[Layer]:
    """List every module without submodules or with parameters of its own, in the order of definition.

    Identities are left out. The parameters of all rows add up to `num_parameters`. output is None for a layer that is
    not called as a module.
    """
    with _flop_counter() as counter, capture(model, layer_names(model)) as outputs:
        probe(model, image_size)
    # The counter's names begin with the class of the network: "ResNet.layer1.0.conv1".
    flops = {name.partition(".")[2]: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    rows = []
    for name, module in model.named_modules():
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if isinstance(module, nn.Identity) or (any(module.children()) and own == 0):
            continue
        shape = tuple(outputs[name].shape[1:]) if name in outputs else None
        # A container's operations are those of its parts, which have rows of their own.
        leaf_flops = 0 if any(module.children()) else flops.get(name, 0)
        rows.append(Layer(name, type(module).__name__, shape, own, leaf_flops // 2))
    return rows


def _flop_counter() -> FlopCounterMode:
    from torch.utils.flop_counter import FlopCounterMode  # takes half a second, which num_parameters does without

    return FlopCounterMode(display=False)
