"""The run compared with humans who labelled the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifarlab.console import count
from cifarlab.drawing.page import Cell, Section, Tile, gallery, heading, paragraph, table
from cifarlab.drawing.wording import percent
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.evaluation.examples import Examples
from cifarlab.evaluation.humans import UNSURE, Group, HumanComparison, compare_with_humans, load_counts
from cifarlab.pages.report.material import Result

SHOWN = 24
"""Images where the network and humans differ most."""


def people(result: Result | None, path: Path) -> Section:
    """How many mistakes humans share, the cross-entropy against their labels, and where both differ most.

    path: human labels of the test images, counts (N, C) as .npy (Peterson et al., 2019: CIFAR-10H).
    Raises UsageError when the test split was not evaluated, CheckpointError when its predictions are damaged and
    DataError when the labels are not about these images.
    """
    if result is None or result.evaluation.split != "test":
        raise UsageError("Human labels are about test images, and this run was not evaluated on the test split.")
    if result.predictions is None:
        raise CheckpointError("Human labels are compared with the predictions of the test split, which are damaged.")
    predicted, evaluation = result.predictions, result.evaluation
    counts = load_counts(path, predicted.labels, len(evaluation.class_names))
    found = compare_with_humans(counts, predicted.logits, predicted.labels, evaluation.temperature)

    mistakes = found.mistakes
    # the share of all images stands beside that of the mistakes: only a difference says that both find the same hard
    shared = (
        f"Of {count(mistakes.num_images, 'mistake')}, {mistakes.num_disputed:,} ({percent(_disputed(mistakes))}) are "
        f"on images that humans disagree about, which means that at least {percent(UNSURE, 0)} of their labels differ "
        f"from that of the data set. Of all images, {percent(_disputed(found.everything))} are like that. "
        f"At least one human made the same mistake in {count(found.num_shared_mistakes, 'case')}."
    )
    groups = [("all", found.everything), ("correct", found.hits), ("mistakes", mistakes)]
    rows: list[list[Cell]] = [
        [name, group.num_images, percent(group.human_accuracy), group.num_disputed, percent(_disputed(group))]
        for name, group in groups
    ]
    # humans disagree, so even a perfect model of them has a cross-entropy above 0: their own entropy
    entropies = (
        f"Cross-entropy against the human labels: {found.raw_cross_entropy:.3f} nats, {found.cross_entropy:.3f} after "
        f"temperature scaling. The lowest possible value is the entropy of the human labels, {found.uncertainty:.3f}."
    )
    body = paragraph(shared if mistakes.num_images else "The network made no mistakes.")
    body += table(["images", "number", "human accuracy", "disputed", "share disputed"], rows) + paragraph(entropies)
    if result.examples is not None:  # the page has no data set to take other images from
        body += heading("Where the network and humans differ most")
        body += paragraph("By the Kullback-Leibler divergence, among the images that are stored with the run.")
        body += gallery(_tiles(found, result, result.examples))
    return Section("Compared with humans", body, f"Human labels of the same images, from {path.name}.")


def _disputed(group: Group) -> float:
    return group.num_disputed / max(group.num_images, 1)


def _tiles(found: HumanComparison, result: Result, shown: Examples) -> list[Tile]:
    """The images with the largest divergence, each with the prediction and the two most frequent human labels."""
    tiles, names = [], result.evaluation.class_names
    # stable, so that images with equal divergence come in the same order in every report
    for place in np.argsort(-found.divergences[shown.indices], kind="stable")[:SHOWN]:
        shares = found.shares[shown.indices[place]]
        labels = [f"{names[each]} {percent(shares[each], 0)}" for each in np.argsort(-shares)[:2] if shares[each] > 0]
        caption = f"{names[shown.predictions[place]]} {percent(float(shown.confidences[place]), 0)}"
        detail, file = f"humans: {', '.join(labels)}", result.name_of(int(shown.indices[place]))
        tiles.append(Tile(shown.png[place], caption, detail, bool(shown.right[place]), file))
    return tiles
