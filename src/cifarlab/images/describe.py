"""What is in a data set: counts, constants, fingerprints, and images that occur twice."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import some
from cifarlab.images.images import Images

ORIGINAL = {
    True: "the published ones",
    False: "re-encoded: compare accuracies only with others measured on the same pixels",
    None: "nothing published to compare with",
}
"""Images.original in words."""


@dataclass(frozen=True)
class Duplicates:
    """Images that are equal in every pixel.

    within: split -> how many images repeat an earlier one. across: (split, other split) -> int64 (K, 2), for
    every image of the other split that is also in the first: its index there, its own index.
    differently_labelled: how many of `across` have two labels.
    """

    within: dict[str, int]
    across: dict[tuple[str, str], NDArray[np.int64]]
    differently_labelled: dict[tuple[str, str], int]


def find_duplicates(images: Mapping[str, Images]) -> Duplicates:
    """Compare all images of all splits by a hash of their pixels (BLAKE2b, 16 bytes)."""
    hashes = {split: [_hash(image) for image in each.pixels] for split, each in images.items()}
    first = {split: {key: i for i, key in reversed(list(enumerate(keys)))} for split, keys in hashes.items()}
    across, differing = {}, {}
    for a, b in itertools.combinations(images, 2):
        pairs = [(first[a][key], index) for index, key in enumerate(hashes[b]) if key in first[a]]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        across[a, b] = found
        differing[a, b] = int((images[a].labels[found[:, 0]] != images[b].labels[found[:, 1]]).sum())
    within = {split: len(keys) - len(first[split]) for split, keys in hashes.items()}
    return Duplicates(within, across, differing)


def describe(images: Mapping[str, Images]) -> dict[str, Any]:
    """Describe the splits of a data set as values for JSON; `warnings` names what a user should know."""
    duplicates = find_duplicates(images)
    any_split = next(iter(images.values()))
    return {
        "class_names": list(any_split.class_names),
        "splits": {split: _describe_split(each) for split, each in images.items()},
        "duplicates_within": duplicates.within,
        "duplicates_across": {
            f"{a}/{b}": {
                "num_images": len(pairs),
                "num_differently_labelled": duplicates.differently_labelled[a, b],
                "indices": pairs.tolist(),
            }
            for (a, b), pairs in duplicates.across.items()
        },
        "warnings": _warnings(images, duplicates),
    }


def to_text(name: str, card: Mapping[str, Any]) -> str:
    """Lay a description out for reading."""
    splits: dict[str, dict[str, Any]] = card["splits"]
    lines = [f"{name}: {len(card['class_names'])} classes", ""]
    summary = [["split", "images", "size", "mean (R, G, B)", "std (R, G, B)", "fingerprint"]]
    for split, each in splits.items():
        size = "x".join(map(str, reversed(each["image_size"])))
        constants = [_rgb(each["mean"]), _rgb(each["std"]), each["fingerprint"][:16]]
        summary.append([split, f"{each['num_images']:,}", size, *constants])
    lines += _table(summary)
    counts = {split: each["counts"] for split, each in splits.items()}
    rows = [[shown] + [f"{counts[split][shown]:,}" for split in splits] for shown in card["class_names"]]
    lines += ["", *_table([["class", *splits], *rows])]
    lines += ["", *(f"{split} pixels: {ORIGINAL[each['original']]}" for split, each in splits.items())]
    lines += [f"{split} images: {each['note']}" for split, each in splits.items() if each["note"]]
    lines += ["duplicates within: " + ", ".join(f"{s} {n:,}" for s, n in card["duplicates_within"].items())]
    across = [f"{pair} {each['num_images']:,}" for pair, each in card["duplicates_across"].items()]
    lines += ["duplicates across: " + ", ".join(across)] if across else []
    return "\n".join(lines)


def _describe_split(images: Images) -> dict[str, Any]:
    mean, std = images.mean_and_std()
    counts = dict(zip(images.class_names, images.counts.tolist(), strict=True))
    return {
        "num_images": len(images),
        "counts": counts,
        "image_size": list(images.size),
        "mean": list(mean),
        "std": list(std),
        "fingerprint": images.fingerprint,
        "original": images.original,
        "note": images.note,
        "skipped": list(images.skipped),
    }


def _warnings(images: Mapping[str, Images], duplicates: Duplicates) -> list[str]:
    found = list(next(iter(images.values())).warnings)  # of train, as the other splits would say the same again
    for (a, b), pairs in duplicates.across.items():
        if len(pairs):
            differing = duplicates.differently_labelled[a, b]
            found.append(
                f"{len(pairs):,} of {len(images[b]):,} {b} images are also in {a}"
                + (f", {differing:,} of them with another label." if differing else ".")
            )
    for split, each in images.items():
        empty = [name for name, count in zip(each.class_names, each.counts, strict=True) if count == 0]
        if empty:
            found.append(f"{len(empty)} classes have no {split} image: {some(empty)}.")
        if each.skipped:
            found.append(f"{len(each.skipped):,} {split} images cannot be read: {some(each.skipped, 3)}.")
    return found


def _hash(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _rgb(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _table(rows: list[list[str]]) -> list[str]:
    """Align columns: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [all(cell.replace(",", "").isdecimal() for cell in column[1:]) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
