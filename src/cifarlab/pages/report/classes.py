"""Which classes are recognised, and which are confused."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.console import count
from cifarlab.drawing.charts.description import Bar, BarChart, Figure, Matrix
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Cell, Section, gallery, heading, paragraph, side_by_side, table
from cifarlab.drawing.wording import percent, with_ends
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.metrics import ClassMetrics, Confusion
from cifarlab.evaluation.report_text import shown_classes
from cifarlab.evaluation.statistics import wilson
from cifarlab.language import in_a_row, tr
from cifarlab.pages.report.cells import explorer
from cifarlab.pages.report.material import Result
from cifarlab.pages.report.pictures import tiles

SHOWN_PAIRS = 6
"""Pairs of classes with example images, the most confused first."""


def confusion(result: Result) -> Section:
    """The confusion matrix with the images behind its cells, and the most confused pairs with some of their images."""
    evaluation = result.evaluation
    matrix = Matrix.of(evaluation)
    pairs = [_pair(result, each) for each in evaluation.most_confused[:SHOWN_PAIRS]]
    body = explorer(result, to_svg(matrix), _most_confused(evaluation))
    body += heading(tr("Images of the most confused pairs")) + side_by_side(*pairs) if pairs else Markup()
    note = tr(
        "Each cell: how many images of the row's class were predicted as the column's, and the percentage of the row."
    )
    return Section(tr("Confusion matrix"), body, note, figures=[Figure("confusion_matrix", [matrix])])


def _most_confused(evaluation: Evaluation) -> Markup:
    if not evaluation.most_confused:
        return paragraph(tr("There are no mistakes."))
    support = {each.class_name: each.support for each in evaluation.per_class}
    rows: list[list[Cell]] = [
        [pair.label, pair.prediction, pair.count, with_ends(pair.share, wilson(pair.count, support[pair.label]))]
        for pair in evaluation.most_confused
    ]
    head = [tr("label"), tr("predicted as"), tr("images"), tr("of the class (95 % interval)")]
    return heading(tr("Most confused pairs")) + table(head, rows)


def by_f1(evaluation: Evaluation) -> tuple[list[ClassMetrics], str]:
    """The classes, best F1 first and those without images last; of many only some, and a text that says which."""
    shown, which = shown_classes(evaluation, by_f1=True)
    return sorted(shown, key=lambda each: (each.f1 is None, -(each.f1 or 0.0))), which


def per_class(evaluation: Evaluation) -> Section:
    """Precision, recall and F1 of every class with their intervals, as a sorted chart and as a table."""
    scores, which = by_f1(evaluation)
    chart = BarChart(
        tr("F1, precision and recall"), tr("score"), [_bar(each) for each in scores], value_name="F1",
        interval_name=tr("95 % interval of F1"), dot_names=(tr("precision"), tr("recall")), limits=(0, 1),
    )  # fmt: skip
    head = [tr("class"), tr("precision"), tr("recall"), "F1", tr("images")]
    numbers = table(head, [_cells(each) for each in scores])
    note = tr(
        "Precision: the share of a class's predictions that are correct. Recall: the share of its images that are "
        "recognised. F1: their harmonic mean, with a line for its interval; best class first. Parentheses hold 95 % "
        "intervals."
    )
    if which:
        file = f"evaluation-{evaluation.split}.csv"
        note = in_a_row([note, tr("Shown are {which}; all are in {file}.", which=which, file=file)])
    return Section(
        tr("Per-class results"), side_by_side(to_svg(chart), numbers), note, figures=[Figure("per_class", [chart])]
    )


def _bar(each: ClassMetrics) -> Bar:
    # a class that is never predicted has no precision, which is not the same as a precision of 0
    dots = [score for score in (each.precision, each.recall) if score is not None]
    return Bar(each.class_name, each.f1, each.f1_interval, dots, count(each.support, "image"))


def _cells(each: ClassMetrics) -> list[Cell]:
    scores = (
        (each.precision, each.precision_interval),
        (each.recall, each.recall_interval),
        (each.f1, each.f1_interval),
    )
    shown = [None if score is None else with_ends(score, interval) for score, interval in scores]
    return [each.class_name, *shown, each.support]


def _pair(result: Result, pair: Confusion) -> Markup:
    """One confusion in words, with the images that show it best."""
    names, shown = result.evaluation.class_names, result.examples
    images, share = count(pair.count, "image"), percent(pair.share)
    text = tr(
        "{label} predicted as {prediction}: {images}, {share} of {label}",
        label=pair.label,
        prediction=pair.prediction,
        images=images,
        share=share,
    )
    parts = [paragraph(text)]
    if shown is not None:
        places = shown.confused(names.index(pair.label), names.index(pair.prediction))
        # of large images fewer are stored, so a pair may have none
        parts += [gallery(tiles(result, shown, places, plain=True), columns=4)] if len(places) else []
    return Markup("<div>{}</div>").format(Markup().join(parts))
