"""The description of a network that recipes can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from cifarlab.language import listed, tr
from cifarlab.recipe.schema import ModelSpec

Build = Callable[[ModelSpec, int, int], nn.Module]
"""(spec, num_classes, image_size in pixels) -> network."""


@dataclass(frozen=True)
class Model:
    """A network that recipes can name: how to build it, and which options it has.

    build returns a network that maps normalised float images (N, 3, image_size, image_size) to logits (N,
    num_classes).
    """

    build: Build
    source: str
    """Where the architecture comes from."""
    stems: tuple[str, ...] = ()
    """Values of model.stem besides "default"."""
    scalable: bool = False
    """Whether model.width changes the number of channels."""
    min_size: int = 1
    """Pixels per side; smaller images shrink to nothing inside the network."""

    def problems(self, spec: ModelSpec, image_size: int) -> list[str]:
        """Return one sentence for each option that this network does not have."""
        # All at once, so that a recipe is corrected in one go.
        stems = ("default", *self.stems)
        found = [
            # (whether it is a problem, the sentence that says so)
            (
                spec.stem not in stems,
                tr("model.stem = {stem!r} is not one of {stems}.", stem=spec.stem, stems=listed(stems)),
            ),
            (
                spec.width != 1 and not self.scalable,
                tr("model.width = {width} needs a network that scales.", width=spec.width),
            ),
            (
                spec.pretrained,
                tr("model.pretrained needs a torchvision: or timm: network; model.weights takes a file."),
            ),
            (
                image_size < self.min_size,
                tr("Images of {have} px are too small; it needs {want}.", have=image_size, want=self.min_size),
            ),
        ]
        return [text for wrong, text in found if wrong]


@runtime_checkable  # isinstance() then looks for the method, so that a network of one's own needs no base class
class InitialisedFromImages(Protocol):
    """A network whose initial weights depend on the training images; any module with this method counts."""

    def initialise_from(self, images: Tensor) -> None:
        """Set them from normalised float images (N, 3, H, W)."""
