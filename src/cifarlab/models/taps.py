"""Look inside a network: name its layers, and catch what they put out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cifarlab.errors import UsageError, unknown


def layer_names(model: nn.Module) -> list[str]:
    """Every layer and group of layers that can be tapped, in the order of definition."""
    return [name for name, _ in model.named_modules() if name]


def feature_layers(model: nn.Module, image_size: int) -> list[str]:
    """The layers that put out feature maps (N, C, H, W) with more than one pixel, in the order of definition.

    The last one is the usual place to ask where the network looked.
    """
    with capture(model, layer_names(model)) as outputs:
        probe(model, image_size)
    return [name for name in layer_names(model) if name in outputs and _is_map(outputs[name])]


@contextmanager
def capture(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named layers while the block runs the network; no hook stays behind.

    The tensors are part of the autograd graph, so gradients can be taken with respect to them. A layer called
    several times keeps its last output; one that is not called, or gives no single tensor, has no entry.
    Raises UsageError for a name that is not a layer.
    """
    layers = dict(model.named_modules())
    outputs: dict[str, Tensor] = {}
    handles = []
    try:
        for name in names:
            if name not in layers:
                raise UsageError(unknown("layer", name, layer_names(model)))
            handles.append(layers[name].register_forward_hook(_keep(outputs, name)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def probe(model: nn.Module, image_size: int) -> object:
    """The output for one all-zero image in evaluation mode; every module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    try:
        model.eval()
        return model(torch.zeros(1, 3, image_size, image_size, device=device))
    finally:
        for module, training in modes.items():
            module.training = training


def _keep(outputs: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, object], Tensor | None]:
    def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        outputs[name] = output
        # The network goes on with a copy: an in-place ReLU further on would overwrite what was caught.
        return output.clone()

    return hook


def _is_map(output: Tensor) -> bool:
    return output.ndim == 4 and output.shape[2] * output.shape[3] > 1
