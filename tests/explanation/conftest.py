from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import untrained_card
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import ModelSpec, RuntimeSpec

ClassifierOf = Callable[[nn.Module, int, tuple[str, ...]], Classifier]


@pytest.fixture
def classifier_of() -> ClassifierOf:
    """A network over images of a size, which it sees as fractions of 255."""

    def make(model: nn.Module, size: int, class_names: tuple[str, ...]) -> Classifier:
        card = untrained_card(ModelSpec(name="made-up"), class_names, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        card = card.model_copy(update={"image_size": size, "input_size": size})  # smaller than any that is trained
        return Classifier(model, card, choose_runtime(RuntimeSpec(device="cpu", precision="fp32")))

    return make
