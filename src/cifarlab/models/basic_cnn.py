"""A small plain network, as introductory courses build it."""

from __future__ import annotations

from torch import Tensor, nn


class BasicCNN(nn.Module):
    """Four unpadded convolutions, each followed by ReLU, and one linear layer.

        image         3 × 32 × 32
        conv 3×3     10 × 30 × 30
        conv 3×3     15 × 28 × 28
        conv 5×5     20 × 24 × 24
        max pool     20 × 12 × 12
        conv 5×5     25 ×  8 ×  8
        max pool     25 ×  4 ×  4
        linear       400 -> classes

    Source: the layout of LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition,
    1998) with ReLU and max pooling, as taught in introductory courses.
    """

    def __init__(self, num_classes: int, image_size: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # Unpadded, so every convolution takes kernel - 1 pixels off each side.
            nn.Conv2d(3, 10, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(10, 15, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(15, 20, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 25, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        side = ((image_size - 8) // 2 - 4) // 2  # 8 = 2 + 2 + 4 before the first pool, 4 before the second
        # Flattened, not averaged over the pixels: this fixes the image size that the network takes.
        self.fc = nn.Linear(25 * side**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.fc(self.features(images).flatten(1))
        return logits
