"""Batches as a function of the step: the whole data set lives on the device, and no process or state stands between."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifarlab.errors import DataError
from cifarlab.images.images import Images
from cifarlab.machine import randomness

_ORDER = 1
"""Part of the random key, so that the order shares no stream with augmentation."""


@dataclass(frozen=True)
class Batch:
    """indices (N,): positions in the training images; pixels uint8 (N, 3, H, W); labels (N,).

    number_of_pass: how often the images that are drawn have been passed through before; the epoch, while all are.
    """

    indices: Tensor
    pixels: Tensor
    labels: Tensor
    number_of_pass: int


class Loader:
    """Shuffled batches of training images that lie on `device`.

    Which images a step gets depends on seed, step and the drawn images alone, so a run continues anywhere without any
    saved position.
    Raises DataError when there are fewer than two images.
    """

    def __init__(
        self, images: Images, device: torch.device, batch_size: int, *, keep_last: bool = True, seed: int = 0
    ) -> None:
        if len(images) < 2:
            raise DataError(f"Training needs at least two images; the training split has {len(images)}.")
        self.pixels = to_device(images.pixels, device)
        self.labels = to_device(images.labels, device)
        self.batch_size = min(batch_size, len(images))
        self.seed = seed
        self._num_batches = _num_batches(len(images), self.batch_size, keep_last)
        self._drawn: Tensor | None = None
        self._images_per_pass, self._passes = len(images), 1
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Batches, and so optimizer steps, per epoch."""
        return self._num_batches

    def batch(self, step: int) -> Batch:
        """The batch of one optimizer step, counted from 0 over all epochs."""
        epoch, position = divmod(step, len(self))
        start = position * self.batch_size
        indices = self.order(epoch)[start : start + self.batch_size]
        number = epoch * self._passes + start // self._images_per_pass
        return Batch(indices, self.pixels.index_select(0, indices), self.labels.index_select(0, indices), number)

    def draw_only(self, positions: Tensor) -> None:
        """Draw nothing but these images from now on; an epoch keeps its steps, so they come more often.

        Raises ValueError for fewer than a batch.
        """
        if len(positions) < self.batch_size:
            raise ValueError(f"a batch needs {self.batch_size} images, not {len(positions)}")
        self._drawn, self._epoch = positions, -1
        # whole batches, so that none holds an image twice
        self._images_per_pass = len(positions) // self.batch_size * self.batch_size
        self._passes = math.ceil(len(self) * self.batch_size / self._images_per_pass)

    def order(self, epoch: int) -> Tensor:
        """The positions of one epoch in the order of drawing: a permutation of all images, or several of the drawn."""
        if epoch != self._epoch:
            stream = randomness.generator(torch.device("cpu"), self.seed, _ORDER, epoch)
            self._order = self._permutations(stream).to(self.labels.device)
            self._epoch = epoch
        return self._order

    def _permutations(self, stream: torch.Generator) -> Tensor:
        if self._drawn is None:
            return torch.randperm(len(self.labels), generator=stream)
        drawn = self._drawn.cpu()
        passes = [torch.randperm(len(drawn), generator=stream)[: self._images_per_pass] for _ in range(self._passes)]
        return torch.cat([drawn[positions] for positions in passes])


def to_device(array: NDArray[np.uint8] | NDArray[np.int64], device: torch.device) -> Tensor:
    """Move an array to the device; on the CPU a writable one, memory-mapped ones included, is shared and not copied."""
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def _num_batches(num_images: int, batch_size: int, keep_last: bool) -> int:
    """A rest of one image is left out: batch norm has no variance to compute from it."""
    full, rest = divmod(num_images, batch_size)
    return full + (1 if keep_last and rest > 1 else 0)
