"""Plain functions from logits and labels to metrics; every accuracy is a fraction in 0..1.

Logits are float (N, C) and labels int (N,) in 0..C-1, with N at least 1; anything else raises ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cifarlab.evaluation.statistics import Interval, balanced_interval, wilson

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClassMetrics:
    """The scores of one class; support is its number of images.

    A class without images has no scores and is in no average. Precision is 0 for a class that was never predicted.
    """

    class_name: str
    precision: float | None
    recall: float | None
    """The accuracy on the images of this class."""
    f1: float | None
    support: int
    recall_interval: Interval | None = None
    precision_interval: Interval | None = None
    """None for a class that was never predicted."""
    f1_interval: Interval | None = None


@dataclass(frozen=True)
class Confusion:
    """`count` images of class `label` were predicted as `prediction`: the fraction `share` of that class."""

    label: str
    prediction: str
    count: int
    share: float


def accuracy(logits: Floats, labels: Ints, k: int = 1) -> float:
    """Return the fraction of images whose label is among the k largest logits; 1.0 if there are at most k classes.

    Among equal logits that of the lower class counts as larger, as in argmax.
    """
    return num_correct(logits, labels, k) / len(labels)


def num_correct(logits: Floats, labels: Ints, k: int = 1) -> int:
    """Count the images whose label is among the k largest logits."""
    check(logits, labels)
    # The rank of the label is the number of logits before it, which needs no sorting and settles ties as argmax does.
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return int((rank < k).sum())


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Return the mean negative log-probability of the labels, in nats."""
    check(logits, labels)
    # logsumexp subtracts the largest logit, so that nothing overflows.
    exact = logits.astype(np.float64)
    return float(np.mean(logsumexp(exact, axis=1) - exact[np.arange(len(labels)), labels]))


def confusion_matrix(logits: Floats, labels: Ints) -> Ints:
    """Return the counts (C, C): row = label, column = prediction."""
    check(logits, labels)
    num_classes = logits.shape[1]
    # One number per cell, row · C + column, so that one bincount fills the matrix.
    cells = labels * num_classes + logits.argmax(axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def per_class(matrix: Ints, class_names: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
    """Return precision, recall and F1 of every class with their 95 % intervals, from a confusion matrix."""
    # Right predictions, all predictions of the class, and images of the class.
    columns = (np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))
    rows = zip(class_names, *(column.tolist() for column in columns), strict=True)
    return tuple(
        ClassMetrics(
            name,
            precision=right / max(predicted, 1),
            recall=right / support,
            # The harmonic mean of the two, in a form that is defined where the class was never predicted.
            f1=2 * right / (predicted + support),
            support=support,
            recall_interval=wilson(right, support),
            precision_interval=wilson(right, predicted) if predicted else None,
            f1_interval=f1_interval(right, predicted, support),
        )
        if support
        else ClassMetrics(name, precision=None, recall=None, f1=None, support=0)
        for name, right, predicted, support in rows
    )


def f1_interval(right: int, predicted: int, support: int) -> Interval:
    """Return the 95 % interval of F1, from the right predictions of a class, all of them, and the class's images.

    Of the images that have the class as label or as prediction, the share s that has both is binomial, so Wilson's
    interval holds for it; F1 is 2 s / (1 + s), which rises with s, so its ends are those of s.
    """
    low, high = wilson(right, predicted + support - right)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def balanced_accuracy(matrix: Ints) -> tuple[float, Interval]:
    """Return the mean recall of the classes that have images, from a confusion matrix, and its interval."""
    support = matrix.sum(axis=1)
    right, support = np.diag(matrix)[support > 0], support[support > 0]
    return float(np.mean(right / support)), balanced_interval(right.tolist(), support.tolist())


def most_confused(matrix: Ints, class_names: tuple[str, ...], limit: int = 10) -> tuple[Confusion, ...]:
    """Return the off-diagonal cells with the most images, largest first; empty cells are left out."""
    errors = matrix - np.diag(np.diag(matrix))
    # Stable, so that equal cells come in the order of the classes on every machine.
    order = np.argsort(-errors, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(cell), len(matrix)) for cell in order]
    return tuple(
        Confusion(class_names[row], class_names[column], int(errors[row, column]), float(share))
        for row, column in pairs
        if (share := errors[row, column] / max(matrix[row].sum(), 1)) > 0
    )


def check(logits: Floats, labels: Ints) -> None:
    """Raise ValueError unless logits are (N, C) and labels (N,) in 0..C-1, with N at least 1."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"need logits (N, C) and labels (N,), not {logits.shape} and {labels.shape}")
    if len(labels) == 0:
        raise ValueError("there are no images to evaluate")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        found = f"{labels.min()}..{labels.max()}"
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, found {found}")
