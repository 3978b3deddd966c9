"""An Evaluation as text for people and as CSV for tables."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from sklearn.metrics import classification_report

from cifarlab.console import printable
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.statistics import Interval

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be computed by a spreadsheet."""


def summary(evaluation: Evaluation) -> str:
    """What `cifarlab evaluate` prints: accuracy with its interval, per-class table, most confused pairs."""
    lines = [f"{label:<20}{value}" for label, value in _facts(evaluation)]
    if evaluation.original is False:
        lines += ["", "The pixels are not the original ones: published numbers are no comparison."]
    return "\n".join([*lines, "", *_class_table(evaluation), *_confusions(evaluation)])


def classification_text(evaluation: Evaluation) -> str:
    """scikit-learn's classification report, as text."""
    matrix = np.array(evaluation.confusion_matrix)
    classes = np.arange(len(matrix))
    report = classification_report(  # it asks for labels and predictions: the matrix holds them, but for their order
        np.repeat(np.repeat(classes, len(matrix)), matrix.ravel()),
        np.repeat(np.tile(classes, len(matrix)), matrix.ravel()),
        labels=classes,
        target_names=list(evaluation.class_names),
        digits=4,
        zero_division=0,
    )
    return str(report)


def classification_csv(evaluation: Evaluation) -> str:
    """The same table with all digits: class, precision, recall, f1-score, support."""
    scores = np.array([(each.precision, each.recall, each.f1) for each in evaluation.per_class])
    support = np.array([each.support for each in evaluation.per_class])
    total = evaluation.num_images
    return _csv(
        [
            ["class", "precision", "recall", "f1-score", "support"],
            *(
                [_cell(each.class_name), each.precision, each.recall, each.f1, each.support]
                for each in evaluation.per_class
            ),
            ["accuracy", "", "", evaluation.accuracy, total],
            ["macro avg", *scores.mean(axis=0).tolist(), total],
            ["weighted avg", *(support @ scores / total).tolist(), total],
        ]
    )


def confusion_csv(evaluation: Evaluation, *, normalised: bool) -> str:
    """The confusion matrix, row = label, column = prediction: counts, or fractions of the row."""
    matrix = np.array(evaluation.confusion_matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    values = (shares if normalised else matrix).tolist()
    names = [_cell(name) for name in evaluation.class_names]
    rows = [["label / prediction", *names], *([name, *row] for name, row in zip(names, values, strict=True))]
    return _csv(rows)


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    facts = [
        ("split", f"{evaluation.split}, {evaluation.num_images:,} images"),
        ("accuracy", _percent(evaluation.accuracy, evaluation.accuracy_interval)),
    ]
    if len(evaluation.class_names) > 5:
        facts.append(("top-5 accuracy", _percent(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        facts.append((f"with {evaluation.tta}", _percent(evaluation.tta_accuracy, evaluation.tta_interval)))
    speed = evaluation.num_images / max(evaluation.seconds, 1e-9)
    return [
        *facts,
        ("loss", f"{evaluation.loss:.4f}"),
        ("calibration error", f"{100 * evaluation.calibration_error:.2f} %"),
        ("time", f"{evaluation.seconds:.1f} s, {speed:,.0f} images/s"),
    ]


def _class_table(evaluation: Evaluation) -> list[str]:
    names = [printable(name) for name in evaluation.class_names]
    width = max(len(name) for name in ["class", *names]) + 2
    rows = [
        f"{name:<{width}}{100 * each.precision:>8.2f} %{100 * each.recall:>8.2f} %"
        f"{100 * each.f1:>8.2f} %{each.support:>10,}"
        for name, each in zip(names, evaluation.per_class, strict=True)
    ]
    return [f"{'class':<{width}}{'precision':>10}{'recall':>10}{'F1':>10}{'images':>10}", *rows]


def _confusions(evaluation: Evaluation) -> list[str]:
    if not evaluation.most_confused:
        return []
    texts = [printable(f"{each.label} taken for {each.prediction}") for each in evaluation.most_confused]
    width = max(len(text) for text in texts) + 2
    rows = [
        f"{text:<{width}}{each.count:>8,}{100 * each.share:>8.2f} % of {printable(each.label)}"
        for text, each in zip(texts, evaluation.most_confused, strict=True)
    ]
    return ["", "most confused", *rows]


def _percent(share: float, interval: Interval) -> str:
    return f"{100 * share:.2f} %  (95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f})"


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv(rows: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
