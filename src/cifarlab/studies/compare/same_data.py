"""Only runs that were trained and evaluated on the same images can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from cifarlab.console import count, printable
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.language import listed, tr
from cifarlab.recipe.toml import flatten
from cifarlab.studies.compare.entry import Entry, Member


def require_same_data(entries: Sequence[Entry]) -> None:
    """Refuse runs of different classes, test images, training or validation images; seeds of a group included.

    Raises UsageError with the reason; CheckpointError when predictions do not belong to their evaluation.
    """
    members = [member for entry in entries for member in entry.members]
    first = members[0]
    for other in members[1:]:
        both = (first, other)
        data = [member.facts.data for member in both]
        # The classes come first: data with other classes differs in everything else as well, and this says why.
        if first.evaluation.class_names != other.evaluation.class_names:
            named = [_class_text(member.evaluation.class_names) for member in both]
            _refuse(first, other, tr("{first} and {other} know different classes"), named)
        # McNemar's test pairs the predictions of two runs image by image
        if first.evaluation.fingerprint != other.evaluation.fingerprint:
            found = [_images_text(each.evaluation.num_images, each.evaluation.fingerprint) for each in both]
            reason = tr("{first} and {other} were evaluated on different {split} images")
            _refuse(first, other, reason, found)
        # more or other training images explain a difference as well as the recipes do
        if data[0].train_fingerprint != data[1].train_fingerprint:
            found = [_images_text(each.num_train, str(each.train_fingerprint)) for each in data]
            _refuse(first, other, tr("{first} and {other} were trained on different images"), found)
        # validation chose the epoch that is compared
        if data[0].val_fingerprint != data[1].val_fingerprint:
            found = [f"{each.num_val:,}" for each in data]
            _refuse(first, other, tr("{first} and {other} were validated on different images"), found)
        # the fingerprint is that of the evaluation; the predictions are another file and may have been replaced
        if not np.array_equal(first.predictions.labels, other.predictions.labels):
            raise CheckpointError(
                tr(
                    "The labels in the predictions of {first} and {other} differ, though they were evaluated on the "
                    "same images.\nEvaluate both again: {command}",
                    first=first.run.path,
                    other=other.run.path,
                    command="cifarlab evaluate RUN --split ...",
                )
            )


def _refuse(first: Member, other: Member, reason: str, found: Sequence[str]) -> NoReturn:
    message = (
        tr(
            "{reason}, so their difference would say nothing.\n"
            "Found: {found} and {other_found}; {settings}.\n"
            "Train both on the same images with the same [validation] to compare them."
        )
        if (settings := _differing_settings(first, other))
        else tr(
            "{reason}, so their difference would say nothing.\n"
            "Found: {found} and {other_found}.\n"
            "Train both on the same images with the same [validation] to compare them."
        )
    )
    reason = reason.format(first=first.run.path, other=other.run.path, split=tr(first.evaluation.split))
    raise UsageError(message.format(reason=reason, found=found[0], other_found=found[1], settings=settings))


def _differing_settings(first: Member, other: Member) -> str:
    """The settings that choose the images and are not the same in both recipes; empty when there are none."""
    mine, theirs = (flatten(member.recipe) for member in (first, other))
    keys = [key for key in {**mine, **theirs} if key.startswith(("data.", "validation."))]
    return listed(
        tr("{key} = {first} and {other}", key=key, first=mine.get(key), other=theirs.get(key))
        for key in keys
        if mine.get(key) != theirs.get(key)
    )


def _images_text(num_images: int, fingerprint: str) -> str:
    return f"{num_images:,} ({fingerprint[:12]}...)"


def _class_text(names: Sequence[str]) -> str:
    shown = listed([*(printable(name)[:40] for name in names[:5]), *(["..."] if len(names) > 5 else [])])
    return tr("{classes} ({names})", classes=count(len(names), "class", "classes"), names=shown)
