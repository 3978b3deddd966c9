"""A classifier compared with people who labelled the same images: do they make the same mistakes?

For CIFAR-10H, Peterson et al. (2019), Human uncertainty makes classification more robust,
https://arxiv.org/abs/1908.07086, had each test image of CIFAR-10 labelled by about fifty people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError, cause
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.metrics import Floats, Ints
from cifarlab.language import tr

UNSURE = 0.1  # share of people who give another label, from which on an image counts as disputed

# Share of the images whose label most people give. With less, the counts belong to other images, or to another order.
SAME_IMAGES = 0.5


@dataclass(frozen=True)
class Group:
    """Some images: their number, the mean share of people who give the label, and how many images are disputed."""

    num_images: int
    human_accuracy: float
    num_disputed: int


@dataclass(frozen=True, eq=False)
class HumanComparison:
    """Predictions against the labels that people gave; cross-entropies are in nats.

    uncertainty: the mean entropy of people's labels, which is the lowest cross-entropy that any classifier can reach.
    divergences: float64 (N,), the Kullback-Leibler divergence of an image's probabilities from people's labels.
    shares: float64 (N, C), the share of people who gave each class.
    """

    everything: Group
    hits: Group
    mistakes: Group
    num_shared_mistakes: int
    """Mistakes for which at least one person gave the same wrong class."""
    cross_entropy: float
    raw_cross_entropy: float
    """The cross-entropy without temperature."""
    uncertainty: float
    divergences: NDArray[np.float64]
    shares: NDArray[np.float64]


def load_counts(path: Path, labels: Ints, num_classes: int) -> NDArray[np.float64]:
    """Read how many people gave each class to each image, an .npy array (N, C), and check it against the labels.

    Raises DataError for a file that is missing, damaged, or about other images.
    """
    try:
        counts = np.load(path, allow_pickle=False)  # a pickle could run code
    except (OSError, ValueError, EOFError) as error:
        raise DataError(tr("Cannot read the human labels {path}: {cause}.", path=path, cause=cause(error))) from error
    wanted = (len(labels), num_classes)
    # np.load returns an archive for .npz, which has no shape.
    if not isinstance(counts, np.ndarray) or counts.shape != wanted or counts.dtype.kind not in "iuf":
        found = f"{counts.dtype} {counts.shape}" if isinstance(counts, np.ndarray) else tr("an archive")
        text = tr(
            "{path} holds {found}, but this run's test split needs numbers {wanted}.",
            path=path,
            found=found,
            wanted=wanted,
        )
        raise DataError(text)
    exact = counts.astype(np.float64)
    if not np.isfinite(exact).all() or exact.min() < 0 or not exact.sum(axis=1).all():
        text = tr("{path} must hold counts: finite, not negative, and at least one label for each image.", path=path)
        raise DataError(text)
    agreement = float((exact.argmax(axis=1) == labels).mean())
    if agreement < SAME_IMAGES:
        text = tr(
            "{path} belongs to other images:\n"
            "most people give the label of this run's test split for only {share:.0%} of them.",
            path=path,
            share=agreement,
        )
        raise DataError(text)
    return exact


def compare_with_humans(
    counts: NDArray[np.float64], logits: Floats, labels: Ints, temperature: float = 1.0
) -> HumanComparison:
    """Compare logits (N, C) with people's counts (N, C) for the same images, after dividing by the temperature."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    own, predictions = shares[np.arange(len(labels)), labels], logits.argmax(axis=1)
    right = predictions == labels
    same = counts[np.arange(len(labels)), predictions] > 0
    # 0 · log 0 is 0: where nobody gave a class, log 1 is taken.
    entropies = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    # Cross-entropy against all of people's labels, not against the one that the data set has.
    losses = _cross_entropies(shares, logits, temperature)
    return HumanComparison(
        everything=_group(own, np.ones_like(right)),
        hits=_group(own, right),
        mistakes=_group(own, ~right),
        num_shared_mistakes=int((same & ~right).sum()),
        cross_entropy=float(losses.mean()),
        raw_cross_entropy=float(_cross_entropies(shares, logits, 1.0).mean()),
        uncertainty=float(entropies.mean()),
        divergences=losses - entropies,
        shares=shares,
    )


def _cross_entropies(shares: NDArray[np.float64], logits: Floats, temperature: float) -> NDArray[np.float64]:
    tiny = np.finfo(np.float64).tiny  # keeps the logarithm of a probability that underflowed to 0 finite
    return np.asarray(-(shares * np.log(np.maximum(probabilities(logits, temperature), tiny))).sum(axis=1))


def _group(own: NDArray[np.float64], members: NDArray[np.bool_]) -> Group:
    found = own[members]
    # The shares are those of about fifty people: 5 of 50 is 1 - 0.9 only up to rounding.
    disputed = int((1 - found >= UNSURE - 1e-9).sum())
    return Group(len(found), float(found.mean()) if len(found) else 0.0, disputed)
