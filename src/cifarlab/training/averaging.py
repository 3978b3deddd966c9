"""Averaged weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from cifarlab.recipe.schema import AveragingSpec


class Average:
    """An exponential moving average of a network's weights; buffers such as batch-norm statistics are averaged too.

    Until its first update after `start` (in steps) the average equals the weights. From then on it is the mean of the
    weights at its updates, each of which counts `decay` times as much as the next. The weights before, above
    all the random first ones, have no part in it: this is Adam's bias correction (Kingma and Ba, 2015, section 3).
    Integer buffers are copied.
    """

    def __init__(self, model: nn.Module, spec: AveragingSpec, start: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()  # never trained: it needs no gradients
        self.spec = spec
        self.start = start

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Average the weights after optimizer step number `step`, counted from 1."""
        # a function of the step, not a counter, so that a checkpoint needs to keep the averages alone
        num_updates = step // self.spec.every - self.start // self.spec.every
        if num_updates > 0 and step % self.spec.every:
            return
        # Bias correction: the newest of n updates has the share 1 / (1 + decay + ... + decayⁿ⁻¹), which is 1 at first,
        # then close to 1/n, and tends to 1 - decay. With 1 - decay from the beginning and a decay of 0.999 the random
        # first weights would still be a third of the average after 1,100 updates.
        weight = 1.0 if num_updates <= 1 else (1.0 - self.spec.decay) / (1.0 - self.spec.decay**num_updates)
        averages, values = _floating(self.model), _floating(model)
        torch._foreach_lerp_(averages, values, weight)  # one call for all tensors instead of one each
        # batch norm's count of batches: an integer has no mean
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _floating(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]
