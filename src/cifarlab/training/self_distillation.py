"""Self-distillation: a part of each target is what the network itself said when it last saw the image.

Source: K. Kim et al., Self-Knowledge Distillation with Progressive Refinement of Targets, arXiv 2006.12000, 2021,
where the network of the epoch before is kept and asked again. Here no second network and no second forward pass is
needed: the answers are those of the step that saw the image last.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class SoftTargets(NamedTuple):
    """Probabilities (N, C) that are aimed at, and their share of the loss."""

    probabilities: Tensor
    share: float


class OwnAnswers:
    """Remembers what the network last said of every training image.

    probabilities (N, C) float32: all on the label for an image that was never seen.
    """

    def __init__(self, labels: Tensor, num_classes: int, share: float) -> None:
        self.share = share
        self.probabilities = F.one_hot(labels, num_classes).float()

    def targets(self, positions: Tensor, done: float) -> SoftTargets:
        """For one batch, after the part `done` (0 to 1) of the training: the share rises evenly from 0."""
        return SoftTargets(self.probabilities[positions], self.share * done)

    def note(self, positions: Tensor, logits: Tensor) -> None:
        """Take in the logits of one batch, in which no image comes twice."""
        self.probabilities[positions] = torch.softmax(logits.float(), dim=1)
