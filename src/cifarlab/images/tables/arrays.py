"""Read data sets that are arrays of pixels. One rule says what a shape and a type mean, for npz, npy, IDX and MAT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import count, printable
from cifarlab.errors import AmbiguousDataError, DataError, MachineError
from cifarlab.images.decode import fit_pixels
from cifarlab.images.images import Images
from cifarlab.images.losses import cropped, dark, white
from cifarlab.images.pictures import side_for
from cifarlab.images.source import Source, Understanding
from cifarlab.images.tables import labels
from cifarlab.images.tables.labels import Labels, class_counts, match, usable_splits
from cifarlab.language import tr, translatable
from cifarlab.machine.process import memory_bytes
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS, listed_names

CHANNELS = (1, 3)
"""Numbers of channels that images have: grey or RGB."""
DEFLATE_RATIO = 1032
"""Bytes that zlib can make of one at most, by its documentation."""
_BLOCK = 4096
"""Images that are converted at a time, so that floats and 16-bit values need no second copy of the whole array."""
_CHUNK = 2**24
"""Bytes that are read at a time from a stream, which may be shorter than its header says."""

Layout = Literal["grey", "channels first", "channels last"]


@dataclass(frozen=True)
class Stored:
    """An array in a file, described by its header; `read` loads it.

    origin: the file and the array's name in it, for messages.
    """

    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]]

    @property
    def num_rows(self) -> int:
        """The number of images or labels, if it holds any."""
        return self.shape[0] if self.shape else 0

    def __str__(self) -> str:
        return f"{self.dtype.name} {self.shape}"


@dataclass(frozen=True)
class Part:
    """One split: its images, in one or several arrays, and the labels of all of them."""

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
    """Make a source of arrays; they are read anew each time, because there is nothing to decode.

    class_names: what the numbers mean where the format is known, unless `spec.class_names` says something else. Raises
    DataError for images and labels that do not belong together.
    """
    # Only headers and labels are read here, so a mistake is found before any pixels are read.
    for part in parts.values():
        num_images = sum(stored.num_rows for stored in part.images)
        if num_images != len(part.labels):
            held = {"images": count(num_images, "image"), "labels": count(len(part.labels), "label")}
            raise DataError(tr("{origin} holds {images}, but {labels}.", origin=part.images[0].origin, **held))
    labelled, without = usable_splits({split: [parts[split].labels] for split in SPLITS if split in parts})
    names, codes = match(path, labelled, listed_names(spec.class_names) or class_names)
    sizes = {split: [size_of(stored) for stored in parts[split].images] for split in codes}
    side = side_for(next(iter(sizes.values())), spec.image_size)  # of the first split, so that all get one size

    def read(split: str) -> Images:
        arrays, brightest, first = parts[split].images, 0, 0
        # Filled part by part: concatenating converted arrays would hold the whole split twice.
        pixels = np.empty((len(codes[split]), 3, side, side), np.uint8)
        for stored in arrays:
            brightest = max(brightest, to_pixels(stored, spec, pixels[first : first + stored.num_rows]))
            first += stored.num_rows
        shown = ", ".join(dict.fromkeys(map(str, arrays)))
        warnings = (
            *cropped(Counter({size_of(stored): stored.num_rows for stored in arrays}), spec.fit),
            *white(brightest, spec.white_level),
            *dark("stored", brightest, spec.white_level),
        )
        # stored in manifests, so it is English, and translated where it is shown
        note = translatable("from {source}, stored as {arrays}").format(source=printable(str(path)), arrays=shown)
        return Images(pixels, codes[split], names, note=note, warnings=warnings)

    numbered = all(part.labels.numbered for part in parts.values())
    everything = {**left_out, **without}
    understanding = Understanding(kind, rule, tuple(codes), class_counts(names, codes), everything, numbered=numbered)
    return Source(path, understanding, read)


def size_of(stored: Stored) -> tuple[int, int]:
    """Return height and width of the images in an array; raises DataError for a shape that images do not have."""
    height, width = stored.shape[2:4] if _layout(stored) == "channels first" else stored.shape[1:3]
    return height, width


def to_pixels(stored: Stored, spec: DataSpec, pixels: NDArray[np.uint8]) -> int:
    """Fill `pixels`, uint8 (N, 3, side, side), with the images of an array.

    Returns the highest value of a uint16 array, by which 12-bit data are noticed, else 0. Raises DataError for values
    that do not mean a brightness.
    """
    layout, array = _layout(stored), stored.read()
    check_memory(array.nbytes + pixels.nbytes, stored.origin)
    if layout == "grey":
        array = array[:, None]  # one channel, which the assignment below broadcasts to three
    elif layout == "channels last":
        array = np.moveaxis(array, -1, 1)
    size = pixels.shape[2], pixels.shape[3]
    for start in range(0, len(array), _BLOCK):
        block = _to_bytes(array[start : start + _BLOCK], spec.white_level, stored.origin)
        if block.shape[2:] != size:
            # fit_pixels wants RGB; a view with stride 0 instead of three copies of a grey channel.
            block = np.broadcast_to(block, (len(block), 3, *block.shape[2:]))
            block = np.stack([fit_pixels(image, size, spec.fit) for image in block])
        pixels[start : start + _BLOCK] = block
    return int(array.max(initial=0)) if array.dtype.kind == "u" and array.dtype.itemsize == 2 else 0


def to_labels(stored: Stored) -> Labels:
    """Read the labels in an array: numbers or text, one for each image, or a one-hot row for each."""
    values = stored.read()
    if values.ndim == 2 and values.shape[1] == 1:  # as Keras and MedMNIST store them
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "biuf":
        values = _one_hot(values, stored)
    if values.ndim != 1:
        message = tr("{origin}: labels must have the shape (N,) or (N, 1), found {shape}.")
        raise DataError(message.format(origin=stored.origin, shape=stored.shape))
    if values.dtype.kind in "US":
        try:
            shown = [value if isinstance(value, str) else value.decode("utf-8") for value in values.tolist()]
        except UnicodeDecodeError as error:
            message = tr("{origin}: the label {label!r} is not UTF-8 text.")
            raise DataError(message.format(origin=stored.origin, label=error.object)) from error
        return labels.texts(stored.origin, shown)
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)  # pandas writes missing numbers as NaN, and the rest as floats
    with np.errstate(invalid="ignore"):  # for numbers beyond int64, which the next line refuses
        whole = values.astype(np.int64)
    if (whole != values).any():  # also a uint64 beyond int64, which has become a negative number
        message = tr("{origin}: labels must be whole numbers or names, found {kind}.")
        raise DataError(message.format(origin=stored.origin, kind=stored.dtype.name))
    return labels.numbers(stored.origin, whole)


def read_values(stream: IO[bytes], num_bytes: int, origin: str, path: Path) -> NDArray[np.uint8]:
    """Read the rest of a stream, which must have exactly this many bytes; raises DataError when it does not."""
    values = read_exactly(stream, num_bytes, origin, path)
    if stream.read(1):
        message = tr("{origin} is damaged: its header says {want:,} bytes of values, and it has more.")
        raise DataError(message.format(origin=origin, want=num_bytes))
    return values


def read_exactly(stream: IO[bytes], num_bytes: int, origin: str, path: Path) -> NDArray[np.uint8]:
    """Read the next bytes of a stream; raises DataError when there are fewer. path: the file that the stream is in."""
    check_claim(num_bytes, origin, path)
    values = np.empty(num_bytes, np.uint8)  # takes no memory before it is filled, whatever a header claims
    filled = 0
    while filled < num_bytes and (chunk := stream.read(min(_CHUNK, num_bytes - filled))):
        values[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    if filled < num_bytes:
        message = tr("{origin} is damaged: its header says {want:,} bytes of values, and it has {have:,}.")
        raise DataError(message.format(origin=origin, want=num_bytes, have=filled))
    return values


def check_claim(num_bytes: int, origin: str, path: Path) -> None:
    """Refuse a header that claims more than fits into the file or into this machine, before anything is read."""
    # The file may be compressed, so its size alone is no bound; but no stream unpacks to more than this ratio.
    size_bytes = path.stat().st_size
    if num_bytes > DEFLATE_RATIO * size_bytes:
        message = tr("{origin} is damaged: its header says {want:,} bytes of values, which do not fit into {have:,}.")
        raise DataError(message.format(origin=origin, want=num_bytes, have=size_bytes))
    check_memory(num_bytes, origin)


def check_memory(num_bytes: int, origin: str) -> None:
    """Raise MachineError for more bytes than this machine has memory."""
    # Linux would grant the allocation and kill the process later, without a message. Windows refuses it, and says
    # nothing of its memory here.
    available_bytes = memory_bytes()
    if available_bytes is not None and num_bytes > available_bytes:
        message = tr("{origin} needs {want:,.1f} GB of memory; this machine has {have:,.1f} GB.")
        raise MachineError(message.format(origin=origin, want=num_bytes / 1e9, have=available_bytes / 1e9))


def _layout(stored: Stored) -> Layout:
    # No file says which axis is which; the only hint is that 1 or 3 channels are fewer than pixels usually are.
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
            tr(
                "{origin} has the shape {shape}, in which the channels could come first or last.\n"
                "Save images of at least 4 px, with the channels last.",
                origin=stored.origin,
                shape=shape,
            )
        )
    raise DataError(
        tr(
            "{origin} has the shape {shape}. Images have the shape (N, H, W) when they are grey, "
            "(N, H, W, 3) or (N, 3, H, W) in colour.",
            origin=stored.origin,
            shape=shape,
        )
    )


def _to_bytes(values: NDArray[Any], white_level: int, origin: str) -> NDArray[np.uint8]:
    """Convert brightness to 8 bits, by the rule for encoded images."""
    # The type decides and never the values alone: an array of floats up to 255, say, may be standardised or not, and a
    # dark image in 0..255 looks like a bright one in 0..1.
    kind, num_bytes = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and num_bytes == 1:
        return values
    if kind == "b":
        return np.where(values, np.uint8(255), np.uint8(0))
    low, high = values.min(), values.max()
    if kind == "u" and num_bytes == 2:
        # Rounded to the nearest level, in whole numbers: 65,535 · 255 needs 24 bits.
        levels = np.minimum(values.astype(np.uint32), white_level)
        return ((levels * 255 + white_level // 2) // white_level).astype(np.uint8)
    if kind == "f" and low >= 0 and high <= 1:  # False for NaN, too: no comparison with it holds
        return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    raise DataError(
        tr(
            "{origin} holds {kind} from {low:.4g} to {high:.4g}. Images are read as uint8 or uint16, "
            "as bool, or as fractions from 0 (black) to 1 (white).\n"
            "Save values from 0 to 255 as uint8: images.astype(np.uint8)",
            origin=origin,
            kind=values.dtype.name,
            low=low,
            high=high,
        )
    )


def _one_hot(values: NDArray[Any], stored: Stored) -> NDArray[np.int64]:
    # Checked value by value, because argmax would make a label of any row: probabilities, or several classes at once.
    if values.shape[1] == 0 or not ((values == 0) | (values == 1)).all() or (values.sum(axis=1) != 1).any():
        message = tr("{origin} has the shape {shape} and is not one-hot: several labels for an image cannot be learnt.")
        raise DataError(message.format(origin=stored.origin, shape=stored.shape))
    marked: NDArray[np.int64] = np.argmax(values, axis=1).astype(np.int64)
    return marked
