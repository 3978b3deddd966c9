"""Averaged weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cifarlab.recipe import AveragingSpec


class Average:
    """An exponential moving average of a network's weights; buffers such as batch-norm statistics are averaged too.

    Until `start` (in steps) the average equals the weights. Whole-number buffers are copied.
    """

    def __init__(self, model: nn.Module, spec: AveragingSpec, start: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.spec = spec
        self.start = start

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step number `step`, counted from 1."""
        if step % self.spec.every:
            return
        weight = 1.0 if step <= self.start else 1.0 - self.spec.decay
        averages, values = _floating(self.model), _floating(model)
        torch._foreach_lerp_(averages, values, weight)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _floating(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
