"""Against worked examples of the scikit-learn user guide (1.5, section 3.4), its functions, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from sklearn.metrics import confusion_matrix as reference_matrix

from cifarlab.evaluation import metrics
from cifarlab.evaluation.statistics import wilson


def one_hot_logits(predictions: list[int], num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[predictions]


def random_case(num_images: int = 400, num_classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, num_images)
    logits = random.normal(size=(num_images, num_classes)).astype(np.float32)
    logits[np.arange(num_images), labels] += 1
    return logits, labels


def test_confusion_matrix_of_the_user_guide() -> None:
    logits = one_hot_logits([0, 0, 2, 2, 0, 2], 3)
    matrix = metrics.confusion_matrix(logits, np.array([2, 0, 2, 2, 0, 1]))
    assert matrix.tolist() == [[2, 0, 0], [0, 0, 1], [1, 0, 2]]


def test_classification_report_of_the_user_guide() -> None:
    matrix = metrics.confusion_matrix(one_hot_logits([0, 0, 2, 1, 0], 3), np.array([0, 1, 2, 2, 0]))
    found = metrics.per_class(matrix, ("class 0", "class 1", "class 2"))
    rounded = [(round(c.precision, 2), round(c.recall, 2), round(c.f1, 2), c.support) for c in found]
    assert rounded == [(0.67, 1.0, 0.8, 2), (0.0, 0.0, 0.0, 1), (1.0, 0.5, 0.67, 2)]


def test_top_k_accuracy_of_the_user_guide() -> None:
    scores = np.array([[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.2, 0.4, 0.3], [0.7, 0.2, 0.1]])
    assert metrics.accuracy(scores, np.array([0, 1, 2, 2]), 2) == 0.75


def test_log_loss_of_the_user_guide() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.01, 0.99]])
    assert metrics.cross_entropy(np.log(probabilities), np.array([0, 0, 1, 1])) == pytest.approx(0.1738, abs=5e-5)


def test_agrees_with_scikit_learn() -> None:
    logits, labels = random_case()
    predictions = logits.argmax(axis=1)
    matrix = metrics.confusion_matrix(logits, labels)
    assert metrics.accuracy(logits, labels) == accuracy_score(labels, predictions)
    assert metrics.accuracy(logits, labels, 3) == top_k_accuracy_score(labels, logits, k=3)
    exact = np.exp(logits.astype(np.float64))
    assert metrics.cross_entropy(logits, labels) == pytest.approx(
        log_loss(labels, exact / exact.sum(axis=1, keepdims=True)), rel=1e-12
    )
    assert np.array_equal(matrix, reference_matrix(labels, predictions))
    found = [(c.precision, c.recall, c.f1, c.support) for c in metrics.per_class(matrix, tuple("abcdefg"))]
    wanted = zip(*precision_recall_fscore_support(labels, predictions), strict=True)
    np.testing.assert_allclose(found, list(wanted), rtol=1e-12)


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_top_k_is_a_stable_sort_even_among_ties(num_classes: int, num_images: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(0, 3, (num_images, num_classes)).astype(np.float32)
    labels = random.integers(0, num_classes, num_images)
    order = np.argsort(-logits, axis=1, kind="stable")
    for k in range(1, num_classes + 2):
        wanted = np.mean([label in row[:k] for label, row in zip(labels, order, strict=True)])
        assert metrics.accuracy(logits, labels, k) == wanted


def test_cross_entropy_of_equal_logits_is_the_log_of_the_number_of_classes() -> None:
    assert metrics.cross_entropy(np.full((5, 10), 3.0), np.zeros(5, np.int64)) == pytest.approx(math.log(10))


def test_cross_entropy_survives_huge_logits() -> None:
    assert metrics.cross_entropy(np.array([[0.0, 1e4]], np.float32), np.array([0])) == pytest.approx(1e4)


def test_most_confused_pairs_come_in_order_with_their_share_of_the_class() -> None:
    matrix = np.array([[6, 3, 1], [0, 0, 0], [5, 0, 15]])
    found = metrics.most_confused(matrix, ("cat", "dog", "owl"))
    assert [(c.label, c.prediction, c.count, c.share) for c in found] == [
        ("owl", "cat", 5, 0.25),
        ("cat", "dog", 3, 0.3),
        ("cat", "owl", 1, 0.1),
    ]
    assert len(metrics.most_confused(matrix, ("cat", "dog", "owl"), limit=2)) == 2


def test_one_class_and_one_image() -> None:
    logits, labels = np.array([[2.5]], np.float32), np.array([0])
    assert metrics.accuracy(logits, labels) == 1.0
    assert metrics.cross_entropy(logits, labels) == 0.0
    matrix = metrics.confusion_matrix(logits, labels)
    all_of_one = wilson(1, 1)
    (found,) = metrics.per_class(matrix, ("only",))
    assert (found.precision, found.recall, found.f1, found.support) == (1.0, 1.0, 1.0, 1)
    assert found.precision_interval == found.recall_interval == all_of_one and found.f1_interval.high == 1.0
    assert metrics.most_confused(matrix, ("only",)) == ()


def test_n17_a_class_without_images_has_no_scores_even_where_it_was_predicted() -> None:
    for predictions in ([0, 2], [1, 2]):
        matrix = metrics.confusion_matrix(one_hot_logits(predictions, 3), np.array([0, 2]))
        assert metrics.per_class(matrix, ("a", "b", "c"))[1] == metrics.ClassMetrics("b", None, None, None, 0)
    never_predicted = metrics.per_class(matrix, ("a", "b", "c"))[0]
    assert (never_predicted.precision, never_predicted.recall, never_predicted.f1) == (0.0, 0.0, 0.0)


def test_n17_balanced_accuracy_is_that_of_scikit_learn() -> None:
    logits, labels = random_case()
    labels[labels == 3] = 0  # a class without images
    matrix = metrics.confusion_matrix(logits, labels)
    with pytest.warns(UserWarning, match="not in y_true"):
        wanted = balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert metrics.balanced_accuracy(matrix)[0] == pytest.approx(wanted, rel=1e-12)


def test_n39_every_class_has_the_interval_of_its_own_images() -> None:
    matrix = np.array([[30, 10], [5, 5]])
    found = metrics.per_class(matrix, ("a", "b"))
    assert [each.recall_interval for each in found] == [wilson(30, 40), wilson(5, 10)]
    assert [each.precision_interval for each in found] == [wilson(30, 35), wilson(5, 15)]
    never_predicted = metrics.per_class(np.array([[0, 4], [0, 6]]), ("a", "b"))[0]
    assert never_predicted.precision_interval is None and never_predicted.f1_interval is not None


def test_the_interval_of_f1_holds_f1_and_has_its_ends_at_none_and_all() -> None:
    for right, predicted, support in ((30, 35, 40), (1, 1, 9), (0, 3, 5), (7, 7, 7)):
        low, high = metrics.f1_interval(right, predicted, support)
        assert low <= 2 * right / (predicted + support) <= high
        assert (low == 0) == (right == 0) and (high == 1) == (right == predicted == support)


def test_the_interval_of_f1_holds_the_true_one_in_95_of_100_splits() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.10, 0.03, 0.02, 0.85])  # right, only predicted, only labelled, neither
    true = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    hits = 0
    for right, wrong, missed, _ in random.multinomial(1000, shares, size=2000):
        low, high = metrics.f1_interval(int(right), int(right + wrong), int(right + missed))
        hits += low <= true <= high
    assert 0.935 <= hits / 2000 <= 0.965


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, np.int64)),
        (np.zeros((2, 3)), np.zeros(3, np.int64)),
        (np.zeros(3), np.zeros(3, np.int64)),
        (np.zeros((1, 3)), np.array([3])),
        (np.zeros((1, 3)), np.array([-1])),
    ],
)
def test_what_is_no_labelled_split_is_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    for judge in (metrics.accuracy, metrics.cross_entropy, metrics.confusion_matrix):
        with pytest.raises(ValueError, match=r"labels|images"):
            judge(logits, labels)
