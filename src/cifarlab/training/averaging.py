"""Averaged weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cifarlab.recipe.schema import AveragingSpec


class Average:
    """An exponential moving average of a network's weights; buffers such as batch-norm statistics are averaged too.

    Until its first update after `start` (in steps) the average equals the weights. From then on it is the mean of the
    weights at its updates, each of which counts `decay` times as much as the next: the weights before, and the first
    random ones, have no part in it (Kingma and Ba, 2015, section 3). Whole-number buffers are copied.
    """

    def __init__(self, model: nn.Module, spec: AveragingSpec, start: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.spec = spec
        self.start = start

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step number `step`, counted from 1."""
        num_updates = step // self.spec.every - self.start // self.spec.every
        if num_updates > 0 and step % self.spec.every:
            return
        # the newest of n weights decayⁿ⁻¹, ..., decay, 1 as a share of their sum: 1 at first, 1/n at the beginning
        weight = 1.0 if num_updates <= 1 else (1.0 - self.spec.decay) / (1.0 - self.spec.decay**num_updates)
        averages, values = _floating(self.model), _floating(model)
        torch._foreach_lerp_(averages, values, weight)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _floating(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
