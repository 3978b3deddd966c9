"""Look inside a network: name its layers and capture their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cifarlab.errors import UsageError, unknown


def layer_names(model: nn.Module) -> list[str]:
    """Names of every layer and group of layers whose output can be captured, in the order of definition."""
    return [name for name, _ in model.named_modules() if name]  # the network itself has the empty name


def feature_layers(model: nn.Module, image_size: int) -> list[str]:
    """Names of the layers that output feature maps (N, C, H, W) of more than one pixel, in the order of definition."""
    with capture(model, layer_names(model)) as outputs:
        probe(model, image_size)
    return [name for name in layer_names(model) if name in outputs and is_map(outputs[name])]


def stages(model: nn.Module, image_size: int) -> dict[str, tuple[int, int]]:
    """Return the last of the outermost layers for each size of feature map, with that size (H, W), in running order.

    In a residual network these are the groups of blocks, behind the last sum. Maps of a square image are square;
    other outputs with four dimensions, such as those inside an attention layer, are left out.
    """
    with capture(model, layer_names(model)) as outputs:
        probe(model, image_size)
    last: dict[int, str] = {}
    for name, output in outputs.items():
        side = output.shape[-1]
        # Fewer dots in a name mean fewer enclosing modules: layer1 rather than layer1.1.conv2.
        outermost = side not in last or name.count(".") <= last[side].count(".")
        if is_map(output) and output.shape[2] == side and outermost:
            last[side] = name
    return {name: (side, side) for name in outputs for side in last if last[side] == name}


@contextmanager
def capture(model: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named layers while the network runs in the `with` block; the hooks are removed after.

    The tensors are part of the autograd graph, so gradients can be taken with respect to them. They are ordered as the
    layers finished. A layer that is called several times keeps its last output; one that is not called, or does not
    return a single tensor, has no entry. Raises UsageError for a name that is not a layer.
    """
    layers = dict(model.named_modules())
    outputs: dict[str, Tensor] = {}
    handles = []
    try:
        for name in names:
            if name not in layers:
                raise UsageError(unknown("layer", name, layer_names(model)))
            handles.append(layers[name].register_forward_hook(_saving_hook(outputs, name)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Hold the network in evaluation mode; afterwards every module has its own mode again."""
    # Per module, not for the whole: the norms of a frozen backbone are in evaluation mode while the rest trains.
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def probe(model: nn.Module, image_size: int) -> object:
    """Return the output for one all-zero image in evaluation mode, on the network's device."""
    # In training mode batch norm would move its running statistics towards zeros.
    tensors = [*model.parameters(), *model.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    with evaluation_mode(model):
        return model(torch.zeros(1, 3, image_size, image_size, device=device))


def is_map(output: Tensor) -> bool:
    """Whether a layer's output is feature maps (N, C, H, W) of more than one pixel."""
    return output.ndim == 4 and output.shape[2] * output.shape[3] > 1


def _saving_hook(outputs: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, object], Tensor | None]:
    def hook(module: nn.Module, inputs: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None  # which leaves the output as it is
        outputs.pop(name, None)  # so that a layer called again moves to the end
        outputs[name] = output
        # The network goes on with a copy: an in-place ReLU further on would overwrite what was captured.
        return output.clone()

    return hook
