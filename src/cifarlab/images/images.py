"""A data set in memory: what every source produces and every consumer takes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import some
from cifarlab.shown import Shown


@dataclass(frozen=True, eq=False)
class Images(Shown):
    """Labelled images of one size.

    pixels: uint8 (N, 3, H, W), RGB, possibly memory-mapped; labels: int64 (N,), each an index into class_names.
    original: True when the pixels are known to be the published ones, False when known to be re-encoded,
    None when there is nothing to compare with. note: one sentence on where they came from.
    skipped: "file: reason" of every image that was left out because it could not be read.
    names: the name of each image in its data set (a file's path below the root), or None if images have no names.
    warnings: sentences on what was lost when they were decoded.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    original: bool | None = None
    note: str = ""
    skipped: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.pixels.dtype == np.uint8 and self.pixels.ndim == 4 and self.pixels.shape[1] == 3
        assert self.labels.dtype == np.int64 and self.labels.shape == (len(self.pixels),)
        assert self.names is None or len(self.names) == len(self.pixels)

    def __repr__(self) -> str:
        height, width = self.size
        names = some([repr(name) for name in self.class_names], 3)
        classes = "1 class" if self.num_classes == 1 else f"{self.num_classes} classes"
        return f"Images({len(self):,} of {width} × {height} pixels, {classes}: {names})"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    @property
    def num_classes(self) -> int:
        """The number of classes, those without an image included."""
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, labels and pixels in order."""
        digest = hashlib.sha256()
        digest.update("\0".join(self.class_names).encode("utf-8", "surrogateescape"))  # names of any folder
        digest.update(repr(self.pixels.shape).encode())
        digest.update(self.labels.astype("<i8").tobytes())  # little-endian on every machine
        for start in range(0, len(self), 4096):  # a memory-mapped array never has to fit into memory
            digest.update(self.pixels[start : start + 4096].tobytes())
        return digest.hexdigest()

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """A hash of each image's pixels, int64 (N,): equal for equal images, and different in every process.

        64 bits: among a million images, two different ones have the same hash with a probability of 3e-8.
        """
        # Python's hash of bytes (SipHash with a random key): several times as fast as SHA-256, and never stored
        return np.array([hash(image.tobytes()) for image in self.pixels], np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Images per class, (num_classes,)."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    def with_origin(self, original: bool, note: str) -> Images:
        """The same images with another `original` and `note`."""
        copy = replace(self, original=original, note=note)
        if "fingerprint" in self.__dict__:  # it takes a third of a second for CIFAR-10, and is the same
            copy.__dict__["fingerprint"] = self.fingerprint
        return copy

    def in_order_of(self, class_names: tuple[str, ...]) -> Images:
        """The same images with the same classes, in the order of `class_names`."""
        assert sorted(class_names) == sorted(self.class_names)
        # another format may number the same classes otherwise: they are matched by name, never by number
        places = np.array([class_names.index(name) for name in self.class_names], np.int64)
        return replace(self, labels=places[self.labels], class_names=class_names)

    def subset(self, indices: NDArray[np.int64]) -> Images:
        """The images at `indices`, in that order."""
        names = None if self.names is None else tuple(self.names[index] for index in indices)
        part = replace(self, pixels=self.pixels[indices], labels=self.labels[indices], names=names)
        if "hashes" in self.__dict__:  # computed before, which takes a third of a second for CIFAR-10
            part.__dict__["hashes"] = self.hashes[indices]
        return part

    def flat_channels(self) -> dict[str, int]:
        """Colour -> its value, for channels with one value in every pixel of every image."""
        found = {}
        for channel, name in enumerate(("red", "green", "blue") if len(self) else ()):
            value = int(self.pixels[0, channel, 0, 0])
            if all((image[channel] == value).all() for image in self.pixels):  # most often over after the first image
                found[name] = value
        return found

    def mean_and_std(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Per-channel mean and standard deviation over all pixels, as fractions of 255.

        This is the deviation over pixels, not the mean of per-image deviations that many projects copy.
        """
        totals = np.zeros((2, 3), np.uint64)  # of the values and of their squares: whole numbers, so nothing is rounded
        for start in range(0, len(self), 256):
            block = self.pixels[start : start + 256]
            totals[0] += block.sum((0, 2, 3), dtype=np.uint64)
            totals[1] += np.square(block, dtype=np.uint16).sum((0, 2, 3), dtype=np.uint64)
        num = max(1, self.pixels[:, 0].size)
        values, squares = totals.tolist()
        mean = [value / (255 * num) for value in values]
        std = [math.sqrt(num * square - value**2) / (255 * num) for value, square in zip(values, squares, strict=True)]
        return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def join(parts: Sequence[Images]) -> Images:
    """The images of several splits of one data set as one, in memory; they have one size and the same classes."""
    first = parts[0]
    assert all(part.class_names == first.class_names for part in parts)
    return replace(
        first,
        pixels=np.concatenate([part.pixels for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        skipped=tuple(text for part in parts for text in part.skipped),
        names=tuple(name for part in parts for name in part.names or ()) or None,
    )
