"""Mix pairs of images and their labels: mixup, cutmix, or one of the two by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cifarlab.batches.geometry import Box
from cifarlab.machine import randomness
from cifarlab.recipe.schema import AugmentationSpec


@dataclass(frozen=True)
class Targets:
    """The labels of a batch, where loss = weight · CE(first) + (1 - weight) · CE(second).

    first, second: int64 (N,). weight: 1.0 for images that are not mixed, else a 0-d tensor.
    """

    # Two vectors of labels instead of a matrix (N, classes) of soft ones: cross_entropy takes them as they are, and
    # accuracy can still be counted by label.
    first: Tensor
    second: Tensor
    weight: float | Tensor = 1.0


def plain(labels: Tensor) -> Targets:
    """Make the targets of images that are not mixed."""
    return Targets(labels, labels)


def mix(images: Tensor, labels: Tensor, spec: AugmentationSpec, generator: torch.Generator) -> tuple[Tensor, Targets]:
    """Mix a batch with itself in random order, as the spec says, without waiting for the device.

    images: float (N, C, H, W), normalised or not; their memory format is kept. labels: int64 (N,).
    """
    if spec.mix_probability == 0 or spec.mixup == spec.cutmix == 0:
        return images, plain(labels)
    height, width = images.shape[2:]
    # The partners are images of the same batch, as in both papers: no second batch has to be loaded.
    order = torch.randperm(len(images), generator=generator, device=images.device)
    # One weight and one box for the whole batch, as in the authors' code. All eight numbers are drawn, whatever is on.
    chance, coin, *uniform, y, x = randomness.uniform(generator, 8, device=images.device)
    # A method that is off is computed too, with any legal alpha, and discarded by torch.where: an `if` on `coin` or
    # `chance` would wait for the device, and these are a few numbers and one (H, W) mask.
    weight = symmetric_beta(uniform[0], uniform[1], spec.mixup or 1.0)
    cut = cutmix_box(symmetric_beta(uniform[2], uniform[3], spec.cutmix or 1.0), y, x, height, width)
    use_cutmix = coin < (0.5 if spec.mixup and spec.cutmix else float(spec.cutmix > 0))
    # Both methods are one blend: mixup with the same share everywhere, cutmix with 0 in the box and 1 outside.
    share = torch.where(use_cutmix, _outside(cut, height, width), weight)
    weight = torch.where(use_cutmix, remaining_share(cut, height, width), weight)
    mixed = chance < spec.mix_probability
    share, weight = torch.where(mixed, share, 1.0), torch.where(mixed, weight, 1.0)
    return _blend(images, order, share), Targets(labels, labels[order], weight)


def mixup(images: Tensor, permutation: Tensor, weight: Tensor) -> Tensor:
    """Add `weight` times each image and 1 - `weight` times its partner (Zhang et al., 2017).

    permutation: int64 (N,), the partner of each image; weight: 0-d tensor in 0..1.
    """
    return _blend(images, permutation, weight.expand(1, 1, *images.shape[2:]))


def cutmix(images: Tensor, permutation: Tensor, box: Box) -> Tensor:
    """Replace a box in each image by the same part of its partner (Yun et al., 2019).

    permutation: int64 (N,); box: 0-d tensors. The weight of the first labels is then `remaining_share` of the box.
    """
    return _blend(images, permutation, _outside(box, *images.shape[2:]))


def cutmix_box(weight: Tensor, uniform_y: Tensor, uniform_x: Tensor, height: int, width: int) -> Box:
    """Cut a share 1 - `weight` of the image around any of its pixels, and clip the box at the edges."""
    half = 0.5 * (1 - weight).sqrt()  # the box has the image's proportions, so each side takes the root of the share
    half_height, half_width = (half * height).floor(), (half * width).floor()
    y, x = (uniform_y * height).floor(), (uniform_x * width).floor()
    return Box(
        (y - half_height).clamp_(min=0),
        (x - half_width).clamp_(min=0),
        (y + half_height).clamp_(max=height),
        (x + half_width).clamp_(max=width),
    )


def remaining_share(box: Box, height: int, width: int) -> Tensor:
    """Compute the share of the image that the clipped box leaves: the weight of the first label, a 0-d tensor."""
    # Not the weight that was drawn: clipping and whole pixels make the box smaller, and labels go by what is visible.
    return 1 - (box.bottom - box.top) * (box.right - box.left) / (height * width)


def symmetric_beta(uniform: Tensor, angle: Tensor, alpha: float) -> Tensor:
    """Map two independent uniform numbers in [0, 1) to one that follows Beta(alpha, alpha), for any alpha > 0.

    If t follows Student's distribution with 2·alpha degrees of freedom, then t / sqrt(2·alpha + t²), shrunk from -1..1
    to 0..1, is such a number, and Bailey's polar method (Mathematics of Computation, 1994) makes t of two uniform ones.
    """
    # torch.distributions.Beta takes no generator, so its draws could not be a function of the seed and the step.
    cosine = (2 * math.pi * angle).cos()
    radius = torch.expm1(uniform.log() / -alpha)  # uniform^(-1/alpha) - 1; may be infinite, which is right
    # t² = 2·alpha · radius · cosine², so 2·alpha cancels out.
    return 0.5 + 0.5 * cosine.sign() / (1 + 1 / (radius * cosine.square())).sqrt()


def _outside(box: Box, height: int, width: int) -> Tensor:
    return box.covers(height, width).logical_not().to(torch.float32)


def _blend(images: Tensor, order: Tensor, share: Tensor) -> Tensor:
    """Take `share` (1, 1, H, W) of each image and the rest of its partner; a share of 0 or 1 copies exactly."""
    # lerp takes eight times as long on a CPU unless the share is spelt out per channel in the images' own layout.
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    share = share.to(images.dtype).expand(1, *images.shape[1:]).contiguous(memory_format=layout)
    return torch.lerp(images[order], images, share)
