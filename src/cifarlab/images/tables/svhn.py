"""Read SVHN's MATLAB files: train_32x32.mat and test_32x32.mat, with images X and labels y in each.

Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.source import NO_SPLIT, Source
from cifarlab.images.tables.arrays import Part, array_source, to_labels
from cifarlab.images.tables.matlab import mat_arrays
from cifarlab.images.words import split_of, words_in
from cifarlab.language import listed, tr, translatable
from cifarlab.recipe.schema import DataSpec

RULE = translatable("The names of the files say the splits; X are images, y labels, of which 10 means the digit 0.")


def open_mat(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open a single MATLAB file as a source with one split: the one that its name says, else train."""
    splits = {split for word in words_in(path.stem) if (split := split_of(word)) is not None}
    return _source(path, {splits.pop() if len(splits) == 1 else "train": path}, {}, spec)


def recognise_svhn(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder with SVHN's files as a source; return None for one without."""
    files = {name: path / f"{name}_32x32.mat" for name in ("train", "test", "extra")}
    present = {name: file for name, file in files.items() if file.exists()}
    extra = present.pop("extra", None)  # 531,131 easier images, which are not a part of train unless somebody adds them
    left_out = {NO_SPLIT: [extra.name]} if extra else {}
    return _source(path, present, left_out, spec) if present else None


def _source(path: Path, files: Mapping[str, Path], left_out: Mapping[str, list[str]], spec: DataSpec) -> Source:
    return array_source(path, "mat", RULE, {split: _part(file) for split, file in files.items()}, left_out, spec)


def _part(file: Path) -> Part:
    arrays = mat_arrays(file)
    images, numbers = arrays.get("X"), arrays.get("y")
    if images is None or numbers is None or len(images.shape) != 4 or min(numbers.shape) != 1:
        shown = listed(f"{printable(name)} {stored}" for name, stored in arrays.items()) or tr("no arrays of numbers")
        raise DataError(
            tr(
                "{path} is not like SVHN's files: images X, uint8 (32, 32, 3, N), and labels y.\nIt has: {arrays}.",
                path=file,
                arrays=shown,
            )
        )
    read_images, read_labels = images.read, numbers.read
    # MATLAB has the image as the last axis, (H, W, 3, N); every matrix has two axes or more, so labels are (N, 1).
    images_first = replace(
        images, shape=images.shape[3:] + images.shape[:3], read=lambda: np.moveaxis(read_images(), 3, 0)
    )
    labels = to_labels(replace(numbers, shape=(max(numbers.shape),), read=lambda: read_labels().ravel()))
    # MATLAB counts from 1, so SVHN calls the digit 0 class 10.
    if "10" in labels.names and "0" not in labels.names:
        labels = replace(labels, names=tuple("0" if name == "10" else name for name in labels.names))
    return Part([images_first], labels)
