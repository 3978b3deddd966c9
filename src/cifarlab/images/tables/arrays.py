"""Data sets that are arrays of pixels: what an array's shape and type mean, by one rule for npz, npy, IDX and MAT."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import AmbiguousDataError, DataError, MachineError
from cifarlab.images.decode import fit_pixels
from cifarlab.images.images import Images
from cifarlab.images.losses import cropped, dark, white
from cifarlab.images.pictures import side_for
from cifarlab.images.source import Source, Understanding
from cifarlab.images.tables import labels
from cifarlab.images.tables.labels import Labels, count, match, with_labels
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS, listed_names

CHANNELS = (1, 3)
"""Grey or RGB."""
DEFLATE_RATIO = 1032
"""The most that zlib can compress."""
_BLOCK = 4096
"""Images that are converted at a time, to bound the memory."""
_CHUNK = 2**24
"""Bytes that are read at a time."""

Layout = Literal["grey", "channels first", "channels last"]


@dataclass(frozen=True)
class Stored:
    """An array in a file, described by its header. origin: the file and what it is called there, for messages."""

    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]]

    @property
    def num_rows(self) -> int:
        """How many images or labels there are, where it holds any."""
        return self.shape[0] if self.shape else 0

    def __str__(self) -> str:
        return f"{self.dtype.name} {self.shape}"


@dataclass(frozen=True)
class Part:
    """One split: its images, in one or several arrays, and their labels."""

    images: Sequence[Stored]
    labels: Labels


def array_source(
    path: Path,
    kind: str,
    rule: str,
    parts: Mapping[str, Part],
    left_out: Mapping[str, Sequence[str]],
    spec: DataSpec,
    class_names: Sequence[str] = (),
) -> Source:
    """Arrays as a source, read anew each time: there is nothing to decode.

    class_names: what the format is known to mean by its numbers, unless `spec.class_names` says something else.
    Raises DataError for images and labels that do not belong together.
    """
    for part in parts.values():
        num_images = sum(stored.num_rows for stored in part.images)
        if num_images != len(part.labels):
            raise DataError(f"{part.images[0].origin} holds {num_images:,} images, but {len(part.labels):,} labels.")
    labelled, without = with_labels({split: [parts[split].labels] for split in SPLITS if split in parts})
    names, codes = match(path, labelled, listed_names(spec.class_names) or class_names)
    sizes = {split: [size_of(stored) for stored in parts[split].images] for split in codes}
    side = side_for(next(iter(sizes.values())), spec.image_size)

    def read(split: str) -> Images:
        arrays, brightest, first = parts[split].images, 0, 0
        pixels = np.empty((len(codes[split]), 3, side, side), np.uint8)
        for stored in arrays:
            brightest = max(brightest, to_pixels(stored, spec, pixels[first : first + stored.num_rows]))
            first += stored.num_rows
        shown = ", ".join(dict.fromkeys(map(str, arrays)))
        warnings = (
            *cropped(Counter({size_of(stored): stored.num_rows for stored in arrays}), spec.fit),
            *white(brightest, spec.white_level),
            *dark("stored", brightest, spec.white_level, "set data.white_level = {}"),
        )
        note = f"from {printable(str(path))}, stored as {shown}"
        return Images(pixels, codes[split], names, note=note, warnings=warnings)

    numbered = all(part.labels.numbered for part in parts.values())
    everything = {**left_out, **without}
    understanding = Understanding(kind, rule, tuple(codes), count(names, codes), everything, numbered=numbered)
    return Source(path, understanding, read)


def size_of(stored: Stored) -> tuple[int, int]:
    """Height and width of the images in an array; raises DataError for a shape that is not that of images."""
    height, width = stored.shape[2:4] if _layout(stored) == "channels first" else stored.shape[1:3]
    return height, width


def to_pixels(stored: Stored, spec: DataSpec, pixels: NDArray[np.uint8]) -> int:
    """Fill `pixels`, uint8 (N, 3, side, side), with the images of an array; the highest value, where that has 16 bits.

    Raises DataError for values that do not mean a brightness.
    """
    layout, array = _layout(stored), stored.read()
    check_memory(array.nbytes + pixels.nbytes, stored.origin)
    if layout == "grey":
        array = array[:, None]
    elif layout == "channels last":
        array = np.moveaxis(array, -1, 1)
    size = pixels.shape[2], pixels.shape[3]
    for start in range(0, len(array), _BLOCK):
        block = _to_bytes(array[start : start + _BLOCK], spec.white_level, stored.origin)
        if block.shape[2:] != size:
            block = np.broadcast_to(block, (len(block), 3, *block.shape[2:]))
            block = np.stack([fit_pixels(image, size, spec.fit) for image in block])
        pixels[start : start + _BLOCK] = block
    return int(array.max(initial=0)) if array.dtype.kind == "u" and array.dtype.itemsize == 2 else 0


def to_labels(stored: Stored) -> Labels:
    """The labels in an array: numbers or text, one for each image, or a row for each in which one class is marked."""
    values = stored.read()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "biuf":
        values = _one_hot(values, stored)
    if values.ndim != 1:
        raise DataError(f"{stored.origin}: labels must have the shape (N,) or (N, 1), found {stored.shape}.")
    if values.dtype.kind in "US":
        return labels.texts(stored.origin, [_text(value, stored.origin) for value in values.tolist()])
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)  # as pandas writes those that are missing
    with np.errstate(invalid="ignore"):  # of numbers too large for the type, which are refused in the next line
        whole = values.astype(np.int64)
    if (whole != values).any() or (values.dtype.kind == "u" and (whole < 0).any()):
        raise DataError(f"{stored.origin}: labels must be whole numbers or names, found {stored.dtype.name}.")
    return labels.numbers(stored.origin, whole)


def read_values(stream: IO[bytes], num_bytes: int, origin: str, path: Path) -> NDArray[np.uint8]:
    """All that is left of a stream, when it has this many bytes; raises DataError when it has more or fewer."""
    values = read_exactly(stream, num_bytes, origin, path)
    if stream.read(1):
        raise DataError(f"{origin} is damaged: its header says {num_bytes:,} bytes of values, and it has more.")
    return values


def read_exactly(stream: IO[bytes], num_bytes: int, origin: str, path: Path) -> NDArray[np.uint8]:
    """The next bytes of a stream; raises DataError when there are fewer. path: the file that the stream is in."""
    check_claim(num_bytes, origin, path)
    values = np.empty(num_bytes, np.uint8)  # which takes no memory before it is filled, whatever a header claims
    filled = 0
    while filled < num_bytes and (chunk := stream.read(min(_CHUNK, num_bytes - filled))):
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    if filled < num_bytes:
        raise DataError(f"{origin} is damaged: its header says {num_bytes:,} bytes of values, and it has {filled:,}.")
    return values


def check_claim(num_bytes: int, origin: str, path: Path) -> None:
    """Refuse what a header claims before anything is read: more than fits into the file, or into this machine."""
    size_bytes = path.stat().st_size
    if num_bytes > DEFLATE_RATIO * size_bytes:
        raise DataError(
            f"{origin} is damaged: its header says {num_bytes:,} bytes of values, which do not fit into {size_bytes:,}."
        )
    check_memory(num_bytes, origin)


def check_memory(num_bytes: int, origin: str) -> None:
    """Raise MachineError for more values than this machine can hold."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**63
    if num_bytes > memory_bytes:
        raise MachineError(
            f"{origin} needs {num_bytes / 1e9:,.1f} GB of memory; this machine has {memory_bytes / 1e9:,.1f} GB."
        )


def _layout(stored: Stored) -> Layout:
    shape = stored.shape
    if 0 in shape[1:] or len(shape) not in (3, 4):
        layouts: list[Layout] = []
    elif len(shape) == 3:
        layouts = ["grey"]
    else:
        places: dict[Layout, int] = {"channels first": shape[1], "channels last": shape[3]}
        layouts = [layout for layout, num_channels in places.items() if num_channels in CHANNELS]
    if len(layouts) == 1:
        return layouts[0]
    if layouts:
        raise AmbiguousDataError(
            f"{stored.origin} has the shape {shape}, in which the channels could come first or last.\n"
            "Save images of at least 4 px, with the channels last."
        )
    raise DataError(
        f"{stored.origin} has the shape {shape}. Images have the shape (N, H, W) when they are grey, "
        "(N, H, W, 3) or (N, 3, H, W) in colour."
    )


def _to_bytes(values: NDArray[Any], white_level: int, origin: str) -> NDArray[np.uint8]:
    """Brightness as 8 bits, by the rule for encoded images."""
    kind, num_bytes = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and num_bytes == 1:
        return values
    if kind == "b":
        return np.where(values, np.uint8(255), np.uint8(0))
    low, high = values.min(), values.max()
    if kind == "u" and num_bytes == 2:
        levels = np.minimum(values.astype(np.uint32), white_level)
        return ((levels * 255 + white_level // 2) // white_level).astype(np.uint8)
    if kind == "f" and low >= 0 and high <= 1:  # NaN is neither
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise DataError(
        f"{origin} holds {values.dtype.name} from {low:.4g} to {high:.4g}. Images are read as uint8 or uint16, "
        "as bool, or as fractions from 0 (black) to 1 (white).\n"
        "Save values from 0 to 255 as uint8: images.astype(np.uint8)"
    )


def _one_hot(values: NDArray[Any], stored: Stored) -> NDArray[np.int64]:
    if values.shape[1] == 0 or not ((values == 0) | (values == 1)).all() or (values.sum(axis=1) != 1).any():
        raise DataError(
            f"{stored.origin} has the shape {stored.shape} and is not one-hot: several labels for an image "
            "cannot be learnt."
        )
    marked: NDArray[np.int64] = np.argmax(values, axis=1).astype(np.int64)
    return marked


def _text(value: str | bytes, origin: str) -> str:
    try:
        return value if isinstance(value, str) else value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: the label {value!r} is not UTF-8 text.") from error
