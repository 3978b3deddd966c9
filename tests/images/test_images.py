"""The data set in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cifarlab.images.images import Images

RNG = np.random.default_rng(0)


def images(count: int = 10) -> Images:
    pixels = RNG.integers(0, 256, (count, 3, 4, 5), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c", "empty"))


def test_mean_and_deviation_are_those_over_all_pixels():
    data = images(5000)  # more than one block
    mean, std = data.mean_and_std()
    values = data.pixels.astype(np.float64) / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)))
    assert std == pytest.approx(values.std((0, 2, 3)))


def test_n14_channels_with_one_value_throughout():
    data = images()
    assert data.flat_channels() == {}
    data.pixels[:, 2] = 0
    data.pixels[:, 1] = 7
    assert data.flat_channels() == {"green": 7, "blue": 0}
    data.pixels[-1, 1, -1, -1] = 8
    assert data.flat_channels() == {"blue": 0}
    assert images(0).flat_channels() == {}


def test_a_class_without_images_counts_0():
    assert images(10).counts.tolist() == [4, 3, 3, 0]


def test_the_fingerprint_depends_on_pixels_labels_names_and_order():
    data = images()
    pixels, labels = data.pixels.copy(), data.labels.copy()
    pixels[3, 1, 2, 2] ^= 1
    labels[0] = 1
    others = [
        dataclasses.replace(data, pixels=pixels),
        dataclasses.replace(data, labels=labels),
        dataclasses.replace(data, class_names=("a", "b", "c", "other")),
        data.subset(np.arange(10)[::-1].astype(np.int64)),
        data.subset(np.arange(9, dtype=np.int64)),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert data.subset(np.arange(10, dtype=np.int64)).fingerprint == data.fingerprint


def test_the_fingerprint_ignores_how_pixels_lie_in_memory():
    data = images()
    strided = np.asfortranarray(data.pixels)
    assert dataclasses.replace(data, pixels=strided).fingerprint == data.fingerprint


def test_classes_in_another_order_keep_their_images():
    data = images(10)
    turned = data.in_order_of(("empty", "c", "a", "b"))
    assert [turned.class_names[label] for label in turned.labels] == [data.class_names[label] for label in data.labels]
    assert turned.in_order_of(data.class_names).fingerprint == data.fingerprint
