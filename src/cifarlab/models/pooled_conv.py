"""The 3×3 convolution in front of a 2×2 pool, which looks at even sides only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A 3×3 convolution with padding 1 that leaves out what a 2×2 pool would not look at.

    Of a map with odd sides the pool drops the last row and column: a tenth of speednet's operations at 32 px. What
    is computed is what the plain convolution would give there.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        height, width = input.shape[2:]
        if height % 2 == width % 2 == 0:
            return super().forward(input)
        padded = F.pad(input, (1, 1 - width % 2, 1, 1 - height % 2))
        return F.conv2d(padded, self.weight, self.bias)
