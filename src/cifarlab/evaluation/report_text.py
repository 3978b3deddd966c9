"""An Evaluation as text for people and as CSV for tables."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from cifarlab.console import count, ends, printable
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.metrics import ClassMetrics
from cifarlab.evaluation.statistics import Interval

# A spreadsheet takes a cell that begins with one of these for a formula, and class names come from anybody's data.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

COLUMNS_OF_INTERVALS = ("recall low", "recall high", "precision low", "precision high", "f1-score low", "f1-score high")


def summary(evaluation: Evaluation) -> str:
    """Return what `cifarlab evaluate` prints: accuracy with its interval, per-class table, most confused pairs."""
    lines = [f"{label:<20}{value}" for label, value in _facts(evaluation)]
    if evaluation.original is False:
        lines += ["", "The pixels are not the original ones: published numbers cannot be compared with these."]
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
        ("split", f"{evaluation.split}, {count(evaluation.num_images, 'image')}"),
        ("accuracy", _percent(evaluation.accuracy, evaluation.accuracy_interval)),
    ]
    if evaluation.is_unbalanced:  # otherwise balanced accuracy says the same as accuracy
        balanced = _percent(evaluation.balanced_accuracy, evaluation.balanced_interval)
        share = f"{100 * evaluation.majority_share:.2f} % of the images are {printable(evaluation.largest_class)}"
        facts += [("balanced accuracy", balanced), ("largest class", share)]
    if len(evaluation.class_names) > 5:  # with fewer, top-5 accuracy is always 1
        facts.append(("top-5 accuracy", _percent(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        facts.append((f"with {evaluation.tta}", _percent(evaluation.tta_accuracy, evaluation.tta_interval)))
    # A stored evaluation may say 0 seconds.
    speed = evaluation.num_images / max(evaluation.seconds, 1e-9)
    return [
        *facts,
        ("loss", f"{evaluation.loss:.4f}"),
        ("calibration error", f"{100 * evaluation.calibration_error:.2f} %"),
        ("time", f"{evaluation.seconds:.1f} s, {speed:,.0f} images/s"),
    ]


def shown_classes(evaluation: Evaluation, *, by_f1: bool = False) -> tuple[list[ClassMetrics], str]:
    """Return the classes that a summary has room for, and a text that says which, empty if they are all of them.

    All classes keep their own order; otherwise the best and the worst by recall (or F1) are chosen, best first.
    """

    def score(each: ClassMetrics) -> float:
        return (each.f1 if by_f1 else each.recall) or 0.0

    scored = [each for each in evaluation.per_class if each.support]
    best, worst = ends(sorted(scored, key=score, reverse=True))
    some = "classes" if len(scored) == len(evaluation.per_class) else "classes that have images"
    if worst:
        return [*best, *worst], f"the {len(best)} best and the {len(worst)} worst of {len(scored):,} {some}"
    if ends(evaluation.per_class)[1]:
        return list(best), f"the {len(scored)} of {len(evaluation.per_class):,} {some}"
    return list(evaluation.per_class), ""


def _class_table(evaluation: Evaluation) -> list[str]:
    shown, text = shown_classes(evaluation)
    names = [printable(each.class_name) for each in shown]
    width = max(len(name) for name in ["class", *names]) + 2
    rows = [
        f"{name:<{width}}{_share(each.precision):>10}{_share(each.recall):>10}  {_range(each.recall_interval):<18}"
        f"{_share(each.f1):>10}{each.support:>10,}"
        for name, each in zip(names, shown, strict=True)
    ]
    head = f"{'class':<{width}}{'precision':>10}{'recall':>10}  {'95 % interval':<18}{'F1':>10}{'images':>10}"
    return [head, *rows, *([f"{text}; all are in the CSV."] if text else [])]


def _confusions(evaluation: Evaluation) -> list[str]:
    if not evaluation.most_confused:
        return []
    texts = [printable(f"{each.label} predicted as {each.prediction}") for each in evaluation.most_confused]
    width = max(len(text) for text in texts) + 2
    rows = [
        f"{text:<{width}}{each.count:>8,}{100 * each.share:>8.2f} % of {printable(each.label)}"
        for text, each in zip(texts, evaluation.most_confused, strict=True)
    ]
    return ["", "most confused", *rows]


def _digits(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def _share(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.2f} %"


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"


def _percent(share: float, interval: Interval) -> str:
    return f"{100 * share:.2f} %  (95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f})"


def _cell(text: str) -> str:
    # An apostrophe in front makes a spreadsheet show the cell as text.
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _csv(rows: list[list[Any]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
