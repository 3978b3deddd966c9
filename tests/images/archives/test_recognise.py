from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cifarlab.images.archives import recognise
from cifarlab.images.archives.cifar import read_extracted
from cifarlab.images.archives.official import CIFAR10_NAMES, FINGERPRINTS, Fingerprints
from cifarlab.images.archives.recognise import RECOGNISED, REORDERED, recognised, unordered_fingerprint
from cifarlab.images.images import Images


@pytest.fixture
def published(monkeypatch) -> Images:
    """Twenty images in the place of CIFAR-10's."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), np.uint8)
    images = Images(pixels, np.arange(20, dtype=np.int64) % 10, CIFAR10_NAMES)
    known = Fingerprints(images.fingerprint, unordered_fingerprint(images, CIFAR10_NAMES))
    monkeypatch.setattr(recognise, "FINGERPRINTS", {20: known})
    return images


def test_n25_the_published_images_are_recognised(published: Images) -> None:
    images = recognised(dataclasses.replace(published, note="decoded from parquet"))
    assert images.original is True and images.note == f"decoded from parquet; {RECOGNISED}"
    assert images.fingerprint == published.fingerprint


def test_n25_in_another_order_and_with_names_in_another_order(published: Images) -> None:
    shuffled = published.subset(np.random.default_rng(1).permutation(20))
    assert shuffled.fingerprint != published.fingerprint
    assert recognised(shuffled).original is True and recognised(shuffled).note == REORDERED
    turned = dataclasses.replace(published, labels=9 - published.labels, class_names=CIFAR10_NAMES[::-1])
    assert recognised(turned).original is True


def test_n25_classes_called_by_their_numbers(published: Images) -> None:
    assert recognised(dataclasses.replace(published, class_names=tuple("0123456789"))).original is True


def test_n25_one_pixel_or_label_that_differs(published: Images) -> None:
    pixels, labels = published.pixels.copy(), published.labels.copy()
    pixels[7, 1, 4, 4] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    for changed in (dataclasses.replace(published, pixels=pixels), dataclasses.replace(published, labels=labels)):
        assert recognised(changed) is changed


@pytest.mark.parametrize(
    "change",
    [
        {"original": False},
        {"class_names": tuple("abcdefghij")},
        {"pixels": np.zeros((20, 3, 28, 28), np.uint8)},
        {"labels": np.zeros(20, np.int64)},
    ],
)
def test_what_cannot_be_cifar10_is_not_hashed(change: dict[str, object], published: Images, monkeypatch) -> None:
    monkeypatch.setattr(recognise, "unordered_fingerprint", None)
    images = dataclasses.replace(published, **change)
    assert recognised(images) is images
    few = published.subset(np.arange(10))
    assert recognised(few) is few


def test_n25_the_constants_are_those_of_the_published_batches(real_data) -> None:
    """The archive's checksums prove the pixels, and these prove the constants."""
    if not (real_data / "cifar10" / "batches.meta").is_file():
        pytest.skip("the cifar10 of CIFARLAB_DATA is not the extracted archive")
    for split, count in {"train": 50_000, "test": 10_000}.items():
        images = read_extracted(real_data / "cifar10", split)
        assert images.original is True
        known = Fingerprints(images.fingerprint, unordered_fingerprint(images, images.class_names))
        assert known == FINGERPRINTS[count]
