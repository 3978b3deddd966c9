"""Hold out a part of train to choose the epoch by; the test split is never touched here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError, UsageError
from cifarlab.images.images import Images
from cifarlab.images.source import Source
from cifarlab.recipe import ValidationSpec


def load_train_and_val(source: Source, validation: ValidationSpec) -> tuple[Images, Images | None]:
    """Load train, and val: the source's own if it has one, else held out of train; None if its size is 0.

    Raises DataError when train and val have different classes.
    """
    train = source.load("train")
    if validation.size == 0:
        return train, None
    if "val" not in source.splits:
        train_indices, val_indices = hold_out(train.labels, validation.size, validation.seed)
        return train.subset(train_indices), train.subset(val_indices)
    val = source.load("val")
    if val.class_names != train.class_names:
        only = sorted(set(val.class_names) ^ set(train.class_names))
        raise DataError(f"train and val of {source.path} have different classes: {', '.join(only) or 'another order'}.")
    return train, val


def hold_out(labels: NDArray[np.int64], size: int | float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the indices of `labels` into train and val, both ascending, with each class's share in val.

    size: images (int) or fraction (float) for val, met exactly; shares are rounded by largest remainder, of
    equal ones the lower class first. A class's choice depends on `seed` and its own images only. Raises
    UsageError when nothing would be left for train, or a fraction is too small to hold out one image.
    """
    num_val = _num_val(size, len(labels))
    quotas = largest_remainder(np.bincount(labels), num_val)
    chosen = np.zeros(len(labels), bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng([seed, label]).permutation(len(members))
        chosen[members[order[:quota]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def largest_remainder(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Distribute `total` in proportion to `counts`, (classes,), in whole numbers (Hamilton's method)."""
    # Whole numbers throughout: a quotient in floating point can round a tie to either side.
    scaled = counts.astype(np.int64) * total
    whole, remainders = np.divmod(scaled, max(int(counts.sum()), 1))
    extra = np.argsort(-remainders, kind="stable")[: total - int(whole.sum())]
    whole[extra] += 1
    return whole


def _num_val(size: int | float, num_images: int) -> int:
    num_val = size if isinstance(size, int) else round(size * num_images)
    if size < 0 or num_val >= num_images or (size > 0 and num_val == 0):
        raise UsageError(
            f"validation.size = {size} of {num_images:,} training images holds out {num_val:,}.\n"
            "Give a number of images below that, or a fraction between 0 and 1; 0 holds out none."
        )
    return num_val
