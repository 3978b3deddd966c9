from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import classification_report

from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.evaluation.metrics import f1_interval
from cifarlab.evaluation.report_text import (
    classification_csv,
    classification_text,
    confusion_csv,
    shown_classes,
    summary,
)
from cifarlab.evaluation.statistics import wilson
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
    names = ["cat", "dog", "a longer name than most"]
    wanted = classification_report(LABELS, PREDICTIONS, target_names=names, digits=4, zero_division=0)
    assert classification_text(judged(tuple(names))) == wanted


def test_n17_a_class_without_images_has_dashes_and_counts_in_no_average() -> None:
    with_all, lines = classification_text(judged(("cat", "dog", "owl"))), classification_text(judged()).splitlines()
    assert lines[5].split() == ["yak", "–", "–", "–", "0"]
    assert [*lines[:5], *lines[6:]] == with_all.splitlines()


def test_n17_every_prediction_right_gives_averages_of_one_although_a_class_has_no_images() -> None:
    data = Images(np.zeros((4, 3, 4, 4), np.uint8), np.array([0, 0, 2, 2]), ("a", "b", "c"))
    found, _ = evaluate(lambda pixels: np.eye(3, dtype=np.float32)[data.labels], data, split="test")
    macro = [line for line in classification_text(found).splitlines() if "macro" in line]
    assert macro[0].split() == ["macro", "avg", "1.0000", "1.0000", "1.0000", "4"]
    assert [float(value) for value in rows(classification_csv(found))[5][1:4]] == [1, 1, 1]
    assert found.balanced_accuracy == 1.0 and " 0.00 %" not in summary(found)
    assert ["b", "–", "–", "–", "0"] in [line.split() for line in summary(found).splitlines()]


def test_csv_holds_every_class_and_the_averages() -> None:
    table = rows(classification_csv(judged()))
    ends = [f"{score} {end}" for score in ("recall", "precision", "f1-score") for end in ("low", "high")]
    assert table[0] == ["class", "precision", "recall", "f1-score", "support", *ends]
    assert [row[0] for row in table[1:]] == ["cat", "dog", "owl", "yak", "accuracy", "macro avg", "weighted avg"]
    intervals = (*wilson(2, 3), *wilson(2, 2), *f1_interval(2, 2, 3))
    assert [float(value) for value in table[1][1:]] == pytest.approx([1, 2 / 3, 0.8, 3, *intervals])
    assert table[4] == ["yak", "", "", "", "0", *[""] * 6]
    assert [float(value) for value in table[5][3:7]] == pytest.approx([4 / 6, 6, *wilson(4, 6)])
    assert {len(row) for row in table} == {11}
    report = classification_report(LABELS, PREDICTIONS, output_dict=True, zero_division=0)
    for row in table[6:]:
        scores = [report[row[0]][name] for name in ("precision", "recall", "f1-score", "support")]
        assert [float(value) for value in row[1:5]] == pytest.approx(scores)


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
    assert shares[4][1:] == ["", "", "", ""]  # there are no images to take shares of


def test_s37_names_that_a_spreadsheet_would_compute_are_quoted() -> None:
    found = judged(("=cmd()", "+1", "-2", "@x"))
    assert [row[0] for row in rows(classification_csv(found))[1:5]] == ["'=cmd()", "'+1", "'-2", "'@x"]
    assert rows(confusion_csv(found, normalised=False))[0][1:] == ["'=cmd()", "'+1", "'-2", "'@x"]


def test_classes_may_be_called_like_the_averages() -> None:
    table = rows(classification_csv(judged(("accuracy", "macro avg", "owl", "yak"))))
    assert [float(value) for value in table[1][1:5]] == pytest.approx([1, 2 / 3, 0.8, 3])
    assert len(table) == 8


def test_summary_says_what_a_reader_needs() -> None:
    text = summary(judged())
    assert "test, 6 images" in text
    assert "66.67 %  (95 % interval 30.00 to 90.32)" in text
    assert "dog predicted as owl" in text and "50.00 % of dog" in text
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


def counted(support: dict[str, int], right: dict[str, int] | None = None) -> Evaluation:
    """An evaluation of so many images of each class; `right` says how many are right where that is not all of them."""
    names = tuple(support)
    labels = np.repeat(np.arange(len(names)), list(support.values()))
    predictions = labels.copy()
    for index, name in enumerate(names):
        wrong = np.flatnonzero(labels == index)[(right or support).get(name, support[name]) :]
        predictions[wrong] = (index + 1) % len(names)
    data = Images(np.zeros((len(labels), 3, 2, 2), np.uint8), labels.astype(np.int64), names)
    return evaluate(lambda pixels: np.eye(len(names), dtype=np.float32)[predictions], data, split="test")[0]


def test_n17_unequal_classes_show_the_balanced_accuracy_and_the_share_of_the_largest() -> None:
    found = counted({"ok": 30, "defect": 10, "none": 0}, {"ok": 30, "defect": 5})
    assert found.is_unbalanced and found.balanced_accuracy == 0.75 and found.majority_share == 0.75
    text = summary(found)
    assert "balanced accuracy   75.00 %  (95 % interval" in text
    assert "largest class       75.00 % of the images are ok" in text
    equal = counted({"ok": 29, "defect": 10, "none": 0})
    assert not equal.is_unbalanced and "balanced" not in summary(equal)


def test_n39_every_class_has_its_interval() -> None:
    lines = summary(counted({"ok": 30, "defect": 10}, {"ok": 24, "defect": 5})).splitlines()
    low, high = (f"{100 * end:.2f}" for end in wilson(24, 30))
    assert any(line.startswith("ok ") and f"80.00 %  {low} to {high}" in line for line in lines)


def test_n24_of_many_classes_the_best_and_the_worst_are_shown() -> None:
    support = {f"class{number:03}": 2 for number in range(100)}
    found = counted(support, {f"class{number:03}": number // 34 for number in range(100)})
    shown, which = shown_classes(found)
    assert [each.recall for each in shown] == [1.0] * 20 + [0.0] * 20
    assert which == "the 20 best and the 20 worst of 100 classes" and which in summary(found)
    assert sum(line.startswith("class") and "predicted as" not in line for line in summary(found).splitlines()) == 41
    assert shown_classes(counted(dict(list(support.items())[:40])))[1] == ""
    few = {f"class{number:03}": int(number % 5 == 0) for number in range(100)}
    assert [each.support for each in shown_classes(counted(few))[0]] == [1] * 20
    assert shown_classes(counted(few))[1] == "the 20 of 100 classes that have images"
