"""Warnings about images as sentences, in the language that is spoken when they are read.

A warning that is stored keeps the facts that its sentence is made of, beside the sentence in English: whoever opens the
run reads it in a language of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import validate_call

from cifarlab.console import count, printable
from cifarlab.images.retold import retold, retold_reason
from cifarlab.language import listed, ntr, tr

Place = str | tuple[str, int]
"""An image: its name, printable, or, where images have no names, its split and its row there."""


def said(stored: Mapping[str, Any]) -> str:
    """Say a warning as it was stored: anew from its facts, or, without facts that fit, in the words stored with it."""
    sentence = SENTENCES.get(stored["kind"])
    try:  # checked, since anybody may have edited the file
        text: str = stored["text"] if sentence is None else validate_call(sentence)(**stored["facts"])
    except (KeyError, TypeError, ValueError):  # older versions stored no facts; pydantic raises a ValueError
        text = stored["text"]
    return text


def split_word(split: str) -> str:
    """A split as it stands before a noun: "validation" images."""
    return {"train": tr("training"), "val": tr("validation"), "test": tr("test")}.get(split, split)


def split_name(split: str) -> str:
    """The short name of a split as people read it: "val"."""
    return {"train": tr("train"), "val": tr("val"), "test": tr("test")}.get(split, split)


def one_class(name: str) -> str:
    """The training images have one label."""
    return tr("All training images are of one class, {name}: there is nothing to tell apart.", name=printable(name))


def two_labels(num: int, images: list[list[tuple[Place, str]]]) -> str:
    """Some images have several labels; images: the first of them, each as places with their labels."""
    groups = [" = ".join(_with_note(_place(place), label) for place, label in group) for group in images]
    return ntr(
        "{n:,} image has more than one label: {images}.",
        "{n:,} images have more than one label: {images}.",
        num,
        n=num,
        images=_first(groups, num),
    )


def look_alike(names: tuple[str, str], smaller: str, shared: int, num: int) -> str:
    """Two classes share so many images that they may be one; num: distinct images of the smaller."""
    return tr(
        "The classes {a} and {b} share {shared:,} of the {n:,} distinct images of {smaller}: they may be one class "
        "under two names.",
        a=printable(names[0]),
        b=printable(names[1]),
        shared=shared,
        n=num,
        smaller=printable(smaller),
    )


def copies_across(num: int, differing: int, of: int, splits: tuple[str, str], images: list[tuple[Place, Place]]) -> str:
    """Images of the first split are in the second too, some with other labels; images: the first of them."""
    pairs = [f"{_place(one)} = {_place(other)}" for one, other in images]
    if differing:
        text = ntr(
            "{n:,} of {images} is also in {split}, {differing:,} of them with another label: {names}.",
            "{n:,} of {images} are also in {split}, {differing:,} of them with another label: {names}.",
            num,
        )
    else:
        text = ntr(
            "{n:,} of {images} is also in {split}: {names}.", "{n:,} of {images} are also in {split}: {names}.", num
        )
    images_of_split = _count(of, splits[0])
    return text.format(
        n=num, images=images_of_split, split=split_name(splits[1]), differing=differing, names=_first(pairs, num)
    )


def copies_within(num: int, of: int, split: str) -> str:
    """Images of a split are copies of others."""
    return ntr(
        "{n:,} of {images} is a copy of another: the interval of an accuracy on them is too narrow.",
        "{n:,} of {images} are copies of others: the interval of an accuracy on them is too narrow.",
        num,
        n=num,
        images=_count(of, split),
    )


def small_classes(num: int, of: int, fewest: int, classes: list[tuple[str, int]]) -> str:
    """Classes have fewer than `fewest` training images; classes: the first of them, with their images."""
    return ntr(
        "{n:,} of {classes} has fewer than {fewest} training images, too few to learn from: {names}.",
        "{n:,} of {classes} have fewer than {fewest} training images, too few to learn from: {names}.",
        num,
        n=num,
        classes=count(of, "class", "classes"),
        fewest=fewest,
        names=_first([_with_note(printable(name), str(images)) for name, images in classes], num),
    )


def imbalance(largest: tuple[str, int], smallest: tuple[str, int], share: float, weighted: bool) -> str:
    """One class has many more images than another; share: of all images, in the largest."""
    text = (
        tr(
            "{largest} has {images}, {smallest} {fewest:,}: always predicting {largest} would be right for {share}. "
            "Read the balanced accuracy beside the accuracy."
        )
        if weighted
        else tr(
            "{largest} has {images}, {smallest} {fewest:,}: always predicting {largest} would be right for {share}. "
            "Read the balanced accuracy beside the accuracy and consider training.class_weights = balanced."
        )
    )
    return text.format(
        largest=printable(largest[0]),
        images=count(largest[1], "training image"),
        smallest=printable(smallest[0]),
        fewest=smallest[1],
        share=f"{100 * share:.1f} %",
    )


def empty_classes(num: int, of: int, split: str, names: list[str]) -> str:
    """Classes have no image in a split; names: the first of them."""
    return ntr(
        "{n:,} of {classes} has no {split} image: {names}.",
        "{n:,} of {classes} have no {split} image: {names}.",
        num,
        n=num,
        classes=count(of, "class", "classes"),
        split=split_word(split),
        names=_first([printable(name) for name in names], num),
    )


def small_validation(num: int, margin: float) -> str:
    """The epoch is chosen by few images; margin: of an accuracy on them, in points."""
    return tr(
        "The epoch is chosen by {images}, on which an accuracy is known to about ±{margin:.0f} points: which epoch is "
        "best is mostly chance.",
        images=count(num, "validation image"),
        margin=margin,
    )


def unreadable(num: int, split: str, reasons: list[str]) -> str:
    """Images cannot be read; reasons: the first of them with why."""
    told = _first([retold_reason(reason) for reason in reasons], num)
    return tr("{images} cannot be read: {reasons}.", images=_count(num, split), reasons=told)


def decoding(text: str) -> str:
    """Reading the images lost something."""
    return retold(text)


def flat_channels(values: dict[str, int]) -> str:
    """Some channels have one value throughout."""
    words = {
        "red": tr("the red channel is {value}"),
        "green": tr("the green channel is {value}"),
        "blue": tr("the blue channel is {value}"),
    }
    channels = [words.get(colour, colour).format(value=value) for colour, value in values.items()]
    return tr("In every pixel {channels}: nothing can be learnt from it.", channels=tr(" and ").join(channels))


def left_out(reasons: dict[str, tuple[int, list[str]]]) -> str:
    """Parts of the data set are not used; for each reason their number and the first names."""
    lines = [
        tr("{reason}: {n:,} ({names})", reason=tr(reason), n=num, names=_first(names, num))
        for reason, (num, names) in reasons.items()
    ]
    return tr("Left out: {items}.", items=tr("; ").join(lines))


SENTENCES: Mapping[str, Callable[..., str]] = {
    "one class": one_class,
    "two labels": two_labels,
    "look-alike classes": look_alike,
    "copies across splits": copies_across,
    "copies within a split": copies_within,
    "class without images": empty_classes,
    "small class": small_classes,
    "imbalance": imbalance,
    "small validation": small_validation,
    "unreadable": unreadable,
    "decoding": decoding,
    "flat channel": flat_channels,
    "left out": left_out,
}
"""The kinds of warnings, and the functions that say them; their arguments are the facts that are stored."""


def _place(place: Place) -> str:
    return place if isinstance(place, str) else tr("{split} row {n}", split=split_name(place[0]), n=place[1])


def _with_note(name: str, note: str) -> str:
    return tr("{name} ({note})", name=name, note=printable(note))


def _first(shown: Sequence[str], num: int) -> str:
    """The first of `num` items, and how many more there are."""
    rest, items = num - len(shown), listed(shown)
    return tr("{items} and {n} more", items=items, n=f"{rest:,}") if rest > 0 else items


def _count(number: int, split: str) -> str:
    match split:
        case "train":
            return count(number, "training image")
        case "val":
            return count(number, "validation image")
        case _:
            return count(number, "test image")
