"""What a network consists of and costs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cifarlab.models.taps import capture, layer_names, probe


@dataclass(frozen=True)
class Layer:
    """One row of the layer table; output is the shape for one image, without the batch dimension."""

    name: str
    kind: str
    output: tuple[int, ...] | None
    num_parameters: int
    multiply_adds: int


def num_parameters(model: nn.Module) -> int:
    """Learned values, frozen ones included, buffers not."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Multiply-adds of convolutions and matrix products for one image; norms and activations are left out."""
    with FlopCounterMode(display=False) as counter:
        probe(model, image_size)
    return int(counter.get_total_flops()) // 2


def layers(model: nn.Module, image_size: int) -> list[Layer]:
    """Every layer without parts of its own, or with weights of its own, in the order of definition.

    Placeholders that do nothing are left out. The parameters add up to `num_parameters`. output is None for a
    layer that is not called on its own.
    """
    with FlopCounterMode(display=False) as counter, capture(model, layer_names(model)) as outputs:
        probe(model, image_size)
    flops = {name.partition(".")[2]: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    rows = []
    for name, module in model.named_modules():
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if isinstance(module, nn.Identity) or (any(module.children()) and own == 0):
            continue
        shape = tuple(outputs[name].shape[1:]) if name in outputs else None
        leaf_flops = 0 if any(module.children()) else flops.get(name, 0)
        rows.append(Layer(name, type(module).__name__, shape, own, leaf_flops // 2))
    return rows
