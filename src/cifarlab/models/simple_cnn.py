"""Two padded convolutions, with and without batch norm."""

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

    ReLU comes after pooling: the same function as the other way round, since a maximum that is cut at 0 is the
    maximum of what is cut at 0, for a quarter of the work. With batch_norm, each convolution loses its bias and
    is followed by batch norm (Ioffe and Szegedy, Batch Normalization, 2015). Source: the usual first network of
    deep learning tutorials.
    """

    def __init__(self, num_classes: int, image_size: int = 32, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(*_stage(3, 32, batch_norm), *_stage(32, 64, batch_norm))
        self.hidden = nn.Linear(64 * (image_size // 4) ** 2, 128)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.relu(self.hidden(self.features(images).flatten(1))))
        return logits


def _stage(channels_in: int, channels_out: int, batch_norm: bool) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(channels_out)] if batch_norm else []
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=not batch_norm)
    return [conv, *norm, nn.MaxPool2d(2), nn.ReLU(inplace=True)]
