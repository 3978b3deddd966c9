from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import classification_report

from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.evaluation.report_text import (
    classification_csv,
    classification_text,
    confusion_csv,
    summary,
)
from cifarlab.images.images import Images

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 2, 2])


def judged(
    names: tuple[str, ...] = ("cat", "dog", "owl", "yak"), tta: str = "none", original: bool | None = None
) -> Evaluation:
    data = Images(np.zeros((6, 3, 4, 4), np.uint8), LABELS, names, original)
    logits = np.eye(len(names), dtype=np.float32)[PREDICTIONS]
    return evaluate(lambda pixels: logits, data, split="test", tta=tta)[0]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_report_is_that_of_scikit_learn() -> None:
    wanted = classification_report(
        LABELS,
        PREDICTIONS,
        labels=range(4),
        target_names=["cat", "dog", "owl", "yak"],
        digits=4,
        zero_division=0,
    )
    assert classification_text(judged()) == wanted


def test_csv_holds_every_class_and_the_averages() -> None:
    table = rows(classification_csv(judged()))
    assert table[0] == ["class", "precision", "recall", "f1-score", "support"]
    assert [row[0] for row in table[1:]] == ["cat", "dog", "owl", "yak", "accuracy", "macro avg", "weighted avg"]
    assert [float(value) for value in table[1][1:]] == pytest.approx([1, 2 / 3, 0.8, 3])
    assert [float(value) for value in table[5][3:]] == pytest.approx([4 / 6, 6])


def test_confusion_as_counts_and_shares() -> None:
    counts = rows(confusion_csv(judged(), normalised=False))
    assert counts[0][1:] == ["cat", "dog", "owl", "yak"]
    assert counts[1:] == [
        ["cat", "2", "1", "0", "0"],
        ["dog", "0", "1", "1", "0"],
        ["owl", "0", "0", "1", "0"],
        ["yak", "0", "0", "0", "0"],
    ]
    shares = rows(confusion_csv(judged(), normalised=True))
    assert [float(value) for value in shares[1][1:]] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert [float(value) for value in shares[4][1:]] == [0, 0, 0, 0]


def test_s37_names_that_a_spreadsheet_would_compute_are_quoted() -> None:
    found = judged(("=cmd()", "+1", "-2", "@x"))
    assert [row[0] for row in rows(classification_csv(found))[1:5]] == ["'=cmd()", "'+1", "'-2", "'@x"]
    assert rows(confusion_csv(found, normalised=False))[0][1:] == ["'=cmd()", "'+1", "'-2", "'@x"]


def test_classes_may_be_called_like_the_averages() -> None:
    table = rows(classification_csv(judged(("accuracy", "macro avg", "owl", "yak"))))
    assert [float(value) for value in table[1][1:]] == pytest.approx([1, 2 / 3, 0.8, 3])
    assert len(table) == 8


def test_summary_says_what_a_reader_needs() -> None:
    text = summary(judged())
    assert "test, 6 images" in text
    assert "66.67 %  (95 % interval 30.00 to 90.32)" in text
    assert "dog taken for owl" in text and "50.00 % of dog" in text
    assert "top-5" not in text  # four classes: it would say nothing
    assert "original" not in text


def test_summary_names_test_time_augmentation_and_altered_pixels() -> None:
    text = summary(judged(tta="mirror", original=False))
    assert "with mirror" in text
    assert "pixels are not the original ones" in text


def test_summary_of_many_classes_has_top_5() -> None:
    assert "top-5 accuracy" in summary(judged(tuple("abcdef")))


def test_summary_without_mistakes_lists_no_confusions() -> None:
    data = Images(np.zeros((2, 3, 2, 2), np.uint8), np.array([0, 1]), ("a", "b"))
    found, _ = evaluate(lambda pixels: np.eye(2, dtype=np.float32), data, split="val")
    assert "confused" not in summary(found)


def test_names_cannot_disturb_the_terminal() -> None:
    text = summary(judged(("a\x1b[2J", "b\nc", "d\u202ee", "e")))
    assert "\x1b" not in text and "b\nc" not in text and "\u202e" not in text
