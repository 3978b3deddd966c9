"""Hard examples: towards the end, only those images are drawn that the network does not have right with ease.

Source: A. Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, arXiv 1910.00762, 2019; K. Jordan
filters CIFAR-10 by loss in airbench96. Here no second network and no second forward pass judges the images: each has
the loss of the step that saw it last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cifarlab.recipe.duration import exact


class HardExamples:
    """Remembers the loss of every training image, and which images are drawn.

    losses (N,), infinite for an image that was never seen; drawn: positions, at first all.
    """

    def __init__(self, num_images: int, share: float, at_least: int, device: torch.device) -> None:
        self.num_drawn = max(math.ceil(exact(share) * num_images), min(at_least, num_images))
        self.losses = torch.full((num_images,), torch.inf, device=device)
        self.drawn = torch.arange(num_images, device=device)

    def note(self, positions: Tensor, losses: Tensor) -> None:
        """Take in the losses of one batch, in which no image comes twice."""
        self.losses[positions] = losses

    def choose(self) -> None:
        """From now on draw the images with the highest losses; of equals the earlier ones."""
        order = torch.argsort(self.losses, descending=True, stable=True)
        self.drawn = order[: self.num_drawn].sort().values

    def load(self, losses: Tensor, drawn: Tensor) -> None:
        """Put back what a checkpoint kept; raises ValueError for positions that there are not."""
        rises = bool((drawn[1:] > drawn[:-1]).all())
        if len(drawn) not in (self.num_drawn, len(self.losses)) or not rises:
            raise ValueError("hard.drawn does not say which images are drawn")
        if int(drawn[0]) < 0 or int(drawn[-1]) >= len(self.losses):
            raise ValueError("hard.drawn names images that are not there")
        self.losses.copy_(losses)
        self.drawn = drawn.to(self.losses.device)
