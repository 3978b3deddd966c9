"""Only what was trained and judged on the same images can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from cifarlab.console import printable
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.recipe.toml import flatten
from cifarlab.studies.compare.entry import Entry, Member

_Identity = Callable[[Member], object]


def require_same_data(entries: Sequence[Entry]) -> None:
    """Refuse runs of different classes, test images, training or validation images; seeds of a group included.

    Raises UsageError with the reason; CheckpointError when predictions are not those of the evaluation beside them.
    """
    members = [member for entry in entries for member in entry.members]
    first = members[0]
    for other in members[1:]:
        for identity, refuse in _CHECKS:
            if identity(first) != identity(other):
                refuse(first, other)
        if not np.array_equal(first.predictions.labels, other.predictions.labels):
            raise CheckpointError(
                f"The labels in the predictions of {first.run.path} and {other.run.path} differ, though they were "
                f"judged on the same images.\nJudge both anew with: cifarlab evaluate RUN --split ..."
            )


def _refuse_classes(first: Member, other: Member) -> NoReturn:
    names = [member.evaluation.class_names for member in (first, other)]
    _refuse(first, other, "know different classes", " and ".join(_listed(each) for each in names))


def _refuse_judged(first: Member, other: Member) -> NoReturn:
    split = first.evaluation.split
    found = " and ".join(
        f"{member.evaluation.num_images:,} ({member.evaluation.fingerprint[:12]}...)" for member in (first, other)
    )
    _refuse(first, other, f"were judged on different {split} images", f"{found}{_cause(first, other)}")


def _refuse_training(first: Member, other: Member) -> NoReturn:
    found = " and ".join(
        f"{member.facts.data.num_train:,} ({str(member.facts.data.train_fingerprint)[:12]}...)"
        for member in (first, other)
    )
    _refuse(first, other, "were trained on different images", f"{found}{_cause(first, other)}")


def _refuse_validation(first: Member, other: Member) -> NoReturn:
    found = " and ".join(f"{member.facts.data.num_val:,}" for member in (first, other))
    _refuse(first, other, "were validated on different images", f"{found}{_cause(first, other)}")


_CHECKS: tuple[tuple[_Identity, Callable[[Member, Member], NoReturn]], ...] = (
    (lambda member: member.evaluation.class_names, _refuse_classes),
    (lambda member: member.evaluation.fingerprint, _refuse_judged),
    (lambda member: member.facts.data.train_fingerprint, _refuse_training),
    (lambda member: member.facts.data.val_fingerprint, _refuse_validation),
)


def _refuse(first: Member, other: Member, reason: str, found: str) -> NoReturn:
    raise UsageError(
        f"{first.run.path} and {other.run.path} {reason}, so their difference would say nothing.\n"
        f"Found: {found}.\nTrain both on the same images with the same [validation] to compare them."
    )


def _cause(first: Member, other: Member) -> str:
    """The values of the recipes that choose the images and differ."""
    mine, theirs = (flatten(member.recipe) for member in (first, other))
    keys = [key for key in {**mine, **theirs} if key.startswith(("data.", "validation."))]
    differing = [f"{key} = {mine.get(key)} and {theirs.get(key)}" for key in keys if mine.get(key) != theirs.get(key)]
    return f"; {', '.join(differing)}" if differing else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name)[:40] for name in names[:5])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > 5 else ''})"
