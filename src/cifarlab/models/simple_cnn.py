"""A network of two padded convolutions, with and without batch norm."""

from __future__ import annotations

from torch import Tensor, nn


class SimpleCNN(nn.Module):
    """Two padded convolutions and two linear layers; ReLU after each but the last.

        image         3 × 32 × 32
        conv 3×3     32 × 32 × 32
        max pool     32 × 16 × 16
        conv 3×3     64 × 16 × 16
        max pool     64 ×  8 ×  8
        linear     4096 -> 128
        linear      128 -> classes

    ReLU follows the pool, which is the same function as the other way round for a quarter of the work, since ReLU
    and the maximum commute. With batch_norm, each convolution is followed by batch norm (Ioffe and Szegedy, Batch
    Normalization, 2015) and has no bias. Source: the usual first network of deep learning tutorials.
    """

    def __init__(self, num_classes: int, image_size: int = 32, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(*_stage(3, 32, batch_norm), *_stage(32, 64, batch_norm))
        # Padding keeps the size, so each side is divided by 4 by the two pools alone.
        self.hidden = nn.Linear(64 * (image_size // 4) ** 2, 128)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.relu(self.hidden(self.features(images).flatten(1))))
        return logits


def _stage(channels_in: int, channels_out: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm subtracts the mean, and with it any bias of the convolution before.
    norm = [nn.BatchNorm2d(channels_out)] if batch_norm else []
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=not batch_norm)
    # conv directly before norm, as inference/folding.py expects the pair in a Sequential.
    return [conv, *norm, nn.MaxPool2d(2), nn.ReLU(inplace=True)]
