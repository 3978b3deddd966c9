"""A small wide network that learns CIFAR-10 in few epochs.

The ideas are published: a fixed whitening convolution and few wide layers (D. Page, How to Train Your ResNet,
2018-2019); 2×2 whitening with both signs, the widths, identity initialisation and the fast running statistics of batch
norm (K. Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, 2024, sections 3.1 to 3.4), which
builds on DAWNBench (C. Coleman et al., 2017) and hlb-CIFAR10 (T. Balsam, 2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.models.pooled_conv import PooledConv2d

WIDTHS = (64, 256, 256)  # channels of the three groups, those of airbench94
PLUS_WIDTHS = (128, 384, 512)  # those of airbench96

PATCH = 2  # side in pixels of the patches that are whitened; 3×3 was worse (89.9 % instead of 90.1 to 90.4 %)
PATCH_VALUES = 3 * PATCH**2  # 12 values per patch, hence 12 eigenvectors
WHITENING_EPS = 5e-4  # added to the variances, so that directions with almost none, which are noise, stay small

# Variance below which images count as constant in a direction. Of normalised values JPEG leaves 1e-4, rounding 1e-15.
FLAT = 1e-6

# Share of the newest batch in the running statistics: high, because a training has only some hundred steps.
NORM_MOMENTUM = 0.4

# Keeps the first predictions near uniform although the features, which are maxima, are large; arXiv 2404.00498.
LOGIT_SCALE = 1 / 9


class SpeedNet(nn.Module):
    """A fixed whitening convolution, three groups of two convolutions, global max pooling, one linear layer.

        image              3 × 32 × 32
        whiten 2×2        24 × 31 × 31    fixed filters; GELU
        group 1   conv    64 × 30 × 30    max pool 15 × 15, norm, GELU
                  conv    64 × 15 × 15    norm, GELU
        group 2   conv   256 × 14 × 14    max pool 7 × 7, norm, GELU
                  conv   256 ×  7 ×  7    norm, GELU
        group 3   conv   256 ×  6 ×  6    max pool 3 × 3, norm, GELU
                  conv   256 ×  3 ×  3    norm, GELU
        maximum          256
        linear           256 -> classes, no bias, times 1/9

    `plus` is the larger network of airbench96: 128, 384 and 512 channels, and in each group a third convolution, with a
    shortcut around the last two. `width` multiplies the channels of the groups, rounded to a multiple of 8.
    GELU is used instead of ReLU. The whitening filters are a buffer: saved with the weights, never trained, and not
    counted as parameters. Source: see the module's docstring.
    """

    def __init__(self, num_classes: int, width: float = 1.0, *, plus: bool = False) -> None:
        super().__init__()
        # Multiples of 8, which matrix units need.
        widths = [max(8, round(channels * width / 8) * 8) for channels in (PLUS_WIDTHS if plus else WIDTHS)]
        group = ResidualGroup if plus else Group
        self.whiten = Whitening()
        self.group1 = group(2 * PATCH_VALUES, widths[0])
        self.group2 = group(widths[0], widths[1])
        self.group3 = group(widths[1], widths[2])
        self.head = nn.Linear(widths[2], num_classes, bias=False)

    def initialise_from(self, images: Tensor) -> None:
        """Set the whitening filters from normalised float images (N, 3, H, W)."""
        self.whiten.initialise_from(images)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        x = self.group3(self.group2(self.group1(F.gelu(self.whiten(images)))))
        # A maximum depends on the number of pixels, unlike a mean: training at 28 px and testing at 32 gave 85.6 %
        # instead of 90.0 %, so the growing images end at full size. Forward and backward on two Zen 5 cores, for 500
        # images of 3×3 in bf16: 0.25 ms; max_pool2d takes 0.7 and amax, which divides gradients among equals, 1.9.
        largest = F.adaptive_max_pool2d(x, 1).flatten(1)
        logits: Tensor = self.head(largest) * LOGIT_SCALE
        return logits


class Whitening(nn.Module):
    """A 2×2 convolution whose fixed filters decorrelate patches: 3 × H × W to 24 × (H - 1) × (W - 1).

    Each of the 12 filters comes with both signs, so that GELU does not lose the negative half of its response (arXiv
    2404.00498, section 3.2).
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        # No bias, unlike airbench: learned for 30 % of the training it gave 89.9 % instead of 89.8 %, at a higher loss
        # (0.320 instead of 0.317). Without one the backward pass ends before this layer.
        self.register_buffer("weight", torch.empty(2 * PATCH_VALUES, 3, PATCH, PATCH))
        nn.init.orthogonal_(self.weight[:PATCH_VALUES])
        self.weight[PATCH_VALUES:].copy_(self.weight[:PATCH_VALUES]).neg_()

    @torch.no_grad()
    def initialise_from(self, images: Tensor) -> None:
        """Set the filters to the eigenvectors of the patch covariance, divided by the standard deviations.

        images: normalised float (N, 3, H, W). A direction in which they do not vary (a channel that is 0 throughout, or
        greys, which have three equal channels) gets a random mixture of the other filters.
        """
        variances, directions = torch.linalg.eigh(patch_covariance(images, PATCH))  # ascending; (12,), (12, 12)
        filters = directions.T / torch.sqrt(variances + WHITENING_EPS)[:, None]  # one eigenvector per row
        # An eigenvector's sign differs between libraries. Both signs are used, but which of the two comes first decides
        # which random filters behind it see it: so the largest entry is made positive.
        largest = filters.abs().argmax(dim=1, keepdim=True)
        filters = filters * filters.gather(1, largest).sign()
        # A response that is always 0 would pass the convolutions, which start as the identity, and each norm would
        # multiply its gradient by 1 / sqrt(eps) = 316.
        varies = variances > FLAT
        random = self.weight[:PATCH_VALUES].flatten(1).to(filters)
        filters[~varies] = F.normalize(random[~varies][:, varies]) @ filters[varies]
        filters = filters.reshape(PATCH_VALUES, 3, PATCH, PATCH)
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 24, H - 1, W - 1)."""
        return F.conv2d(images, self.weight)


class Group(nn.Module):
    """Two 3×3 convolutions with norm and GELU, and a 2×2 max pool after the first."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = _conv(PooledConv2d, channels_in, channels_out)  # computes no row that the pool would drop
        self.norm1 = Norm(channels_out)
        self.conv2 = _conv(nn.Conv2d, channels_out, channels_out)
        self.norm2 = Norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H // 2, W // 2)."""
        # Pooled directly after the convolution, so that norm and GELU process a quarter of the values.
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class ResidualGroup(Group):
    """A Group with a third convolution and norm, and a shortcut around the last two (airbench96)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out)
        self.conv3 = _conv(nn.Conv2d, channels_out, channels_out)
        self.norm3 = Norm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, channels_out, H // 2, W // 2)."""
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        # GELU follows the sum. Before it, with shortcuts in the last two groups only, the loss was 0.310 and 0.292 (two
        # seeds) instead of 0.285.
        change = F.gelu(self.norm2(self.conv2(x)))
        return F.gelu(x + self.norm3(self.conv3(change)))


class Norm(nn.BatchNorm2d):
    """Batch norm that learns a shift but no scale, which stays 1 (arXiv 2404.00498, section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=NORM_MOMENTUM)
        # A buffer instead of the parameter, not saved: nn.BatchNorm2d.forward still finds a weight.
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


def patch_covariance(images: Tensor, patch: int) -> Tensor:
    """Return the second moments of all patch × patch windows of float (N, C, H, W), float64 (C·patch², C·patch²).

    The mean is not subtracted, since that of normalised images is near 0. Raises ValueError without images.
    """
    if len(images) == 0:
        raise ValueError("patch_covariance needs at least one image")
    values = images.shape[1] * patch**2
    total = torch.zeros(values, values, dtype=torch.float64)
    num_windows = 0
    for chunk in torch.split(images, 256):  # 256 images of 32 px unfold to 12 MB
        windows = F.unfold(chunk, patch).transpose(1, 2).reshape(-1, values)
        total += (windows.T @ windows).cpu().double()  # on the CPU: not every device has float64
        num_windows += len(windows)
    return total / num_windows


def _conv(kind: type[nn.Conv2d], channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 3×3 convolution that starts as the identity on its input channels (arXiv 2404.00498, section 3.3)."""
    conv = kind(channels_in, channels_out, 3, padding=1, bias=False)
    with torch.no_grad():  # filters beyond channels_in keep their random initialisation
        nn.init.dirac_(conv.weight[:channels_in])
    return conv
