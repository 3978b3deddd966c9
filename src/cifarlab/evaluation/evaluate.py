"""The numbers of one classifier on one split."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from cifarlab.console import progress
from cifarlab.errors import CheckpointError, DivergedError
from cifarlab.evaluation import calibration, metrics
from cifarlab.evaluation.statistics import Interval, wilson
from cifarlab.evaluation.tta import VIEWS, LogitsOf
from cifarlab.images.images import Images
from cifarlab.images.quality import IMBALANCE
from cifarlab.language import tr
from cifarlab.shown import Shown, accuracy_text

BLOCK = 1000  # images per call of the evaluated function: a memory-mapped data set is never read into memory whole

Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class Evaluation(Shown):
    """The results of one classifier on one split; accuracies are fractions, intervals Wilson's at 95 %."""

    split: str
    num_images: int
    num_skipped: int
    """Images of the split that could not be read; no other number counts them."""
    class_names: tuple[str, ...]
    fingerprint: str
    """Fingerprint of the images."""
    original: bool | None
    """Whether their pixels are the published ones; None if there is nothing to compare with."""
    accuracy: Fraction
    accuracy_interval: Interval
    balanced_accuracy: Fraction
    """The mean of the accuracies on the classes that have images, each class with the same weight."""
    balanced_interval: Interval
    majority_share: Fraction
    """Share of the images in the largest class: the accuracy of always predicting it."""
    top5_accuracy: Fraction
    """1.0 when there are at most five classes."""
    top5_interval: Interval
    loss: Finite
    """Mean cross-entropy in nats of the logits as they are: no temperature, label smoothing or weights."""
    per_class: tuple[metrics.ClassMetrics, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Counts; row = label, column = prediction."""
    most_confused: tuple[metrics.Confusion, ...]
    temperature: Finite
    """The temperature by which the logits were divided for calibration_error and reliability."""
    calibration_error: Fraction
    reliability: tuple[calibration.Bin, ...]
    tta: str | None
    """The test-time augmentation of the two numbers below."""
    tta_accuracy: Fraction | None
    tta_interval: Interval | None
    seconds: Finite
    """Seconds for all logits without test-time augmentation, reading the images included."""

    def __repr__(self) -> str:
        accuracy = accuracy_text(self.accuracy, self.accuracy_interval)
        return f"Evaluation({self.split}, {self.num_images:,} images, accuracy {accuracy})"

    @property
    def largest_class(self) -> str:
        """The name of the class with the most images."""
        return max(self.per_class, key=lambda each: each.support).class_name

    @property
    def is_unbalanced(self) -> bool:
        """Whether some classes have so many more images than others that they decide the accuracy."""
        sizes = [each.support for each in self.per_class if each.support]
        return max(sizes) >= IMBALANCE * min(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON types, from which from_dict makes an equal Evaluation."""
        values: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """Read what to_dict returned, in this version or an earlier one; raises CheckpointError for anything else."""
        try:
            return _ADAPTER.validate_python(_completed(values))
        except (ValueError, TypeError, OverflowError) as error:  # pydantic's ValidationError is a ValueError
            raise CheckpointError(tr("This is not an evaluation: {cause}", cause=error)) from error


_ADAPTER = TypeAdapter(Evaluation)  # built once, since it compiles the validators of all nested dataclasses


def _completed(values: dict[str, Any]) -> dict[str, Any]:
    """Add what the first versions did not store; all of it follows from the confusion matrix."""
    if not {"confusion_matrix", "class_names", "per_class"} <= values.keys():
        return values
    rows = values["per_class"]
    if "balanced_accuracy" in values and not (isinstance(rows, list) and any("f1_interval" not in row for row in rows)):
        return values
    matrix, names = np.array(values["confusion_matrix"], np.int64), tuple(values["class_names"])
    if matrix.shape != (len(names), len(names)) or matrix.sum() <= 0:
        return values  # and validation then refuses it for what is missing
    accuracy, interval = metrics.balanced_accuracy(matrix)
    added = {
        "balanced_accuracy": accuracy,
        "balanced_interval": interval,
        "majority_share": int(matrix.sum(axis=1).max()) / int(matrix.sum()),
    }
    return {**added, **values, "per_class": metrics.per_class(matrix, names)}


def evaluate(
    logits_of: LogitsOf, images: Images, *, split: str, tta: str = "none", temperature: float = 1.0
) -> tuple[Evaluation, NDArray[np.float32]]:
    """Evaluate a function from uint8 images (N, 3, H, W) to logits (N, C) on labelled images.

    Returns the results, and the logits without test-time augmentation, float32 (N, C).
    Raises ValueError without images, DivergedError for logits that are not finite.
    """
    # Timed without test-time augmentation, so that images/s compare between recipes.
    start = time.perf_counter()
    logits = _all_logits(logits_of, images, split)
    seconds = time.perf_counter() - start
    # The plain accuracy is always computed, and test-time augmentation is reported beside it, never instead of it.
    tta_accuracy, tta_interval = None, None
    if tta != "none":
        views = _all_logits(partial(VIEWS[tta], logits_of), images, f"{split}, {tta}", logits)
        tta_accuracy, tta_interval = _accuracy(views, images)
    accuracy, accuracy_interval = _accuracy(logits, images)
    top5_accuracy, top5_interval = _accuracy(logits, images, k=5)
    matrix = metrics.confusion_matrix(logits, images.labels)
    balanced_accuracy, balanced_interval = metrics.balanced_accuracy(matrix)
    bins = calibration.reliability(logits, images.labels, temperature)
    evaluation = Evaluation(
        split=split,
        num_images=len(images),
        num_skipped=len(images.skipped),
        class_names=images.class_names,
        fingerprint=images.fingerprint,
        original=images.original,
        accuracy=accuracy,
        accuracy_interval=accuracy_interval,
        balanced_accuracy=balanced_accuracy,
        balanced_interval=balanced_interval,
        majority_share=int(images.counts.max()) / len(images),
        top5_accuracy=top5_accuracy,
        top5_interval=top5_interval,
        loss=metrics.cross_entropy(logits, images.labels),
        per_class=metrics.per_class(matrix, images.class_names),
        confusion_matrix=tuple(tuple(row) for row in matrix.tolist()),
        most_confused=metrics.most_confused(matrix, images.class_names),
        temperature=temperature,
        calibration_error=calibration.expected_calibration_error(bins),
        reliability=bins,
        tta=None if tta == "none" else tta,
        tta_accuracy=tta_accuracy,
        tta_interval=tta_interval,
        seconds=seconds,
    )
    return evaluation, logits


def _accuracy(logits: NDArray[np.float32], images: Images, k: int = 1) -> tuple[float, Interval]:
    correct = metrics.num_correct(logits, images.labels, k)
    return correct / len(images), wilson(correct, len(images))


def _all_logits(
    logits_of: Callable[..., NDArray[np.float32]], images: Images, description: str, *known: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The logits of all images, block by block; known: what the function needs of each image beside its pixels."""
    if len(images) == 0:
        raise ValueError("there are no images to evaluate")
    blocks = []
    with progress(tr("Evaluating {what}", what=description), len(images), tr("images")) as advance:
        for start in range(0, len(images), BLOCK):
            block = slice(start, start + BLOCK)
            pixels = images.pixels[block]
            blocks.append(logits_of(pixels, *(each[block] for each in known)))
            advance(len(pixels))
    logits = np.concatenate(blocks)
    wanted = (len(images), images.num_classes)
    if logits.shape != wanted:
        raise ValueError(f"got logits {logits.shape} instead of {wanted}")
    # argmax of a NaN would count as an ordinary prediction.
    broken = len(images) - int(np.isfinite(logits).all(axis=1).sum())
    if broken:
        text = tr(
            "The network's output is not finite for {broken} of {n} images ({what}).",
            broken=broken,
            n=len(images),
            what=description,
        )
        raise DivergedError(text)
    return logits
