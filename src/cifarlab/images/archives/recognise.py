"""Recognise the published images of CIFAR-10, whatever format they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cifarlab.images.archives.official import CIFAR10_NAMES, FINGERPRINTS, SIDE
from cifarlab.images.images import Images
from cifarlab.language import translatable

RECOGNISED = translatable("the published pixels of CIFAR-10: their hashes agree")
REORDERED = translatable(
    "the published pixels and classes of CIFAR-10, in another order: the sorted hashes of all images agree"
)

_NUMBERS = tuple(str(number) for number in range(len(CIFAR10_NAMES)))


def recognised(images: Images) -> Images:
    """Return the images, with `original` and `note` set if they are a whole split of CIFAR-10 as published.

    Classes may be called by their official names or numbers.
    """
    names = CIFAR10_NAMES if images.class_names == _NUMBERS else images.class_names
    published = FINGERPRINTS.get(len(images))
    # Hashing a split takes a while, so first everything that rules CIFAR-10 out at once: number, size, names, counts.
    if images.original is not None or published is None or images.size != (SIDE, SIDE):
        return images
    if set(names) != set(CIFAR10_NAMES) or len(np.unique(images.counts)) != 1:
        return images
    if images.fingerprint == published.in_order:
        return images.with_origin(True, _joined(images.note, RECOGNISED))
    # Folders are read in an order of their own.
    if unordered_fingerprint(images, names) == published.unordered:
        return images.with_origin(True, _joined(images.note, REORDERED))
    return images


def unordered_fingerprint(images: Images, names: Sequence[str]) -> str:
    """Return the SHA-256 of the sorted BLAKE2b hashes of every image's pixels and the name of its class."""
    # The class goes by its name, because its number depends on the order of the classes, and into the same hash as the
    # pixels, so that swapped labels are noticed.
    encoded = [name.encode() for name in names]
    hashes = [
        hashlib.blake2b(image.tobytes() + encoded[label], digest_size=16).digest()
        for image, label in zip(images.pixels, images.labels.tolist(), strict=True)
    ]
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
