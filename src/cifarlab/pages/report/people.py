"""The run beside people who named the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup

from cifarlab.drawing.page import Cell, Section, Tile, gallery, heading, paragraph, table
from cifarlab.drawing.wording import count, percent
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.evaluation.examples import Examples
from cifarlab.evaluation.humans import UNSURE, Group, HumanComparison, compare_with_humans, load_counts
from cifarlab.pages.report.material import Result

SHOWN = 24
"""Images where the network and people differ most."""


def people(result: Result | None, path: Path) -> Section:
    """How many mistakes people share, cross-entropy against their answers, and where both differ most.

    Raises UsageError when the test split was not judged, CheckpointError when its predictions are damaged and
    DataError when the answers do not belong to it.
    """
    if result is None or result.evaluation.split != "test":
        raise UsageError("Human answers are about test images, and this run was not judged on test.")
    if result.predictions is None:
        raise CheckpointError("Human answers are compared with the predictions of the test split, which are damaged.")
    said, evaluation = result.predictions, result.evaluation
    counts = load_counts(path, said.labels, len(evaluation.class_names))
    found = compare_with_humans(counts, said.logits, said.labels, evaluation.temperature)
    body = paragraph(_mistakes_in_words(found)) + _groups(found) + paragraph(_entropies_in_words(found))
    if result.examples is not None:
        body += heading("Where the network and people differ most")
        body += paragraph("By the divergence of probabilities from answers, among the images kept with the run.")
        body += gallery(_tiles(found, result.examples, evaluation.class_names))
    return Section("Beside people", body, f"Answers of people to the same images, from {path.name}.")


def _mistakes_in_words(found: HumanComparison) -> str:
    mistakes = found.mistakes
    if not mistakes.num_images:
        return "The network made no mistakes."
    disputed = f"{mistakes.num_disputed:,} ({percent(_disputed(mistakes))})"
    of_all = f"{percent(_disputed(found.everything))} of all images"
    return (
        f"Of {count(mistakes.num_images, 'mistake')}, {disputed} are on images that people disagree about, where "
        f"{percent(UNSURE, 0)} of the answers or more differ from the label; so are {of_all}. "
        f"{found.num_shared_mistakes:,} mistakes were made by at least one person too, in the same way."
    )


def _entropies_in_words(found: HumanComparison) -> str:
    return (
        f"Cross-entropy against the answers: {found.raw_cross_entropy:.3f} nats, after temperature "
        f"{found.cross_entropy:.3f}. The lowest that is possible is people's own uncertainty, {found.uncertainty:.3f}."
    )


def _groups(found: HumanComparison) -> Markup:
    groups = [("all", found.everything), ("hits", found.hits), ("mistakes", found.mistakes)]
    rows: list[list[Cell]] = [
        [name, group.num_images, percent(group.human_accuracy), group.num_disputed, percent(_disputed(group))]
        for name, group in groups
    ]
    return table(["images", "number", "answers that are the label", "disputed", "share disputed"], rows)


def _disputed(group: Group) -> float:
    return group.num_disputed / max(group.num_images, 1)


def _tiles(found: HumanComparison, shown: Examples, names: tuple[str, ...]) -> list[Tile]:
    order = np.argsort(-found.divergences[shown.indices], kind="stable")[:SHOWN]
    return [_tile(found, shown, int(place), names) for place in order]


def _tile(found: HumanComparison, shown: Examples, place: int, names: tuple[str, ...]) -> Tile:
    shares = found.shares[shown.indices[place]]
    answers = [
        f"{names[each]} {percent(float(shares[each]), 0)}" for each in np.argsort(-shares)[:2] if shares[each] > 0
    ]
    caption = f"{names[shown.predictions[place]]} {percent(float(shown.confidences[place]), 0)}"
    return Tile(shown.png[place], caption, f"people: {', '.join(answers)}", bool(shown.right[place]))
