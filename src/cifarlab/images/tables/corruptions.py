"""CIFAR-10-C and CIFAR-100-C: a folder with an array of images for each corruption, and labels.npy for all of them.

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, 2019: the test
images under 19 corruptions, each at severities 1 to 5, 10,000 images of each severity after those of the one below.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cifarlab.errors import DataError
from cifarlab.images.archives.official import CIFAR10_NAMES, TEST_LABELS
from cifarlab.images.source import Source
from cifarlab.images.tables.arrays import Part, array_source, to_labels
from cifarlab.images.tables.labels import Labels
from cifarlab.images.tables.named_arrays import recognise_neighbours
from cifarlab.images.tables.npy import npy_array
from cifarlab.recipe.schema import DataSpec

LABELS = "labels.npy"
RULE = "Every file holds test images under one corruption; labels.npy has the labels of each."


def open_npy(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """One corruption as a source that has a test split only; raises DataError for an array without labels beside it."""
    if path.name != LABELS and (found := recognise_neighbours(path, spec)) is not None:
        return found
    if path.name == LABELS or not (path.parent / LABELS).is_file():
        raise DataError(
            f"{path} is an array alone, without labels.\n"
            "Read are .npz files of images and labels, folders with x_train.npy, y_train.npy and so on, and arrays of "
            "images beside their labels.npy, as in CIFAR-10-C."
        )
    return _source(path, [path], spec)


def recognise_corruptions(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """The folder of all corruptions as a source that has a test split only; None for any other folder."""
    files = sorted(file for file in path.glob("*.npy") if file.name != LABELS)
    return _source(path, files, spec) if files and (path / LABELS).exists() else None


def _source(path: Path, files: list[Path], spec: DataSpec) -> Source:
    images, once = [npy_array(file) for file in files], to_labels(npy_array(files[0].with_name(LABELS)))
    for stored in images:
        if stored.shape[:1] != once.codes.shape:
            raise DataError(f"{stored.origin} has the shape {stored.shape}, but {LABELS} has {len(once):,} labels.")
    every = Labels(once.origin, np.tile(once.codes, len(images)), once.names, numbered=once.numbered)
    # the labels repeat those of the test images at each severity, which tells CIFAR-10 and thus what they mean
    a_fifth = once.codes[: len(once) // 5].astype(np.uint8)
    names = CIFAR10_NAMES if hashlib.sha256(a_fifth.tobytes()).hexdigest() == TEST_LABELS else ()
    return array_source(path, "corruptions", RULE, {"test": Part(images, every)}, {}, spec, names)
