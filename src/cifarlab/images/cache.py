"""Decoded images kept on disk, so that only the first start pays for unpacking.

A folder holds the raw pixels, which are memory-mapped, and a card with everything else. It is whole or
absent, belongs to files of a certain size and date, and is believed only when its fingerprint agrees;
otherwise it is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifarlab.console import log
from cifarlab.errors import MachineError
from cifarlab.files import atomic_folder, lock
from cifarlab.images.images import Images

FORMAT = 1
PIXELS, CARD = "pixels.u8", "card.json"


def keep_decoded(
    files: Sequence[Path],
    options: Sequence[str | int | bool | None],
    read: Callable[[], Images],
    cache_dir: Path,
) -> Images:
    """What `read` makes of `files` with `options`: from the cache when it is there, else made and kept.

    The pixels may be memory-mapped, copy on write. A cache folder that cannot be written is noted, and
    nothing is kept.
    """
    names = [str(file.resolve()) for file in files]
    state = [[file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = hashlib.sha256(json.dumps([FORMAT, names, list(options)]).encode()).hexdigest()[:24]
    folder = cache_dir / "decoded" / key
    images = _load(folder, state)
    if images is not None:
        return images
    try:
        with lock(folder.with_suffix(".lock"), wait=True):
            images = _load(folder, state)  # another process may have made it while this one waited
            if images is None:
                images = read()
                _store(folder, images, state)
    except MachineError as error:
        log.info("Decoded images are not kept for the next start: %s", str(error).splitlines()[0])
    return read() if images is None else images


def _store(folder: Path, images: Images, state: list[list[int]]) -> None:
    card = {
        "state": state,
        "shape": list(images.pixels.shape),
        "labels": images.labels.tolist(),
        "class_names": list(images.class_names),
        "original": images.original,
        "note": images.note,
        "skipped": list(images.skipped),
        "fingerprint": images.fingerprint,
    }
    with atomic_folder(folder) as temporary:
        images.pixels.tofile(temporary / PIXELS)
        (temporary / CARD).write_text(json.dumps(card), "utf-8")


def _load(folder: Path, state: list[list[int]]) -> Images | None:
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        if card["state"] != state:
            return None
        images = _from_card(folder, card)
        if images.fingerprint == card["fingerprint"]:
            return images
        problem = "its fingerprint is wrong"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    log.warning("The decoded images in %s are damaged (%s); making them anew.", folder, problem)
    return None


def _from_card(folder: Path, card: dict[str, Any]) -> Images:
    num_images, channels, height, width = card["shape"]
    if channels != 3 or len(card["labels"]) != num_images:
        raise ValueError("labels and pixels do not belong together")
    # Copy on write rather than read-only: a tensor made from it may be written to.
    pixels = np.memmap(folder / PIXELS, np.uint8, "c", shape=(num_images, 3, height, width))
    return Images(
        pixels,
        np.array(card["labels"], np.int64),
        tuple(card["class_names"]),
        card["original"],
        card["note"],
        tuple(card["skipped"]),
    )
