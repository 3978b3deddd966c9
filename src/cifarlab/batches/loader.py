"""Batches as a function of the step: the whole data set lies on the device, without worker processes or saved state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifarlab.errors import DataError
from cifarlab.images.images import Images
from cifarlab.language import tr
from cifarlab.machine import randomness

_ORDER = 1
"""Part of the random key, so that the order shares no stream with augmentation."""


@dataclass(frozen=True)
class Batch:
    """The images of one step.

    indices: int64 (N,), positions in the training images. pixels: uint8 (N, 3, H, W). labels: int64 (N,).
    pass_number: how many times the images were gone through before; the epoch, as long as all of them are drawn.
    """

    indices: Tensor
    pixels: Tensor
    labels: Tensor
    pass_number: int


class Loader:
    """Shuffled batches of training images that lie on `device`.

    Which images a step gets depends on the seed, the step and `draw_only` alone, so a run continues anywhere without a
    saved position. Raises DataError when there are fewer than two images.
    """

    # Small images fit: CIFAR-10's 50,000 take 154 MB as uint8, a quarter of float32. A batch is then one gather on the
    # device, and nothing is decoded, collated or copied between processes.

    def __init__(
        self, images: Images, device: torch.device, batch_size: int, *, keep_last: bool = True, seed: int = 0
    ) -> None:
        if len(images) < 2:
            raise DataError(tr("Training needs at least two images; the training split has {n}.", n=len(images)))
        self.pixels = to_device(images.pixels, device)
        self.labels = to_device(images.labels, device)
        self.batch_size = min(batch_size, len(images))
        self.seed = seed
        full, rest = divmod(len(images), self.batch_size)
        # A rest of one image is left out: batch norm has no variance to compute from it.
        self._num_batches = full + (1 if keep_last and rest > 1 else 0)
        self._drawn: Tensor | None = None
        self._images_per_pass, self._passes = len(images), 1  # passes: per epoch
        self._epoch = -1  # the epoch that _order belongs to
        self._order = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """The number of batches, and so of optimizer steps, per epoch."""
        return self._num_batches

    def batch(self, step: int) -> Batch:
        """Return the batch of one optimizer step, counted from 0 over all epochs."""
        epoch, position = divmod(step, len(self))
        start = position * self.batch_size
        indices = self.order(epoch)[start : start + self.batch_size]
        # Alternating flips go by this number: by the epoch, the passes within one would all show the same side.
        number = epoch * self._passes + start // self._images_per_pass
        return Batch(indices, self.pixels.index_select(0, indices), self.labels.index_select(0, indices), number)

    def draw_only(self, positions: Tensor) -> None:
        """Draw only these images from now on, such as the hard ones; an epoch keeps its steps, so they come more often.

        Raises ValueError for fewer than a batch.
        """
        if len(positions) < self.batch_size:
            raise ValueError(f"a batch needs {self.batch_size} images, not {len(positions)}")
        self._drawn, self._epoch = positions, -1
        # A batch never spans two passes, so none holds an image twice.
        self._images_per_pass = len(positions) // self.batch_size * self.batch_size
        self._passes = math.ceil(len(self) * self.batch_size / self._images_per_pass)

    def order(self, epoch: int) -> Tensor:
        """Return the positions of one epoch in order: a permutation of all images, or several of those drawn."""
        if epoch != self._epoch:  # permuted once per epoch, not per step
            # On the CPU, whose generator gives every device the same order.
            stream = randomness.generator(torch.device("cpu"), self.seed, _ORDER, epoch)
            if self._drawn is None:
                order = torch.randperm(len(self.labels), generator=stream)
            else:
                drawn, length = self._drawn.cpu(), self._images_per_pass
                passes = [torch.randperm(len(drawn), generator=stream)[:length] for _ in range(self._passes)]
                order = drawn[torch.cat(passes)]
            self._order, self._epoch = order.to(self.labels.device), epoch
        return self._order


def to_device(array: NDArray[np.uint8] | NDArray[np.int64], device: torch.device) -> Tensor:
    """Move an array to the device; on the CPU a writable one, memory-mapped ones included, is shared and not copied."""
    # torch has no read-only tensors: from_numpy warns about a read-only array, and writing to it would be undefined.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
