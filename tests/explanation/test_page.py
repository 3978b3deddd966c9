from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from cifarlab.explanation.feature_maps import first_filters
from cifarlab.explanation.image import explain_image
from cifarlab.explanation.page import explanation_page
from cifarlab.inference.classifier import Classifier

ClassifierOf = Callable[[nn.Module, int, tuple[str, ...]], Classifier]
NASTY = "<script>alert(1)</script>\"'&🐱" + "x" * 300


@pytest.fixture
def text(classifier_of: ClassifierOf) -> str:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    classifier = classifier_of(model, 16, (NASTY, "b"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    explanations = [
        explain_image(classifier, name, image, class_name=NASTY)
        for name, image in zip((NASTY, "two.png"), pixels, strict=True)
    ]
    return explanation_page("runs/<b>", explanations, first_filters(classifier), 4)


def test_every_image_has_its_maps_tests_and_feature_maps(text: str) -> None:
    for words in ("Grad-CAM 1 14×14", "HiResCAM 1 14×14", "occlusion 16×16", "random maps (p = "):
        assert text.count(words) >= 2
    assert text.count("Most probable classes</figcaption>") == text.count(">Feature maps<") == 2
    assert text.count("Deletion by Grad-CAM</figcaption>") == 2
    assert text.count("What speaks for ") + text.count("Why ") == 2
    assert "First filters" in text and "The 4 filters of the first layer." in text


def test_names_are_text(text: str) -> None:
    assert "<script>alert" not in text and "<b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_nothing_is_loaded_from_outside(text: str) -> None:
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", text)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)


def test_a_network_without_maps_and_filters_still_has_a_page(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8, ("a", "b"))
    explanation = explain_image(classifier, "x.png", np.zeros((3, 8, 8), np.uint8))
    text = explanation_page("model", [explanation], None, 4)
    assert "This network has no feature maps" in text and "First filters" not in text
