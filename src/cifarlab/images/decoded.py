"""Decoded images kept on disk, so that only the first start pays for decoding.

For each split of a source and each way to decode it there is a card, and for each different result one file of raw
pixels, named after the fingerprint and memory-mapped: however often and in whichever format the same images are read,
their pixels are stored once. A card belongs to files of a certain size and date, and is believed only if the
fingerprint agrees; otherwise the images are made anew and replace it.

    <cache>/decoded/<key>-<fingerprint>.card    everything but the pixels, as JSON after a line with its hash
    <cache>/decoded/<fingerprint>.u8            uint8 (N, 3, H, W)
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cifarlab.console import log, printable
from cifarlab.errors import MachineError, RunInUseError, cause
from cifarlab.files import TEMPORARY_PREFIX, lock, machine_errors, move, remove_unless_in_use, write_atomic
from cifarlab.images.images import Images
from cifarlab.language import tr, translatable

FORMAT = [2, *(field.name for field in fields(Images))]
"""Version of the files written here and the fields of Images that they keep; anything else is made anew.

With the fields, so that a new one cannot be forgotten here.
"""

KEY_LENGTH = 20
"""Hexadecimal digits of the hash of source, split and options, with which the names of files begin."""

Make = Callable[[Path | None], Images]
"""Reads and decodes. It may write the pixels to the file at this path on the way; None if nothing can be kept."""


def keep(
    source: Path,
    split: str,
    options: Sequence[str | int | bool | None],
    state: str,
    make: Make,
    cache_dir: Path | None,
) -> Images:
    """The images that `make` makes of a split of `source` with `options`, from the cache or made now and kept.

    state: changes when the files that are read do. The pixels may be memory-mapped, copy on write. If nothing can be
    written, a warning says so and nothing is kept. Raises what `make` raises.
    """
    if cache_dir is None:
        return make(None)
    folder, place = cache_dir / "decoded", os.path.realpath(source)
    # The key names what was asked for, and has the real path, so that a link and its target are one source; the state,
    # which is checked inside the card, says whether it is still valid. So an outdated entry is found and replaced
    # instead of staying in the cache for ever. surrogatepass: paths may be any bytes.
    key = hashlib.sha256(json.dumps([place, split, *options]).encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]
    if (images := _load(folder, key, state)) is not None:
        return images
    if (obstacle := _obstacle(folder)) is not None:
        text = tr("Decoded images cannot be kept in {folder} ({cause}): the next start decodes them again.")
        log.warning(text.format(folder=folder, cause=obstacle))
        return make(None)
    with lock(_lock_file(folder / key), wait=True):  # of several processes one decodes, and the others wait for it
        if (images := _load(folder, key, state)) is not None:  # another process was first
            return images
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*-{key}*"):  # of a process that was killed: we hold its lock
            remove_unless_in_use(leftover)
        scratch = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{key}.u8"
        try:
            return _make(make, scratch, key, {"source": place, "split": split, "state": state})
        finally:
            remove_unless_in_use(scratch)


def files_state(files: Iterable[Path]) -> str:
    """A text that changes when the name, size or date of one of the files does."""
    status = [(str(file), file.stat()) for file in files]
    return digest(f"{name}\0{each.st_size} {each.st_mtime_ns}" for name, each in status)


def digest(texts: Iterable[str]) -> str:
    """SHA-256 of several texts, as one short text."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode("utf-8", "surrogatepass") + b"\0")  # separated: ("ab", "c") is not ("a", "bc")
    return found.hexdigest()


# What is kept, for `cifarlab data cache`, which shows and removes it


@dataclass(frozen=True)
class Kept:
    """A decoded split in the cache."""

    card: Path
    source: str
    split: str
    num_images: int
    side: int
    pixels: Path
    size_bytes: int
    last_used: float
    """Seconds since 1970."""

    @property
    def days_unused(self) -> float:
        """Days since it was last read."""
        return (time.time() - self.last_used) / 86400

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def size_bytes(chosen: Iterable[Kept]) -> int:
    """Bytes that decoded splits take on disk; pixels that several of them share count once."""
    return sum({kept.pixels: kept.size_bytes for kept in chosen}.values())


def list_kept(cache_dir: Path) -> list[Kept]:
    """Everything that is kept, sorted by source and split."""
    found = []
    for file in (cache_dir / "decoded").glob("*-*.card"):
        pixels = _pixels_file(file)
        try:
            card, last_used = _read_card(file), file.stat().st_mtime
            num_images, _, side, _ = card["images"]["pixels"]
            what = printable(card["source"]), card["split"], num_images, side
        except FileNotFoundError:
            continue  # another process has just removed it
        except (OSError, ValueError, LookupError) as error:
            log.debug("%s cannot be read: %s", file, error)
            what, last_used = (translatable("(damaged)"), "", 0, 0), 0.0
        found.append(Kept(file, *what, pixels, pixels.stat().st_size if pixels.exists() else 0, last_used))
    return sorted(found, key=lambda kept: (kept.source, kept.split, kept.side))


def remove(cache_dir: Path, chosen: Iterable[Kept]) -> None:
    """Delete decoded splits, and what killed processes left; a process that has their pixels mapped keeps them.

    On Windows their file then stays, with a warning, until the next time. Raises MachineError where the disk fails.
    """
    folder = cache_dir / "decoded"
    with machine_errors(folder):
        for kept in chosen:
            kept.card.unlink(missing_ok=True)
            remove_unless_in_use(_lock_file(kept.card))
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
            key = leftover.name.removeprefix(TEMPORARY_PREFIX).partition("-")[2]
            try:
                with lock(_lock_file(folder / key), wait=False):  # if it can be had, nobody is writing this file
                    remove_unless_in_use(leftover)
            except RunInUseError:
                log.debug("%s is being written.", leftover)
    for file in _remove_unused(folder):
        log.warning(tr("{file} is in use. It goes when the cache is cleared after that.", file=file))


def _make(make: Make, scratch: Path, key: str, card: dict[str, str]) -> Images:
    """Make images and store them: the pixels, unless they are in `scratch` already, and the card."""
    images, folder = make(scratch), scratch.parent
    if not len(images):  # an empty file cannot be mapped
        return images
    facts, fingerprint = _facts(images), images.fingerprint
    in_memory = None if scratch.exists() else images
    del images  # and with it the map of scratch, if it has one: Windows moves no file that is mapped
    file = folder / f"{key}-{fingerprint}.card"
    try:
        if in_memory is not None:  # arrays and tables
            with machine_errors(folder):
                in_memory.pixels.tofile(scratch)
        outdated = set(folder.glob(f"{key}-*.card")) - {file}
        text = json.dumps({"format": FORMAT, **card, "images": facts})
        # the card first: pixels without one count as unused, and another process may be clearing up
        write_atomic(file, f"{digest([text])}\n{text}")
        with machine_errors(folder):
            move(scratch, _pixels_file(file))
            for path in outdated:
                path.unlink(missing_ok=True)
        _remove_unused(folder)
    except MachineError as error:
        # Windows does not replace equal pixels that another process has mapped: they will do
        if (found := _load(folder, key, card["state"])) is not None:
            return found
        problem = str(error).splitlines()[0]  # the training goes on all the same
        text = tr("Decoded images are not kept, so the next start decodes them again. {cause}", cause=problem)
        log.warning(text)
        return in_memory if in_memory is not None else _mapped(facts, scratch)
    return in_memory if in_memory is not None else _mapped(facts, _pixels_file(file), fingerprint)


def _facts(images: Images) -> dict[str, Any]:
    """Everything but the pixels, of which the shape, as JSON can hold it."""
    described = {field.name: getattr(images, field.name) for field in fields(images)}
    return described | {"pixels": images.pixels.shape, "labels": images.labels.tolist()}


def _mapped(facts: dict[str, Any], file: Path, fingerprint: str | None = None) -> Images:
    """Images from their facts and the file of their pixels; the fingerprint, where it is known, is not taken again."""
    # JSON has lists where Images has tuples
    rest: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
    shape, labels = rest.pop("pixels"), np.array(rest.pop("labels"), np.int64)
    # copy on write ("c") instead of read-only: torch warns of arrays that cannot be written
    images = Images(np.memmap(file, np.uint8, "c", shape=shape), labels, **rest)
    if fingerprint is not None:
        images.__dict__["fingerprint"] = fingerprint
    return images


def _load(folder: Path, key: str, state: str) -> Images | None:
    """Map what was made before; None if there is nothing, or nothing that can be believed."""
    for file in folder.glob(f"{key}-*.card"):
        try:
            card = _read_card(file)
            if card["format"] != FORMAT or card["state"] != state:
                continue
            images = _mapped(card["images"], _pixels_file(file))
            # all pixels are read for this: a disk that flips a bit would otherwise change a result silently
            if images.fingerprint == file.stem.partition("-")[2]:
                try:
                    os.utime(file)  # the date of last use
                except OSError as error:  # somebody else's cache, which is read all the same
                    log.debug("Cannot mark %s as used: %s", file, error)
                return images
            problem = tr("the fingerprint is wrong")
        except FileNotFoundError:
            continue  # another process is about to put its pixels there, or has just removed them
        except (OSError, ValueError) as error:
            problem = cause(error)
        log.warning(
            tr("The decoded images in {file} are damaged ({cause}): making them anew.", file=file, cause=problem)
        )
    return None


def _read_card(file: Path) -> dict[str, Any]:
    """The content of a card; raises ValueError if it is damaged."""
    # the fingerprint covers pixels, labels and class names, and this hash the rest: notes, warnings, names of files
    check, _, text = file.read_text("utf-8").partition("\n")
    if check != digest([text]):
        raise ValueError(tr("its hash is wrong"))
    card: dict[str, Any] = json.loads(text)
    return card


def _pixels_file(card: Path) -> Path:
    return card.with_name(f"{card.stem.partition('-')[2]}.u8")


def _lock_file(file: Path) -> Path:
    """The lock of the split and options whose key a file's name begins with."""
    return file.with_name(f"{file.name[:KEY_LENGTH]}.lock")


def _remove_unused(folder: Path) -> list[Path]:
    """Delete pixels that no card names; returns those that stay because a process on Windows has them mapped."""
    used = {_pixels_file(card) for card in folder.glob("*-*.card")}
    with machine_errors(folder):
        unused = [file for file in folder.glob("*.u8") if file not in used]
        return [file for file in unused if not (file.name.startswith(TEMPORARY_PREFIX) or remove_unless_in_use(file))]


def _obstacle(folder: Path) -> str | None:
    """Why nothing can be written in a folder; None if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # by trying: permissions say nothing of a read-only mount
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return cause(error).lower()
