"""A 3×3 convolution before a 2×2 pool that computes only what the pool looks at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PooledConv2d(nn.Conv2d):
    """A 3×3 convolution with padding 1 that leaves out the last row or column of an odd map, as the pool would.

    These are a tenth of speednet's operations at 32 px (docs/speed.md). Everywhere else the output is that of the
    plain convolution.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H', W'), with H' and W' the sides rounded down to even numbers."""
        height, width = input.shape[2:]
        if height % 2 == width % 2 == 0:
            return super().forward(input)
        # F.pad takes (left, right, top, bottom): without padding at the far end of an odd side its last output is gone.
        padded = F.pad(input, (1, 1 - width % 2, 1, 1 - height % 2))
        return F.conv2d(padded, self.weight, self.bias)
