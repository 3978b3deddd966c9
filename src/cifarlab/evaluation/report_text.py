"""An Evaluation as text for people and as CSV for tables."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from rich.cells import cell_len

from cifarlab.console import count, ends, printable
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.metrics import ClassMetrics
from cifarlab.evaluation.statistics import Interval
from cifarlab.images.sentences import split_name
from cifarlab.language import listed, tr

# A spreadsheet takes a cell that begins with one of these for a formula, and class names come from anybody's data.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

COLUMNS_OF_INTERVALS = ("recall low", "recall high", "precision low", "precision high", "f1-score low", "f1-score high")


def summary(evaluation: Evaluation) -> str:
    """Return what `cifarlab evaluate` prints: accuracy with its interval, per-class table, most confused pairs."""
    lines = [f"{_left(label, 20)}{value}" for label, value in _facts(evaluation)]
    if evaluation.original is False:
        lines += ["", tr("The pixels are not the original ones: published numbers cannot be compared with these.")]
    return "\n".join([*lines, "", *_class_table(evaluation), *_confusions(evaluation)])


def classification_text(evaluation: Evaluation) -> str:
    """Return the scores in the layout of scikit-learn's classification report; a class without images has dashes."""

    def line(name: str, *cells: object) -> str:
        return f"{name:>{width}} " + "".join(f"{cell!s:>10}" for cell in cells)

    width = max(len("weighted avg"), *(len(printable(name)) for name in evaluation.class_names))
    total = evaluation.num_images
    classes = [
        line(printable(each.class_name), *map(_digits, (each.precision, each.recall, each.f1)), each.support)
        for each in evaluation.per_class
    ]
    averages = [line(name, *map(_digits, scores), total) for name, scores in _averages(evaluation).items()]
    head = line("", "precision", "recall", "f1-score", "support")
    accuracy = line("accuracy", "", "", _digits(evaluation.accuracy), total)
    return "\n".join([head, "", *classes, "", accuracy, *averages, ""])


def classification_csv(evaluation: Evaluation) -> str:
    """Return the table with all digits and 95 % intervals; a class without images has empty cells."""
    overall, balanced = evaluation.accuracy_interval, evaluation.balanced_interval
    averages, total, none = _averages(evaluation), evaluation.num_images, ("", "")
    classes = [
        [
            *(_cell(one.class_name), one.precision, one.recall, one.f1, one.support),
            *(one.recall_interval or none),
            *(one.precision_interval or none),
            *(one.f1_interval or none),
        ]
        for one in evaluation.per_class
    ]
    return _csv(
        [
            ["class", "precision", "recall", "f1-score", "support", *COLUMNS_OF_INTERVALS],
            *classes,
            ["accuracy", "", "", evaluation.accuracy, total, *overall, *none, *none],
            ["macro avg", *averages["macro avg"], total, *balanced, *none, *none],
            # The recall weighted by images is the accuracy, so it has that interval.
            ["weighted avg", *averages["weighted avg"], total, *overall, *none, *none],
        ]
    )


def _averages(evaluation: Evaluation) -> dict[str, list[float]]:
    """Average precision, recall and F1 over the classes that have images: unweighted, and weighted by their images."""
    scored = [each for each in evaluation.per_class if each.support]
    scores = np.array([(each.precision, each.recall, each.f1) for each in scored], np.float64)
    weights = np.array([each.support for each in scored]) / evaluation.num_images
    return {"macro avg": list(scores.mean(axis=0)), "weighted avg": list(weights @ scores)}


def confusion_csv(evaluation: Evaluation, *, normalised: bool) -> str:
    """Return the confusion matrix, row = label, column = prediction: counts, or fractions of each row with images."""
    names = [_cell(name) for name in evaluation.class_names]
    rows: list[Any] = [["label / prediction", *names]]
    for name, counts in zip(names, evaluation.confusion_matrix, strict=True):
        total = sum(counts)
        shares = [count / total if total else "" for count in counts]
        rows.append([name, *(shares if normalised else counts)])
    return _csv(rows)


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    facts = [
        (tr("split"), listed([split_name(evaluation.split), count(evaluation.num_images, "image")])),
        (tr("accuracy"), _percent(evaluation.accuracy, evaluation.accuracy_interval)),
    ]
    if evaluation.is_unbalanced:  # otherwise balanced accuracy says the same as accuracy
        balanced = _percent(evaluation.balanced_accuracy, evaluation.balanced_interval)
        share = tr(
            "{share} of the images are {name}",
            share=_share(evaluation.majority_share),
            name=printable(evaluation.largest_class),
        )
        facts += [(tr("balanced accuracy"), balanced), (tr("largest class"), share)]
    if len(evaluation.class_names) > 5:  # with fewer, top-5 accuracy is always 1
        facts.append((tr("top-5 accuracy"), _percent(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        views = tr("with {tta}", tta=evaluation.tta)
        facts.append((views, _percent(evaluation.tta_accuracy, evaluation.tta_interval)))
    # A stored evaluation may say 0 seconds.
    speed = evaluation.num_images / max(evaluation.seconds, 1e-9)
    return [
        *facts,
        (tr("loss"), f"{evaluation.loss:.4f}"),
        (tr("calibration error"), _share(evaluation.calibration_error)),
        (tr("time"), listed([tr("{n:.1f} s", n=evaluation.seconds), tr("{n:,.0f} images/s", n=speed)])),
    ]


def shown_classes(evaluation: Evaluation, *, by_f1: bool = False) -> tuple[list[ClassMetrics], str]:
    """Return the classes that a summary has room for, and a text that says which, empty if they are all of them.

    All classes keep their own order; otherwise the best and the worst by recall (or F1) are chosen, best first.
    """

    def score(each: ClassMetrics) -> float:
        return (each.f1 if by_f1 else each.recall) or 0.0

    scored = [each for each in evaluation.per_class if each.support]
    best, worst = ends(sorted(scored, key=score, reverse=True))
    numbers = {"best": len(best), "worst": len(worst), "n": len(scored), "all": len(evaluation.per_class)}
    if worst and len(scored) == len(evaluation.per_class):
        return [*best, *worst], tr("the {best} best and the {worst} worst of {n:,} classes").format(**numbers)
    if worst:
        text = tr("the {best} best and the {worst} worst of {n:,} classes that have images")
        return [*best, *worst], text.format(**numbers)
    if ends(evaluation.per_class)[1]:
        return list(best), tr("the {n} of {all:,} classes that have images").format(**numbers)
    return list(evaluation.per_class), ""


def _class_table(evaluation: Evaluation) -> list[str]:
    shown, text = shown_classes(evaluation)
    names = [printable(each.class_name) for each in shown]
    width = max(cell_len(name) for name in [tr("class"), *names]) + 2

    def line(name: str, precision: str, recall: str, interval: str, f1: str, images: str) -> str:
        scores = f"{_right(precision, 10)}{_right(recall, 10)}  {_left(interval, 18)}{_right(f1, 10)}"
        return f"{_left(name, width)}{scores}{_right(images, 10)}"

    rows = [
        line(
            name,
            _share(each.precision),
            _share(each.recall),
            _range(each.recall_interval),
            _share(each.f1),
            f"{each.support:,}",
        )
        for name, each in zip(names, shown, strict=True)
    ]
    head = line(tr("class"), tr("precision"), tr("recall"), tr("95 % interval"), "F1", tr("images"))
    return [head, *rows, *([tr("{which}; all are in the CSV.", which=text)] if text else [])]


def _confusions(evaluation: Evaluation) -> list[str]:
    if not evaluation.most_confused:
        return []
    pairs = [(printable(each.label), printable(each.prediction)) for each in evaluation.most_confused]
    texts = [tr("{label} predicted as {prediction}", label=label, prediction=other) for label, other in pairs]
    width = max(map(cell_len, texts)) + 2
    rows = [
        f"{_left(text, width)}{each.count:>8,}"
        + tr("{percent:>8.2f} % of {label}", percent=100 * each.share, label=label)
        for text, (label, _), each in zip(texts, pairs, evaluation.most_confused, strict=True)
    ]
    return ["", tr("most confused"), *rows]


def _left(text: str, width: int) -> str:
    """A text in so many columns of the terminal, where letters of some scripts take two."""
    return text + " " * (width - cell_len(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _digits(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def _share(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.2f} %"


def _range(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return tr("{low} to {high}", low=f"{100 * interval.low:.2f}", high=f"{100 * interval.high:.2f}")


def _percent(share: float, interval: Interval) -> str:
    return tr(
        "{accuracy}  (95 % interval {low:.2f} to {high:.2f})",
        accuracy=_share(share),
        low=100 * interval.low,
        high=100 * interval.high,
    )


def _cell(text: str) -> str:
    # An apostrophe in front makes a spreadsheet show the cell as text.
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv(rows: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
