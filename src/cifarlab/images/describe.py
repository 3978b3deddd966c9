"""Describe a data set: counts, mean and standard deviation, fingerprints, and what is questionable about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len

from cifarlab.console import ends
from cifarlab.images.images import Images
from cifarlab.images.quality import find_duplicates, inspect, left_out
from cifarlab.images.retold import retold
from cifarlab.images.source import Understanding, left_out_lines
from cifarlab.language import listed, ntr, tr, translatable

ORIGINAL = {
    True: translatable("{splits} pixels: the published ones"),
    False: translatable("{splits} pixels: re-encoded: compare accuracies only with others measured on the same pixels"),
}
"""Images.original in words. None is left out: most images were never published, which is not worth a line."""


def describe(images: Mapping[str, Images], understanding: Understanding | None = None) -> dict[str, Any]:
    """Describe the splits of a data set as a dictionary for JSON; `warnings` has what a user should know.

    understanding: how it was read, so that the warnings also name what was left out.
    """
    duplicates = find_duplicates(images)
    any_split, splits = next(iter(images.values())), {}
    for split, each in images.items():
        mean, std = each.mean_and_std()  # of each split: normalisation uses train's, and a shift would show here
        splits[split] = {
            "num_images": len(each),
            "counts": dict(zip(each.class_names, each.counts.tolist(), strict=True)),
            "image_size": list(each.size),
            "mean": list(mean),
            "std": list(std),
            "fingerprint": each.fingerprint,
            "original": each.original,
            "note": each.note,
            "skipped": list(each.skipped),
        }
    # what was left out comes first: it may be the reason for other warnings, such as a class without images
    warnings = [*(left_out(understanding) if understanding else ()), *inspect(images)]
    return {
        "class_names": list(any_split.class_names),
        "splits": splits,
        "duplicates_within": duplicates.within,
        # JSON has no tuples for keys
        "duplicates_across": {
            f"{a}/{b}": {
                "num_images": len(pairs),
                "num_differently_labelled": duplicates.differently_labelled[a, b],
                "indices": pairs.tolist(),
            }
            for (a, b), pairs in duplicates.across.items()
        },
        "warnings": [warning.to_dict() for warning in warnings],
        "understanding": understanding.to_dict() if understanding else None,
    }


def tree_text(name: str, understanding: Understanding) -> str:
    """Lay out how a data set is read: the rule, its classes and pictures by split, what is left out and why."""
    # of the formats that know them without decoding: a mistake shows before an hour of decoding
    counts = {split: each for split, each in understanding.counts.items() if each}
    lines = [f"{name}: {understanding.kind}, {' + '.join(understanding.splits)}"]
    lines += [retold(understanding.rule)] if understanding.rule else []
    lines += ["", *_classes(list(next(iter(counts.values()))), counts)] if counts else []
    unused = left_out_lines(understanding.left_out)
    lines += ["", tr("left out:"), *(f"  {line}" for line in unused)] if unused else []
    return "\n".join(lines)


def to_text(name: str, card: Mapping[str, Any]) -> str:
    """Lay a description out for reading."""
    num_classes = len(card["class_names"])
    header = ntr("{name}: {n:,} class", "{name}: {n:,} classes", num_classes, name=name, n=num_classes)
    counts = {split: each["counts"] for split, each in card["splits"].items()}
    return "\n".join([header, "", *_constants(card), "", *_classes(card["class_names"], counts), "", *_notes(card)])


def pixels_text(card: Mapping[str, Any]) -> str:
    """The part of a description that needs the pixels, to follow `tree_text`."""
    return "\n".join([*_constants(card), "", *_notes(card)])


def _constants(card: Mapping[str, Any]) -> list[str]:
    mean, std = tr("mean (R, G, B)"), tr("std (R, G, B)")
    rows = [[tr("split"), tr("images"), tr("size"), mean, std, tr("fingerprint")]]
    for split, each in card["splits"].items():
        size = "x".join(map(str, reversed(each["image_size"])))  # width first, as people write it
        constants = [_rgb(each["mean"]), _rgb(each["std"]), each["fingerprint"][:16]]
        rows.append([split, f"{each['num_images']:,}", size, *constants])
    return aligned(rows)


def _notes(card: Mapping[str, Any]) -> list[str]:
    """Where the pixels come from, and how many images are duplicates."""
    splits: dict[str, dict[str, Any]] = card["splits"]
    lines = []
    for original, text in ORIGINAL.items():
        alike = [split for split, each in splits.items() if each["original"] is original]
        lines += [tr(text, splits=listed(alike))] if alike else []
    notes = {split: each["note"] for split, each in splits.items() if each["note"]}
    lines += [tr("{split} images: {note}", split=split, note=retold(note)) for split, note in notes.items()]
    within = listed(f"{split} {number:,}" for split, number in card["duplicates_within"].items())
    lines.append(tr("duplicates within: {numbers}", numbers=within))
    if across := [f"{pair} {each['num_images']:,}" for pair, each in card["duplicates_across"].items()]:
        lines.append(tr("duplicates across: {numbers}", numbers=listed(across)))
    return lines


def _classes(class_names: list[str], counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Images per class and split, as a table; for many classes, only the largest and the smallest."""
    # a thousand classes would push everything else off the screen
    of_first = next(iter(counts.values()))
    largest, smallest = ends(sorted(class_names, key=lambda name: -of_first[name]))
    shown = class_names if not smallest else [*largest, *smallest]
    lines = aligned(
        [[tr("class"), *counts], *([name, *(f"{each[name]:,}" for each in counts.values())] for name in shown)]
    )
    if not smallest:
        return lines
    text = tr(
        "the {largest} largest and the {smallest} smallest of {n:,} classes",
        largest=len(largest),
        smallest=len(smallest),
        n=len(class_names),
    )
    return [*lines, text]


def _rgb(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def aligned(rows: list[list[str]]) -> list[str]:
    """Align columns: names to the left, numbers to the right."""
    # by the cells below the head: a column of numbers has a word for its title
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    right = [all(cell.replace(",", "").isdecimal() for cell in column[1:]) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            " " * (width - cell_len(cell)) + cell if number else cell + " " * (width - cell_len(cell))
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
