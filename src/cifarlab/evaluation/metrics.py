"""Plain functions from logits and labels to numbers; every accuracy is a fraction in 0..1.

Everywhere: logits float (N, C), labels int (N,) in 0..C-1, N at least 1; anything else is a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClassMetrics:
    """How one class fared; support is its number of images.

    Precision is 0 for a class that was never predicted, recall for one without images.
    """

    class_name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confusion:
    """`count` images of class `label` were taken for `prediction`: the fraction `share` of that class."""

    label: str
    prediction: str
    count: int
    share: float


def accuracy(logits: Floats, labels: Ints) -> float:
    """The fraction of images whose largest logit is the right one; of equal logits the first counts."""
    return top_k_accuracy(logits, labels, 1)


def top_k_accuracy(logits: Floats, labels: Ints, k: int) -> float:
    """The fraction of images whose label is among the k largest logits; 1.0 when there are at most k classes.

    Of equal logits the one of the lower class counts as larger, as in argmax.
    """
    return num_correct(logits, labels, k) / len(labels)


def num_correct(logits: Floats, labels: Ints, k: int = 1) -> int:
    """How many images have their label among the k largest logits."""
    check(logits, labels)
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return int((rank < k).sum())


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """The mean negative log-probability of the right class, in nats."""
    check(logits, labels)
    exact = logits.astype(np.float64)
    return float(np.mean(logsumexp(exact, axis=1) - exact[np.arange(len(labels)), labels]))


def confusion_matrix(logits: Floats, labels: Ints) -> Ints:
    """Counts (C, C): row = label, column = prediction."""
    check(logits, labels)
    num_classes = logits.shape[1]
    cells = labels * num_classes + logits.argmax(axis=1)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def per_class(matrix: Ints, class_names: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
    """Precision, recall and F1 of every class, from a confusion matrix."""
    right = np.diag(matrix)
    predicted, support = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = _ratio(right, predicted)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, predicted + support)
    columns = (precision.tolist(), recall.tolist(), f1.tolist(), support.tolist())
    return tuple(ClassMetrics(*row) for row in zip(class_names, *columns, strict=True))


def most_confused(matrix: Ints, class_names: tuple[str, ...], limit: int = 10) -> tuple[Confusion, ...]:
    """The off-diagonal cells with the most images, largest first; empty cells are left out."""
    errors = matrix - np.diag(np.diag(matrix))
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
        raise ValueError("there are no images to judge")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        found = f"{labels.min()}..{labels.max()}"
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, found {found}")


def _ratio(part: Ints, whole: Ints) -> NDArray[np.float64]:
    return np.asarray(part / np.maximum(whole, 1), dtype=np.float64)
