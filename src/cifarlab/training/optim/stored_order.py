"""torch's fused optimizers for the CPU, on tensors in the order in which they are stored.

The fused kernels copy tensors that are not contiguous, as channels-last filters are, which takes as long as the step
itself (ResNet-18: 7.8 ms with copies, 4.6 without, SGD). Optimizers work element by element, so given contiguous views
of the same memory they compute the same bits and copy nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

SETTINGS = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")


class InStoredOrder(torch.optim.Optimizer):
    """Replaces the tensors that torch's optimizer collects for its step by contiguous views."""

    # torch has no public place between collecting and stepping; _init_group is what all its optimizers share
    def _init_group(self, group: dict[str, Any], *collected: list[Tensor | None]) -> Any:
        result: Any = super()._init_group(group, *collected)  # type: ignore[misc]
        for tensors in collected:  # lists of parameters, gradients, averages, ...; changed in place
            tensors[:] = [None if tensor is None else in_stored_order(tensor) for tensor in tensors]
        return result


class SGD(torch.optim.SGD):
    """SGD, with a step of its own."""

    # torch's step writes the momenta that it made back into its state. These would be the views, whose shape
    # (N, H, W, C) is not that of the parameter in a checkpoint.

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; a closure is not used."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            sgd(
                [in_stored_order(parameter) for parameter in parameters],
                [in_stored_order(parameter.grad) for parameter in parameters],
                [self._momentum(parameter) if group["momentum"] else None for parameter in parameters],
                fused=True,
                # set by a GradScaler for the time of its step: in fp16 the kernel divides the gradients by the scale,
                # and leaves everything as it is when one of them overflowed
                grad_scale=getattr(self, "grad_scale", None),
                found_inf=getattr(self, "found_inf", None),
                **{name: group[name] for name in SETTINGS},
            )

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            # from zeros the first average is momentum · 0 + gradient: the copy of the gradient that torch begins with
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return in_stored_order(state["momentum_buffer"])


def _step_of(optimizer: type[torch.optim.Optimizer]) -> Callable[..., Any]:
    """The step of an optimizer, without the wrapper that imports torch's compiler (1.5 s on two Zen 4 cores).

    The wrapper is for gradients of a step and for compiled ones, of which there are none here.
    """
    plain: Callable[..., Any] | None = getattr(optimizer.step, "__wrapped__", None)
    return optimizer.step if plain is None else torch.no_grad()(plain)  # a version of torch may have no wrapper


class Adam(InStoredOrder, torch.optim.Adam):
    """Adam."""

    step = _step_of(torch.optim.Adam)


class AdamW(InStoredOrder, torch.optim.AdamW):
    """AdamW."""

    step = _step_of(torch.optim.AdamW)


ON_CPU = (SGD, Adam, AdamW)


def in_stored_order(tensor: Tensor) -> Tensor:
    """The tensor or, where it is channels-last, its view as (N, H, W, C)."""
    # the last condition: a filter of one pixel, or of one channel, can be both at once and needs no view
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if is_last and not tensor.is_contiguous() else tensor
