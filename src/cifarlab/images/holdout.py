"""Hold out a part of train to choose the epoch by; the test split is never touched here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError, UsageError
from cifarlab.images.images import Images
from cifarlab.images.source import Source
from cifarlab.images.stratified import draw, first_of_equals, largest_remainder
from cifarlab.language import listed, tr
from cifarlab.recipe.duration import part_of
from cifarlab.recipe.schema import Recipe, ValidationSpec


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and is validated on, and where it comes from; its test split is not loaded."""

    source: Source
    train: Images
    val: Images | None

    @classmethod
    def of(cls, source: Source, recipe: Recipe) -> TrainingData:
        """Load train and val; raises what `load_train_and_val` raises, and DataError without the test to come."""
        if recipe.evaluation.test:
            source.require_test()  # otherwise it would be missed only after hours of training
        return cls(source, *load_train_and_val(source, recipe.validation))


def load_train_and_val(source: Source, validation: ValidationSpec) -> tuple[Images, Images | None]:
    """Load train, and val: the source's own if it has one, else held out of train; None if its size is 0.

    Raises DataError if train and val have different classes, or train has images of one class only, or the same image
    again and again.
    """
    train = source.load("train")
    present = [class_name for class_name, count in zip(train.class_names, train.counts, strict=True) if count]
    if len(present) < 2:  # an accuracy of 100 % would mean nothing
        text = tr(
            "The training images of {source} are none: there is nothing to tell apart.\n"
            "Give images of two classes or more."
        )
        if present:
            text = tr(
                "The training images of {source} are all of one class, {name}: there is nothing to tell apart.\n"
                "Give images of two classes or more."
            )
        raise DataError(text.format(source=source.path, name=printable("".join(present))))
    if all(np.array_equal(image, train.pixels[0]) for image in train.pixels):  # most often over after the second image
        raise DataError(
            tr(
                "The {n:,} training images of {source} are equal in every pixel: nothing can be learnt.\n"
                "Look at the files: cifarlab data show draws some of them.",
                n=len(train),
                source=source.path,
            )
        )
    if validation.size == 0:
        return train, None
    if "val" not in source.splits:
        if train.names is None:  # each part remembers which rows it has
            train = replace(train, names=tuple(f"train row {index}" for index in range(len(train))))
        # copies on one side: a validation image that was trained on rewards the epoch that remembers it best
        equals = first_of_equals(train.hashes.tolist())
        rest, held = hold_out(train.labels, validation.size, validation.seed, equals)
        return train.subset(rest), train.subset(held)
    val = source.load("val")
    if val.class_names != train.class_names:  # a label would mean two classes
        only = sorted(set(val.class_names) ^ set(train.class_names))
        text = tr("train and val of {source} have different classes: {names}.")
        raise DataError(text.format(source=source.path, names=listed(only) or tr("another order")))
    return train, val


def hold_out(
    labels: NDArray[np.int64], size: int | float, seed: int, equals: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the indices of `labels` into train and val, both ascending, with each class's share in val.

    size: images (int) or fraction (float) for val; shares are rounded by largest remainder, with equal remainders the
    lower class first, and every class keeps an image in train. equals: for each image the index of the first one that
    equals it; copies stay together. Without copies `size` is met exactly, and a class's choice depends on `seed` and
    its own images only. Raises UsageError for more than can be held out, or a fraction too small to hold out one image.
    """
    num_val = size if isinstance(size, int) else part_of(size, len(labels))
    if size < 0 or num_val >= len(labels) or (size > 0 and num_val == 0):
        raise UsageError(
            tr(
                "validation.size = {size} of {n:,} training images holds out {held:,}.\n"
                "Give a number of images below that, or a fraction between 0 and 1; 0 holds out none.",
                size=size,
                n=len(labels),
                held=num_val,
            )
        )
    equals = np.arange(len(labels)) if equals is None else equals
    # a generator per class: images that are added to another class do not change the order in this one
    order = [
        np.flatnonzero(labels == label)[np.random.default_rng([seed, label]).permutation(count)]
        for label, count in enumerate(np.bincount(labels))
    ]
    quotas = _quotas(labels, equals, num_val, size)
    chosen = draw(labels, np.concatenate(order), quotas, equals)
    if quotas.any() and not chosen.any():  # every group of copies was larger than what its class can spare
        raise _too_much(size, 0)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _quotas(labels: NDArray[np.int64], equals: NDArray[np.int64], num_val: int, size: int | float) -> NDArray[np.int64]:
    """The number of images of each class for val, (classes,): its share, but never its last image with its copies."""
    counts = np.bincount(labels)
    # one whole number for each pair of class and image: how often an image comes within a class
    groups, sizes = np.unique(labels * len(labels) + equals, return_counts=True)
    smallest = counts.copy()
    np.minimum.at(smallest, groups // len(labels), sizes)
    spare = counts - smallest
    if num_val > spare.sum():
        raise _too_much(size, int(spare.sum()))
    quotas: NDArray[np.int64] = np.minimum(largest_remainder(counts, num_val), spare)
    # what classes with too few images could not give is taken from the others, so that `size` is met
    return quotas + largest_remainder(spare - quotas, num_val - int(quotas.sum()))


def _too_much(size: int | float, most: int) -> UsageError:
    what = tr(
        "validation.size = {size} holds out too many: every class keeps an image for training, and copies of an image "
        "stay together, so that at most {n:,} can be held out.",
        size=size,
        n=most,
    )
    advice = tr("Add images, or train on all of them with validation.size = 0.")
    if most:
        advice = tr("Give a smaller size, add images, or train on all of them with validation.size = 0.")
    return UsageError(f"{what}\n{advice}")
