from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarlab.errors import CheckpointError, DivergedError
from cifarlab.evaluation import evaluate as module
from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.evaluation.statistics import wilson
from cifarlab.images.images import Images


def images(num_images: int = 40, num_classes: int = 10) -> Images:
    """The red value of the first pixel is the label; the rest is noise."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (num_images, 3, 4, 4), dtype=np.uint8)
    labels = random.integers(0, num_classes, num_images)
    pixels[:, 0, 0, 0] = labels
    return Images(pixels, labels, tuple(f"class {i}" for i in range(num_classes)), original=False)


def knows_even(pixels: NDArray[np.uint8], num_classes: int = 10) -> NDArray[np.float32]:
    """Right for even labels; takes label n for n - 1 when n is odd, with n second."""
    label = pixels[:, 0, 0, 0].astype(int) % 10
    logits = np.zeros((len(pixels), num_classes), np.float32)
    rows = np.arange(len(pixels))
    logits[rows, label] = 1
    logits[rows, label - label % 2] = 2
    return logits


def test_numbers_of_a_function_that_is_known() -> None:
    data = images()
    found, logits = evaluate(knows_even, data, split="test")
    right = int((data.labels % 2 == 0).sum())
    assert found.accuracy == right / 40
    assert found.accuracy_interval == wilson(right, 40)
    assert found.top5_accuracy == 1.0 and found.top5_interval == wilson(40, 40)
    assert np.array_equal(logits, knows_even(data.pixels))
    assert np.array_equal(np.array(found.confusion_matrix).sum(axis=1), data.counts)
    assert all(int(pair.label[-1]) == int(pair.prediction[-1]) + 1 for pair in found.most_confused)
    assert found.per_class[2].support == data.counts[2] and found.per_class[2].recall == 1.0
    assert (found.split, found.num_images, found.original) == ("test", 40, False)
    assert found.fingerprint == data.fingerprint and found.class_names == data.class_names


def test_the_seconds_are_those_of_the_predictions_without_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def takes_three(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        now[0] += 3
        return knows_even(pixels)

    assert evaluate(takes_three, images(), split="test", tta="mirror")[0].seconds == 3


def test_test_time_augmentation_is_a_number_beside() -> None:
    data = images()
    plain, logits = evaluate(knows_even, data, split="val")
    both, same_logits = evaluate(knows_even, data, split="val", tta="mirror")
    assert (plain.tta, plain.tta_accuracy, plain.tta_interval) == (None, None, None)
    assert both.accuracy == plain.accuracy and np.array_equal(logits, same_logits)
    averaged = knows_even(data.pixels) + knows_even(data.pixels[..., ::-1])
    right = int((averaged.argmax(axis=1) == data.labels).sum())
    assert (both.tta, both.tta_accuracy, both.tta_interval) == ("mirror", right / 40, wilson(right, 40))
    assert both.tta_accuracy != both.accuracy


def test_blocks_do_not_change_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    data = images()
    sizes: list[int] = []

    def counted(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(pixels))
        return knows_even(pixels)

    whole, _ = evaluate(knows_even, data, split="val")
    monkeypatch.setattr(module, "BLOCK", 15)
    blocks, _ = evaluate(counted, data, split="val")
    assert sizes == [15, 15, 10]
    assert dataclasses.replace(blocks, seconds=whole.seconds) == whole


def test_temperature_changes_only_the_calibration() -> None:
    data = images()
    plain, _ = evaluate(knows_even, data, split="val")
    cooled, _ = evaluate(knows_even, data, split="val", temperature=0.1)
    assert cooled.loss == plain.loss and cooled.accuracy == plain.accuracy
    assert cooled.calibration_error != plain.calibration_error


@pytest.mark.parametrize("tta", ["none", "mirror"])
def test_json_round_trip(tta: str) -> None:
    found, _ = evaluate(knows_even, images(), split="test", tta=tta)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == found


@pytest.mark.parametrize("change", [{"accuracy": 1.5}, {"loss": float("nan")}, {"per_class": 3}, {"split": None}])
def test_damaged_json_is_refused(change: dict[str, object]) -> None:
    found, _ = evaluate(knows_even, images(), split="test")
    with pytest.raises(CheckpointError, match=next(iter(change))):
        Evaluation.from_dict({**found.to_dict(), **change})


def test_an_evaluation_of_the_first_version_is_completed() -> None:
    found, _ = evaluate(knows_even, images(), split="val")
    values = found.to_dict()
    for name in ("balanced_accuracy", "balanced_interval", "majority_share"):
        del values[name]
    values["per_class"] = [{**each, "recall_interval": None} for each in values["per_class"]]
    assert Evaluation.from_dict(values) == found
    intervals = ("precision_interval", "f1_interval")  # these came later than the rest
    rows = [{name: row[name] for name in row if name not in intervals} for row in found.to_dict()["per_class"]]
    assert Evaluation.from_dict({**found.to_dict(), "per_class": rows}) == found
    for matrix in ("none", [[1]], [[0] * 10] * 10, [[2**70] * 10] * 10):
        with pytest.raises(CheckpointError):
            Evaluation.from_dict({**values, "confusion_matrix": matrix})


def test_one_image_and_one_class() -> None:
    data = Images(np.zeros((1, 3, 2, 2), np.uint8), np.zeros(1, np.int64), ("only",))
    found, _ = evaluate(lambda pixels: np.zeros((len(pixels), 1), np.float32), data, split="val")
    assert found.accuracy == 1.0 and found.loss == 0.0 and found.calibration_error == 0.0
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_no_images_is_refused() -> None:
    data = images().subset(np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="no images"):
        evaluate(knows_even, data, split="val")


def test_logits_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(40, 12\) instead of \(40, 10\)"):
        evaluate(lambda pixels: knows_even(pixels, 12), images(), split="val")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    def broken(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = knows_even(pixels)
        logits[:3, 1] = value
        return logits

    with pytest.raises(DivergedError, match="3 of 40 images"):
        evaluate(broken, images(), split="val")
