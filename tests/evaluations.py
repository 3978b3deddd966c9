"""Evaluations with the accuracy that a test asks for, consistent in themselves."""

from __future__ import annotations

import numpy as np

from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.images.images import Images


def evaluation_of(num_right: int, num_images: int, split: str = "test") -> Evaluation:
    """What is measured of a network of two classes that is right about so many of so many images."""
    labels = np.arange(num_images) % 2
    images = Images(np.zeros((num_images, 3, 2, 2), np.uint8), labels, ("cat", "dog"))
    says = np.where(np.arange(num_images) < num_right, labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[says]
    num_asked = 0

    def logits_of(pixels: np.ndarray) -> np.ndarray:  # evaluate asks in blocks, in order
        nonlocal num_asked
        num_asked += len(pixels)
        return logits[num_asked - len(pixels) : num_asked]

    return evaluate(logits_of, images, split=split)[0]
