"""Muon: momentum whose steps are orthogonal matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# p(x) = 3.4445 x - 4.7750 x³ + 2.0315 x⁵ is applied to every singular value again and again. Its slope of 3.4 at 0
# lifts small values fast, so that three iterations are enough. The price is that p(1) is not 1: values above 0.05 of
# the norm end anywhere between 0.68 and 1.2, which was found to cost no accuracy (K. Jordan, 2024,
# kellerjordan.github.io/posts/muon, where the coefficients are from).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3
"""As in cifar10-airbench; for language models five are usual."""
EPS = 1e-7
"""Added to norms, so that a filter bank without any gradient is not divided by zero."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum for all parameters; the steps of filters are made orthogonal, and their norm is fixed.

    A filter bank (channels_out, channels_in, height, width) is a matrix (channels_out, rest). Its step U S Vᵀ is
    replaced by about U Vᵀ, the nearest orthogonal matrix, so that directions with small gradients learn as fast as
    those with large ones. Before each step the bank is scaled to the norm sqrt(channels_out). Groups without
    `is_filter` are moved by SGD with Nesterov momentum and weight decay.
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
            if parameters:  # a frozen backbone has no gradients
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        # foreach: one call for all tensors, since most are small and the calls cost more than their arithmetic
        momentum = self.filter_momentum if group["is_filter"] else self.momentum
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        averages = [self._average(parameter) for parameter in parameters]
        torch._foreach_mul_(averages, momentum)
        torch._foreach_add_(averages, gradients)
        # Nesterov: the gradient of this step counts once more, as if the momentum had been followed already
        directions = list(torch._foreach_add(gradients, averages, alpha=momentum))
        if group["is_filter"]:
            for parameter in parameters:
                # The norm layer behind a convolution cancels the scale of its filters, so steps only make their norm
                # grow (van Laarhoven, 2017), and a step of the same size turns them less and less. At a fixed norm the
                # learning rate keeps its meaning.
                parameter.mul_(_to_norm(parameter))
            directions = orthogonal_filters(directions, self.dtype)
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:  # torch's name for it, under which checkpoints keep it
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonal_filters(filters: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Make each filter bank (channels_out, ...) an orthogonal matrix (channels_out, rest), those of one shape at once.

    Returns the same shapes and types, in the same order.
    """
    found = list(filters)
    for same in _of_one_shape(filters):
        # Channels come last in a row of the matrices, as they do in memory. Permuting the columns of a matrix permutes
        # those of U Vᵀ and changes nothing else, so any order will do, and this one needs no copies.
        banks = torch.stack([filters[place].permute(0, 2, 3, 1) for place in same])
        results = orthogonalise(banks.flatten(2), dtype).view(banks.shape)
        for place, result in zip(same, results, strict=True):
            found[place] = result.permute(0, 3, 1, 2)
    return found


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Replace the singular values of matrices (N, rows, columns) by values near 1 (0.5 to 1.2).

    A Newton-Schulz iteration in `dtype`, for which bf16 is exact enough; the result has the type of the matrices. A
    matrix of zeros remains one.
    """
    found, scale = _iterate(matrices.to(dtype))
    return found.to(matrices.dtype) * scale


def _iterate(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """The orthogonal matrices but for a factor each, and the factors (N, 1, 1) in torch's default type."""
    # on the shorter side, so that x xᵀ is the smaller of the two possible squares
    x = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    square = x @ x.mT
    # The iteration needs singular values in 0..1, so x is divided by its Frobenius norm, which is at least the largest.
    # Its square is the trace of x xᵀ, which is there already: x itself is not read for it, nor scaled.
    scale = 1 / (square.diagonal(dim1=1, dim2=2).to(torch.get_default_dtype()).sum(1).sqrt() + EPS)[:, None, None]
    square = (square * scale**2).to(x.dtype)
    # Every iteration multiplies x from the left by a polynomial of x xᵀ. All of these commute, so they are collected in
    # one small square matrix, which meets the long x only once, at the end.
    polynomial = collected = _polynomial(square)
    for _ in range(ITERATIONS - 1):
        square = polynomial @ square @ polynomial  # x xᵀ after the iteration
        polynomial = _polynomial(square)
        collected = polynomial @ collected
    found: Tensor = collected @ x
    return found if x is matrices else found.mT, scale


def _polynomial(square: Tensor) -> Tensor:
    """a + b s + c s², by which an iteration multiplies x: p(x) = (a + b x xᵀ + c (x xᵀ)²) x."""
    a, b, c = COEFFICIENTS
    polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
    polynomial.diagonal(dim1=1, dim2=2).add_(a)
    return polynomial


def _to_norm(filters: Tensor) -> Tensor:
    """The factor that scales a bank to the norm sqrt(channels_out): each filter then has norm 1, on average."""
    factor: Tensor = len(filters) ** 0.5 / (filters.norm() + EPS)
    return factor


def _of_one_shape(filters: list[Tensor]) -> Iterable[list[int]]:
    """The positions of filter banks that are matrices of the same size, group by group, for products in batches."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, bank in enumerate(filters):
        places.setdefault((len(bank), bank[0].numel()), []).append(place)
    return places.values()
