"""Whether images are the published ones of CIFAR-10, whatever format they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cifarlab.images.archives.official import CIFAR10_NAMES, FINGERPRINTS, SIDE
from cifarlab.images.images import Images

RECOGNISED = "the published pixels of CIFAR-10: their hashes agree"

_NUMBERS = tuple(str(number) for number in range(len(CIFAR10_NAMES)))


def recognised(images: Images) -> Images:
    """The same images; where they are a whole split of CIFAR-10 as published, `original` and `note` say so.

    Known by a hash over the images in any order, because folders have an order of their own. Classes may be called by
    their official names or numbers. What cannot be CIFAR-10 by its counts is not hashed.
    """
    names = CIFAR10_NAMES if images.class_names == _NUMBERS else images.class_names
    published = FINGERPRINTS.get(len(images))
    if images.original is not None or published is None or images.size != (SIDE, SIDE):
        return images
    if set(names) != set(CIFAR10_NAMES) or len(np.unique(images.counts)) != 1:
        return images
    if images.fingerprint == published.in_order or unordered_fingerprint(images, names) == published.unordered:
        return images.with_origin(True, "; ".join(filter(None, (images.note, RECOGNISED))))
    return images


def unordered_fingerprint(images: Images, names: Sequence[str]) -> str:
    """SHA-256 over the sorted BLAKE2b hashes of every image's pixels and the name of its class."""
    encoded = [name.encode() for name in names]
    hashes = [
        hashlib.blake2b(image.tobytes() + encoded[label], digest_size=16).digest()
        for image, label in zip(images.pixels, images.labels.tolist(), strict=True)
    ]
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()
