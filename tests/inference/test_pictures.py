"""Many files, read in blocks ahead of the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.inference.model_file import untrained_card
from cifarlab.inference.pictures import predict_files
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec

SPEC = ModelSpec(name="simple-cnn")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """An untrained network that takes two images at a time."""
    names = tuple("abcdefghij")
    card = untrained_card(SPEC, names, 32)
    return Classifier(build_network(SPEC, 10, 32), card, inference_runtime("cpu"), batch_size=2)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_every_file_is_predicted_once_and_in_order(classifier: Classifier, tmp_path: Path, count: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(count)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    found = predict_files(classifier, files, top=3)
    alone = [classifier.predict([file], top=3)[0] for file in files]
    assert [each.name for each in found.predictions] == [str(file) for file in files]
    assert [each.label for each in found.predictions] == [each.label for each in alone]
    expected = [each.probability for each in alone]  # up to the rounding of another batch size
    assert [each.probability for each in found.predictions] == pytest.approx(expected, rel=1e-5)
    assert found.failures == []


def test_a_whole_block_of_unreadable_files_is_listed_and_the_next_one_predicted(
    classifier: Classifier, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.png" for number in range(3)]
    files[0].write_bytes(b"no picture")
    Image.new("RGB", (32, 32)).save(files[2])
    found = predict_files(classifier, files, top=1)
    assert [prediction.name for prediction in found.predictions] == [str(files[2])]
    assert [failure.split(":")[0] for failure in found.failures] == [str(files[0]), str(files[1])]


def test_a_fault_in_the_reading_thread_is_not_swallowed(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(classifier, "decode", fail)
    with pytest.raises(ZeroDivisionError):
        predict_files(classifier, [tmp_path / "a.png"], top=1)
