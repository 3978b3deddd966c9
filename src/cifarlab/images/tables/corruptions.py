"""Read CIFAR-10-C and CIFAR-100-C: a folder with an array of images for each corruption, and one labels.npy.

Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, 2019: the test
images under 19 corruptions, each at severities 1 to 5. An array has the 10,000 images of severity 1, then those of 2,
and so on.
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
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec

LABELS = "labels.npy"
RULE = translatable("Every file holds test images under one corruption; labels.npy has the labels of each.")


def open_npy(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open one corruption as a source with only a test split; raises DataError for an array that has no labels."""
    # Names like x_train.npy say what an array is; CIFAR-10-C's say only the corruption: fog.npy, snow.npy.
    if path.name != LABELS and (found := recognise_neighbours(path, spec)) is not None:
        return found
    if path.name == LABELS or not (path.parent / LABELS).is_file():
        raise DataError(
            tr(
                "{path} is an array alone, without labels.\n"
                "Read are .npz files of images and labels, folders with x_train.npy, y_train.npy and so on, and "
                "arrays of images beside their labels.npy, as in CIFAR-10-C.",
                path=path,
            )
        )
    return _source(path, [path], spec)


def recognise_corruptions(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open the folder of all corruptions as a source with only a test split; return None for any other folder."""
    files = sorted(file for file in path.glob("*.npy") if file.name != LABELS)
    return _source(path, files, spec) if files and (path / LABELS).exists() else None


def _source(path: Path, files: list[Path], spec: DataSpec) -> Source:
    images, labels = [npy_array(file) for file in files], to_labels(npy_array(files[0].with_name(LABELS)))
    for stored in images:
        if stored.shape[:1] != labels.codes.shape:
            message = tr("{origin} has the shape {shape}, but {file} has {n:,} labels.")
            raise DataError(message.format(origin=stored.origin, shape=stored.shape, file=LABELS, n=len(labels)))
    # labels.npy holds the labels of one array, which are the same in every array.
    repeated = Labels(labels.origin, np.tile(labels.codes, len(images)), labels.names, numbered=labels.numbered)
    # Nothing in the folder says what the numbers mean, but the labels, which repeat at each of the five severities, are
    # CIFAR-10's test labels in order, or they are not.
    first_severity = labels.codes[: len(labels) // 5].astype(np.uint8)
    names = CIFAR10_NAMES if hashlib.sha256(first_severity.tobytes()).hexdigest() == TEST_LABELS else ()
    return array_source(path, "corruptions", RULE, {"test": Part(images, repeated)}, {}, spec, names)
