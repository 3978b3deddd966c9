"""Decoded pictures on disk: decoded once, then memory-mapped.

Beside the pixels (`.npy`) lies a data card (`.json`): what the pictures were stored as, by which rule they
were converted, which could not be read. It is written last, so where there is a card the pixels are complete.

Threads decode, because Pillow releases the interpreter's lock while it does. On two cores two threads decode
photographs of 400 x 300 px 1.6 times as fast as one. JPEGs of 64 px, 5,000 to 6,000 a second, are a tenth to
a fifth slower than in one thread: there the lock is held most of the time. Processes would read 11,000, but
cannot be started safely from a program without a main guard, and this work is done once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import log, printable, progress
from cifarlab.errors import DataError, MachineError
from cifarlab.files import (
    TEMPORARY_PREFIX,
    lock,
    machine_errors,
    remove_leftovers,
    sha256,
    write_atomic,
)
from cifarlab.images.decode import RULE, Decoded, decode_with_origin
from cifarlab.images.folders.listing import ImageFile

FORMAT = 1
"""Version of the files written here; another version is decoded anew."""

MAX_BYTES = 128_000_000
"""No picture within the limit of pixels is larger than this when it is encoded sensibly."""

_RUN = 64
"""Files that one thread decodes in a row: single small files would change threads more than they decode."""


@dataclass(frozen=True)
class Card:
    """What is known of the decoded pictures of one split.

    stored_modes and stored_sizes ("width x height") count the pictures as they were; skipped: name -> reason.
    """

    format: int
    fingerprint: str
    image_size: int
    num_images: int
    class_names: list[str]
    rule: str
    stored_modes: dict[str, int]
    stored_sizes: dict[str, int]
    skipped: dict[str, str]
    sha256: str = ""


def load_pixels(
    files: Sequence[ImageFile], class_names: Sequence[str], image_size: int, folder: Path, split: str
) -> tuple[NDArray[np.uint8], Card]:
    """Decode files to uint8 (N, 3, image_size, image_size), or map what `folder` holds of them from before.

    Files that cannot be read have no row; the card names them. Where the folder cannot be written, the pixels
    stay in memory. Raises MachineError when the disk is full.
    """
    fingerprint = _fingerprint(files, class_names, image_size)
    base = folder / f"{split}-{image_size}px-{fingerprint[:16]}"
    if (stored := _stored(base, fingerprint)) is not None:
        return stored
    if (obstacle := _obstacle(folder)) is not None:
        log.warning(
            "Cannot keep decoded images in %s (%s): they are decoded into memory, and again the next time.",
            *(folder, obstacle),
        )
        return _decode_to_memory(files, class_names, image_size, fingerprint)
    with lock(folder / ".lock", wait=True):
        if (stored := _stored(base, fingerprint, notice=False)) is None:  # another process may have been first
            remove_leftovers(folder)
            _remove_outdated(folder, f"{split}-{image_size}px-")
            return _decode_to_disk(files, class_names, image_size, fingerprint, base)
    return stored


def _fingerprint(files: Sequence[ImageFile], class_names: Sequence[str], image_size: int) -> str:
    """Changes when a file's status does; permissions count too, because they can hide a file."""
    digest = hashlib.sha256(json.dumps([FORMAT, RULE, image_size, list(class_names)]).encode())
    for file in files:
        digest.update(os.fsencode(file.name))
        digest.update(f"\0{file.size_bytes} {file.modified_ns} {file.mode_bits}\0".encode())
    return digest.hexdigest()


def _stored(base: Path, fingerprint: str, *, notice: bool = True) -> tuple[NDArray[np.uint8], Card] | None:
    """Map what was decoded before; None when there is nothing, or nothing whole."""
    pixels_file, card_file = _files(base)
    if not card_file.exists():
        return None
    try:
        card = Card(**json.loads(card_file.read_text("utf-8")))
        if card.fingerprint != fingerprint or sha256(pixels_file) != card.sha256:
            raise ValueError("its checksum is wrong")
        # private, not read-only: torch warns of arrays that cannot be written
        pixels = np.load(pixels_file, mmap_mode="c", allow_pickle=False)
        if pixels.shape != (card.num_images, 3, card.image_size, card.image_size) or pixels.dtype != np.uint8:
            raise ValueError("its shape is wrong")
        return pixels, card
    except (OSError, ValueError, TypeError, EOFError) as error:
        if notice:
            log.warning("The decoded images in %s are damaged (%s): decoding them again.", pixels_file, error)
        return None


def _decode_to_disk(
    files: Sequence[ImageFile], class_names: Sequence[str], image_size: int, fingerprint: str, base: Path
) -> tuple[NDArray[np.uint8], Card]:
    pixels_file, card_file = _files(base)
    _check_space(base.parent, len(files) * 3 * image_size**2)
    tally = _Tally()
    temporary = base.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{base.name}.npy")
    with machine_errors(base.parent):
        try:
            with temporary.open("wb") as file:
                _write_header(file, len(files), image_size)
                for row in tally.good_rows(files, image_size):
                    file.write(row.tobytes())
                file.seek(0)
                _write_header(file, tally.num_images, image_size)
                file.flush()
                os.fsync(file.fileno())
            if tally.num_images == 0:  # nothing can be mapped, and nothing is worth keeping
                return np.empty((0, 3, image_size, image_size), np.uint8), tally.card(
                    class_names, image_size, fingerprint
                )
            card = tally.card(class_names, image_size, fingerprint, sha256(temporary))
            temporary.replace(pixels_file)
        finally:
            temporary.unlink(missing_ok=True)
    write_atomic(card_file, json.dumps(asdict(card), indent=2) + "\n")
    return np.load(pixels_file, mmap_mode="c", allow_pickle=False), card


def _decode_to_memory(
    files: Sequence[ImageFile], class_names: Sequence[str], image_size: int, fingerprint: str
) -> tuple[NDArray[np.uint8], Card]:
    pixels, tally = np.empty((len(files), 3, image_size, image_size), np.uint8), _Tally()
    for index, row in enumerate(tally.good_rows(files, image_size)):
        pixels[index] = row
    return pixels[: tally.num_images], tally.card(class_names, image_size, fingerprint)


class _Tally:
    """Decodes files, hands out the pixels of those that can be read, and counts what they were."""

    def __init__(self) -> None:
        self.num_images = 0
        self.modes: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}

    def good_rows(self, files: Sequence[ImageFile], image_size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 (3, image_size, image_size) of each readable file, in their order."""
        with progress("Decoding images", len(files), "images") as advance:
            for run in _decode_in_order(files, image_size):
                for file, result in run:
                    if isinstance(result, Decoded):
                        self._count(result)
                        yield result.pixels
                    else:
                        self.skipped[printable(file.name)] = result
                advance(len(run))

    def _count(self, image: Decoded) -> None:
        self.num_images += 1
        self.modes[image.mode] += 1
        height, width = image.stored_size
        self.sizes[f"{width} x {height}"] += 1

    def card(self, class_names: Sequence[str], image_size: int, fingerprint: str, sha256_of_file: str = "") -> Card:
        """What was counted, as a card; of many different sizes the most frequent."""
        modes, sizes = dict(self.modes.most_common()), dict(self.sizes.most_common(20))
        return Card(
            *(FORMAT, fingerprint, image_size, self.num_images, list(class_names), RULE),
            *(modes, sizes, self.skipped, sha256_of_file),
        )


Result = Decoded | str
"""Pixels, or the reason why there are none."""


def _decode_in_order(files: Sequence[ImageFile], image_size: int) -> Iterator[list[tuple[ImageFile, Result]]]:
    """Decode on all cores and yield the results in the order of the files, holding few of them at a time."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[list[tuple[ImageFile, Result]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), _RUN):
            waiting.append(pool.submit(_decode_run, files[start : start + _RUN], image_size))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_run(files: Sequence[ImageFile], image_size: int) -> list[tuple[ImageFile, Result]]:
    return [(file, _decode_file(file, image_size)) for file in files]


def _decode_file(file: ImageFile, image_size: int) -> Result:
    try:
        if not stat.S_ISREG(file.mode_bits):
            return "not a regular file"
        if file.size_bytes > MAX_BYTES:
            return f"{file.size_bytes / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB allowed"
        return decode_with_origin(Path(file.path).read_bytes(), (image_size, image_size))
    except DataError as error:
        return str(error)
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _files(base: Path) -> tuple[Path, Path]:
    return base.with_name(f"{base.name}.npy"), base.with_name(f"{base.name}.json")


def _write_header(file: IO[bytes], num_images: int, image_size: int) -> None:
    """Write the header of a .npy file; numpy keeps its length the same for any number of images."""
    shape = (num_images, 3, image_size, image_size)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _obstacle(folder: Path) -> str | None:
    """Say why nothing can be written in a folder, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise MachineError(
            f"Decoded images need {needed_bytes / 1e6:.0f} MB in {folder}.\n"
            f"There, {free_bytes / 1e6:.0f} MB are free. "
            "Free some space, or choose a smaller image size."
        )


def _remove_outdated(folder: Path, prefix: str) -> None:
    """Delete what was decoded from files that have changed since; whoever has it mapped keeps it."""
    for path in folder.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)
