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
from cifarlab.language import listed, tr
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
        raise UsageError(tr("Human labels are about test images, and this run was not evaluated on the test split."))
    if result.predictions is None:
        raise CheckpointError(
            tr("Human labels are compared with the predictions of the test split, which are damaged.")
        )
    predicted, evaluation = result.predictions, result.evaluation
    counts = load_counts(path, predicted.labels, len(evaluation.class_names))
    found = compare_with_humans(counts, predicted.logits, predicted.labels, evaluation.temperature)

    mistakes = found.mistakes
    # the share of all images stands beside that of the mistakes: only a difference says that both find the same hard
    shared = tr(
        "Of {mistakes}, {disputed:,} ({share}) are on images that humans disagree about, which means that at least "
        "{unsure} of their labels differ from that of the data set. Of all images, {share_of_all} are like that. At "
        "least one human made the same mistake in {cases}.",
        mistakes=count(mistakes.num_images, "mistake"),
        disputed=mistakes.num_disputed,
        share=percent(_disputed(mistakes)),
        unsure=percent(UNSURE, 0),
        share_of_all=percent(_disputed(found.everything)),
        cases=count(found.num_shared_mistakes, "case"),
    )
    groups = [(tr("all"), found.everything), (tr("correct"), found.hits), (tr("mistakes"), mistakes)]
    rows: list[list[Cell]] = [
        [name, group.num_images, percent(group.human_accuracy), group.num_disputed, percent(_disputed(group))]
        for name, group in groups
    ]
    # humans disagree, so even a perfect model of them has a cross-entropy above 0: their own entropy
    entropies = tr(
        "Cross-entropy against the human labels: {raw:.3f} nats, {scaled:.3f} after temperature scaling. The lowest "
        "possible value is the entropy of the human labels, {entropy:.3f}.",
        raw=found.raw_cross_entropy,
        scaled=found.cross_entropy,
        entropy=found.uncertainty,
    )
    body = paragraph(shared if mistakes.num_images else tr("The network made no mistakes."))
    head = [tr("images"), tr("number"), tr("human accuracy"), tr("disputed"), tr("share disputed")]
    body += table(head, rows) + paragraph(entropies)
    if result.examples is not None:  # the page has no data set to take other images from
        body += heading(tr("Where the network and humans differ most"))
        body += paragraph(tr("By the Kullback-Leibler divergence, among the images that are stored with the run."))
        body += gallery(_tiles(found, result, result.examples))
    note = tr("Human labels of the same images, from {file}.", file=path.name)
    return Section(tr("Compared with humans"), body, note)


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
        detail, file = tr("humans: {labels}", labels=listed(labels)), result.name_of(int(shown.indices[place]))
        tiles.append(Tile(shown.png[place], caption, detail, bool(shown.right[place]), file))
    return tiles
