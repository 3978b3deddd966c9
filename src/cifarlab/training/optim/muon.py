"""Muon: momentum whose steps are orthogonal matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from cifarlab.kernels import muon_step

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that pulls every singular value towards 1: the steepest at 0, so that few iterations are enough."""
ITERATIONS = 3
EPS = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum; filters are kept at a fixed norm, and their steps are made orthogonal.

    A filter bank (channels_out, ...) is scaled to the norm sqrt(channels_out) before each step: a norm layer after the
    convolution makes its scale meaningless, and the step's size then means the same throughout. Groups with
    `is_filter` are treated so; all others are plain SGD with Nesterov momentum and weight decay.
    Source: K. Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024, in the form of
    cifar10-airbench.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, momentum: float, filter_momentum: float, dtype: torch.dtype
    ) -> None:
        super().__init__(groups, {"lr": lr, "lr_factor": 1.0, "weight_decay": 0.0, "is_filter": False})
        self.momentum, self.filter_momentum, self.dtype = momentum, filter_momentum, dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; a closure is not used."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        if group["is_filter"] and muon_step.supports(self._tensors(parameters), self.dtype):
            self._move_by_kernels(parameters, group["lr"])
            return
        momentum = self.filter_momentum if group["is_filter"] else self.momentum
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        averages = [self._average(parameter) for parameter in parameters]
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, gradients)
        directions = list(torch._foreach_add(gradients, averages, alpha=momentum))
        if group["is_filter"]:
            for parameter in parameters:
                parameter.mul_(_to_norm(parameter))
            directions = orthogonal_filters(directions, self.dtype)
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])

    def _move_by_kernels(self, filters: list[Tensor], lr: float) -> None:
        """The same for filters, in two passes over memory around the iteration."""
        for places in _of_one_shape(filters):
            same = [filters[place] for place in places]
            directions = torch.empty(len(same), len(same[0]), same[0][0].numel(), dtype=self.dtype)
            for bank, direction in zip(same, directions, strict=True):
                assert bank.grad is not None
                muon_step.average_into(self._average(bank), bank.grad, self.filter_momentum, direction)
            orthogonal, scales = _iterate(directions)
            for bank, direction, scale in zip(same, orthogonal, scales.flatten().tolist(), strict=True):
                muon_step.move(bank, direction, float(_to_norm(bank)), -lr * scale)

    def _tensors(self, parameters: list[Tensor]) -> Iterator[Tensor | None]:
        for parameter in parameters:
            yield from (parameter, parameter.grad, self._average(parameter))

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonal_filters(filters: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Make each filter bank (channels_out, ...) an orthogonal matrix (channels_out, rest), those of one shape at once.

    Returns the same shapes and types, in the same order. Channels come last in a row of the matrices, as they do in
    memory: the order of the columns does not matter to the result, but saves copies.
    """
    found = list(filters)
    for same in _of_one_shape(filters):
        banks = torch.stack([filters[place].permute(0, 2, 3, 1) for place in same])
        results = orthogonalise(banks.flatten(2), dtype).view(banks.shape)
        for place, result in zip(same, results, strict=True):
            found[place] = result.permute(0, 3, 1, 2)
    return found


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Replace the singular values of matrices (N, rows, columns) by values near 1 (0.5 to 1.2).

    A Newton-Schulz iteration in `dtype`, for which bf16 is exact enough; the result has the type of the matrices. A
    matrix of zeros stays one.
    """
    found, scale = _iterate(matrices.to(dtype))
    return found.to(matrices.dtype) * scale


def _iterate(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The iteration's result but for a factor each (N, 1, 1), in torch's default type.

    All steps multiply x from the left by a polynomial of x xᵀ, so they are collected in one small square matrix and
    applied to x once; the trace of x xᵀ is the square of the norm that x has to be divided by.
    """
    x = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    square = x @ x.mT
    scale = 1 / (square.diagonal(dim1=1, dim2=2).to(torch.get_default_dtype()).sum(1).sqrt() + EPS)[:, None, None]
    square = (square * scale**2).to(x.dtype)
    polynomial = collected = _polynomial(square)
    for _ in range(ITERATIONS - 1):
        square = polynomial @ square @ polynomial
        polynomial = _polynomial(square)
        collected = polynomial @ collected
    found: Tensor = collected @ x
    return found if x is matrices else found.mT, scale


def _of_one_shape(filters: list[Tensor]) -> Iterable[list[int]]:
    """The places of filter banks that are matrices of the same size."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, bank in enumerate(filters):
        places.setdefault((len(bank), bank[0].numel()), []).append(place)
    return places.values()


def _to_norm(filters: Tensor) -> Tensor:
    """What scales a bank to the norm sqrt(channels_out)."""
    factor: Tensor = len(filters) ** 0.5 / (filters.norm() + EPS)
    return factor


def _polynomial(square: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
    polynomial.diagonal(dim1=1, dim2=2).add_(a)
    return polynomial
