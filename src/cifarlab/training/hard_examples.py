"""Hard examples: towards the end, only the images with the highest losses are drawn.

Sources: A. Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, arXiv 1910.00762, 2019;
K. Jordan filters CIFAR-10 by loss in airbench96. Here the losses cost neither a second network nor a second forward
pass: each image has the loss of the step that saw it last.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cifarlab.recipe.duration import exact


class HardExamples:
    """Remembers the loss of every training image, and which images are drawn.

    losses: (N,). drawn: positions, at first of all images.
    """

    def __init__(self, num_images: int, share: float, at_least: int, device: torch.device) -> None:
        # at least a batch, which the loader needs to fill without drawing an image twice
        self.num_drawn = max(math.ceil(exact(share) * num_images), min(at_least, num_images))
        # infinite until an image was seen: never to have been drawn (a rest that was dropped) counts as hard
        self.losses = torch.full((num_images,), torch.inf, device=device)
        self.drawn = torch.arange(num_images, device=device)

    def record(self, positions: Tensor, losses: Tensor) -> None:
        """Store the losses of one batch, in which no image comes twice."""
        self.losses[positions] = losses

    def choose(self) -> None:
        """From now on draw the images with the highest losses."""
        # stable, so that of equal losses the earlier images are drawn, on every device and after every resume
        order = torch.argsort(self.losses, descending=True, stable=True)
        self.drawn = order[: self.num_drawn].sort().values  # the loader shuffles them itself

    def load(self, losses: Tensor, drawn: Tensor) -> None:
        """Restore what a checkpoint kept; raises ValueError for positions that do not exist."""
        rises = bool((drawn[1:] > drawn[:-1]).all())
        if len(drawn) not in (self.num_drawn, len(self.losses)) or not rises:
            raise ValueError("hard.drawn does not say which images are drawn")
        if int(drawn[0]) < 0 or int(drawn[-1]) >= len(self.losses):
            raise ValueError("hard.drawn names images that do not exist")
        self.losses.copy_(losses)
        self.drawn = drawn.to(self.losses.device)
