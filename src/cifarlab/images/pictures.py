"""Encoded pictures of one split -> Images: the one way for folders, lists, tables and archives of pictures.

`decode` decodes each of them, and `decoded` keeps the result.
"""

from __future__ import annotations

import shutil
import statistics
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable, progress, some
from cifarlab.errors import DataError, MachineError
from cifarlab.files import machine_errors
from cifarlab.images.archives.recognise import recognised
from cifarlab.images.decode import RULE, Decoded, decode_with_origin, fit_pixels, stored_size
from cifarlab.images.decoded import digest, keep
from cifarlab.images.images import Images
from cifarlab.images.losses import cropped, dark, white
from cifarlab.images.retold import retold_reason
from cifarlab.language import tr, translatable
from cifarlab.machine.process import num_cores
from cifarlab.recipe.schema import WHITE_LEVEL, DataSpec, Fit

KEPT_SIDES = range(28, 65)
"""Sides in pixels that square images keep if all have the same: the device resizes small ones faster.

From MNIST's 28 px to Tiny ImageNet's 64 px.
"""

_RUN = 64
"""Pictures that one thread decodes in a row: small ones decode faster than threads change."""

Content = Callable[[], bytes]
"""Reads one encoded picture; raises DataError, with the reason as a phrase, if it cannot be read.

A function instead of the bytes, so that only the pictures that are being decoded are in memory.
"""


@dataclass(frozen=True)
class Pictures:
    """The pictures of one split, still encoded.

    source: where they are, for messages. names: one per picture. labels: int64 (N,). contents: the pictures in order.
    sample: every `sample_step`-th picture of train; these decide the size of all. state: a text that changes when the
    files do (`decoded.files_state`).
    """

    source: Path
    split: str
    names: Sequence[str]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    contents: Callable[[], Iterable[Content]]
    sample: Callable[[], Iterable[Content]]
    state: str


def sample_step(num_pictures: int) -> int:
    """The distance of the pictures whose size is looked at before all are decoded: 100 to 199 of them, if there are."""
    return max(1, num_pictures // 100)  # spread out, because pictures of one class often have one size


def load(pictures: Pictures, spec: DataSpec, cache_dir: Path | None) -> Images:
    """Decode pictures to one size, or map them from the cache.

    The size: pictures that are all square and of one size in KEPT_SIDES keep it. Others are brought to
    `spec.image_size`, or without one to 32 px if their median shorter side is at most 64 px, else to 64 px.

    Raises DataError for pictures that cannot be read, unless `spec.skip_bad` leaves them out, and MachineError when the
    disk is full.
    """

    def make(scratch: Path | None) -> Images:
        sizes = []
        for content in pictures.sample():
            with suppress(DataError):  # reported when its turn comes to be decoded
                sizes.append(stored_size(content()))
        side = side_for(sizes, spec.image_size)
        # whether these are CIFAR-10's published pixels is found out here, so that the cache knows it the next time
        return recognised(_decode(pictures, side, spec, scratch))

    # Everything that decides the result: the rule, the files, and the names and labels that a list beside them gives.
    # Options choose between results that are kept side by side; a change of state replaces one.
    labels = pictures.labels.tobytes().hex()
    state = digest([RULE, pictures.state, *pictures.names, *pictures.class_names, labels])
    options = [spec.image_size, spec.fit, spec.white_level]
    images = keep(pictures.source, pictures.split, options, state, make, cache_dir)
    # after all were decoded, so that one error names all bad pictures, and not a new one after each repair
    if images.skipped and not (spec.skip_bad and len(images)):
        raise DataError(
            tr(
                "{n} of {all} {split} pictures in {source} cannot be read:\n{names}.\n"
                "Repair or remove them, or leave them out with data.skip_bad = true (--skip-bad).",
                n=len(images.skipped),
                all=len(pictures.names),
                split=pictures.split,
                source=pictures.source,
                names=some([retold_reason(text) for text in images.skipped]),
            )
        )
    return images


def fit_images(images: Images, side: int, fit: Fit) -> Images:
    """Bring decoded images to another size by the rule for encoded ones; those that have it stay as they are."""
    if images.size == (side, side):
        return images
    pixels = np.empty((len(images), 3, side, side), np.uint8)
    # by Pillow, as for encoded pictures: the filter of another library would give other pixels
    for index, image in enumerate(images.pixels):
        pixels[index] = fit_pixels(image, (side, side), fit)
    return replace(images, pixels=pixels)


def side_for(sizes: Sequence[tuple[int, int]], wanted: int | None) -> int:
    """The side in pixels to which images of these heights and widths are brought if `wanted` is asked for."""
    if len(set(sizes)) == 1:
        height, width = sizes[0]
        if height == width and height in KEPT_SIDES:
            return height
    # the median, because one banner or one icon should not decide the size of all
    return wanted or (32 if not sizes or statistics.median(map(min, sizes)) <= 64 else 64)


def _decode(pictures: Pictures, side: int, spec: DataSpec, scratch: Path | None) -> Images:
    """Decode all pictures, through the file `scratch` if there is one: the pixels need not fit into memory."""
    tally, shape = _Tally(), (len(pictures.names), 3, side, side)
    rows = tally.good_rows(pictures, side, spec)
    pixels: NDArray[np.uint8]
    if scratch is None:
        pixels = np.empty(shape, np.uint8)
        for index, row in enumerate(rows):
            pixels[index] = row
        pixels = pixels[: tally.num_images]
    else:
        # known before the work: an hour of decoding should not end with a full disk
        needed_bytes, free_bytes = len(pictures.names) * 3 * side**2, shutil.disk_usage(scratch.parent).free
        if free_bytes < needed_bytes:
            raise MachineError(
                tr(
                    "Decoded images need {needed:.0f} MB in {folder}.\n"
                    "There, {free:.0f} MB are free. Free some space, or choose a smaller image size.",
                    needed=needed_bytes / 1e6,
                    free=free_bytes / 1e6,
                    folder=scratch.parent,
                )
            )
        with machine_errors(scratch.parent), scratch.open("wb") as file:
            file.writelines(row.data for row in rows)
        shape = (tally.num_images, *shape[1:])
        # mapped copy on write ("c"), because torch warns of arrays that cannot be written; an empty file has no map
        pixels = np.memmap(scratch, np.uint8, "c", shape=shape) if tally.num_images else np.empty(shape, np.uint8)
    good = np.ones(len(pictures.names), bool)
    good[list(tally.bad)] = False
    return Images(
        pixels,
        pictures.labels[good],
        pictures.class_names,
        note=tally.note(pictures.source, side),
        skipped=tuple(f"{printable(pictures.names[index])}: {reason}" for index, reason in tally.bad.items()),
        names=tuple(name for name, is_good in zip(pictures.names, good, strict=True) if is_good),
        warnings=tuple(tally.warnings(spec)),
    )


@dataclass
class _Tally:
    """Counts of what the pictures of a split are, taken while they are decoded."""

    num_images: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    brightest_grey: int = 0
    brightest_colour: int = 0
    bad: dict[int, str] = field(default_factory=dict)

    def good_rows(self, pictures: Pictures, side: int, spec: DataSpec) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 (3, side, side) of each picture that can be read, in order."""

        def decode(content: Content) -> Decoded | str:
            try:
                return decode_with_origin(content(), (side, side), spec.fit, spec.white_level)
            except DataError as error:
                return str(error)

        with progress(tr("Decoding {split}", split=pictures.split), len(pictures.names), tr("images")) as advance:
            for run in _in_order(decode, pictures.contents()):
                for result in run:
                    if isinstance(result, str):
                        self.bad[self.num_images + len(self.bad)] = result
                        continue
                    self.num_images += 1
                    self.modes[result.mode] += 1
                    self.sizes[result.stored_size] += 1
                    # apart, because only greys have a white level: 16-bit colours arrive with their upper 8 bits
                    if result.mode.startswith("I"):
                        self.brightest_grey = max(self.brightest_grey, result.brightest or 0)
                    else:
                        self.brightest_colour = max(self.brightest_colour, result.brightest or 0)
                    yield result.pixels
                advance(len(run))

    def note(self, source: Path, side: int) -> str:
        """One sentence on where the images came from and how they were stored, to be `retold`."""
        modes = ", ".join(f"{count} {mode}" for mode, count in self.modes.most_common())
        stored = translatable("from {source}, stored as {modes}, several sizes")
        if len(self.sizes) == 1:
            stored = translatable("from {source}, stored as {modes}, {width} x {height} px")
        height, width = next(iter(self.sizes), (0, 0))
        decoded = translatable("decoded to RGB, {side} px").format(side=side)
        return f"{stored.format(source=printable(str(source)), modes=modes, width=width, height=height)}; {decoded}"

    def warnings(self, spec: DataSpec) -> Iterator[str]:
        """Say what decoding loses that its user may not expect to lose."""
        yield from cropped(self.sizes, spec.fit)
        yield from white(self.brightest_grey, spec.white_level)
        yield from dark("grey", self.brightest_grey, spec.white_level)
        yield from dark("colour", self.brightest_colour, WHITE_LEVEL)


def _in_order(decode: Callable[[Content], Decoded | str], contents: Iterable[Content]) -> Iterator[list[Decoded | str]]:
    """Decode on all cores and yield the results in order, a run at a time, holding few of them.

    In threads, because Pillow releases the interpreter's lock while it decodes: two cores read photographs of
    400 x 300 px 1.6 times as fast as one, and those of 32 px at least not slower. Processes would be faster for these,
    but cannot be started safely from a program without a main guard.
    """
    threads = num_cores()
    waiting: deque[Future[list[Decoded | str]]] = deque()
    remaining, is_over = iter(contents), threading.Event()

    def decode_run(run: list[Content]) -> list[Decoded | str]:
        return [decode(content) for content in run if not is_over.is_set()]

    pool = ThreadPoolExecutor(threads)
    try:
        while run := list(islice(remaining, _RUN)):
            waiting.append(pool.submit(decode_run, run))
            if len(waiting) > 2 * threads:  # enough that no thread waits while the first result is written
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        is_over.set()  # whoever presses Ctrl-C is not to wait for some hundred photographs
        pool.shutdown(cancel_futures=True)
