"""Heat maps: where in an image the evidence for a class lies, in the resolution in which it was found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Evidence for one class, float32 (h, w) over the whole image: higher values speak more for the class.

    method: how it was found. layer: where; empty for methods that look at inputs and outputs alone.
    """

    method: str
    layer: str
    values: NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which it was measured, before any enlargement."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def is_empty(self) -> bool:
        """Whether no place speaks for the class, or all places speak for it equally."""
        # At most 0 everywhere, or constant.
        return bool(self.values.max() <= max(0.0, self.values.min()))

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """Resize the map to float32 (height, width), bilinearly between the centres of its cells."""
        return resize(self.values, height, width)

    def shuffled(self, random: np.random.Generator) -> HeatMap:
        """Make a map that knows nothing: the same values, in the same resolution, at random places."""
        return HeatMap("random", "", random.permutation(self.values.ravel()).reshape(self.values.shape))


def resize(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize float32 (h, w) to (height, width), bilinearly between the centres of its cells."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    # align_corners=False: cells are areas. True would stretch their centres to the borders of the image.
    return F.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)[0, 0].numpy()
