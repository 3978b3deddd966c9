"""Classifier and people on four images whose numbers can be worked out by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import DataError
from cifarlab.evaluation.humans import compare_with_humans, load_counts

LABELS = np.array([0, 0, 1, 1])
COUNTS = np.array([[10, 0], [9, 1], [5, 5], [1, 9]], dtype=np.float64)
LOG3 = math.log(3)
LOGITS = np.array([[LOG3, 0], [0, LOG3], [LOG3, 0], [0, 0]], np.float32)
"""Probabilities 3/4 and 1/4, but for the last image, whose equal ones go to the first class."""


def test_mistakes_are_set_beside_those_of_people() -> None:
    found = compare_with_humans(COUNTS, LOGITS, LABELS)
    assert (found.everything.num_images, found.hits.num_images, found.mistakes.num_images) == (4, 1, 3)
    assert (found.everything.num_disputed, found.hits.num_disputed, found.mistakes.num_disputed) == (3, 0, 3)
    assert found.everything.human_accuracy == pytest.approx((1 + 0.9 + 0.5 + 0.9) / 4)
    assert found.hits.human_accuracy == 1
    assert found.num_shared_mistakes == 3


def test_a_mistake_that_nobody_else_made_is_not_shared() -> None:
    found = compare_with_humans(np.array([[10.0, 0]]), np.array([[0, 1.0]]), np.array([0]))
    assert (found.mistakes.num_images, found.num_shared_mistakes, found.mistakes.num_disputed) == (1, 0, 0)


def test_cross_entropy_and_its_lower_bound() -> None:
    found = compare_with_humans(COUNTS, LOGITS, LABELS)
    high, low, even = -math.log(0.75), -math.log(0.25), -math.log(0.5)
    losses = [high, 0.9 * low + 0.1 * high, 0.5 * (high + low), even]
    entropies = [0, -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)), even, -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))]
    assert found.cross_entropy == pytest.approx(np.mean(losses))
    assert found.uncertainty == pytest.approx(np.mean(entropies))
    np.testing.assert_allclose(found.divergences, np.subtract(losses, entropies), atol=1e-12)


def test_temperature_changes_probabilities_only() -> None:
    found = compare_with_humans(COUNTS, LOGITS, LABELS, temperature=1e9)
    assert found.cross_entropy == pytest.approx(math.log(2))
    assert found.raw_cross_entropy == compare_with_humans(COUNTS, LOGITS, LABELS).cross_entropy
    assert found.mistakes.num_images == 3


def test_a_classifier_that_predicts_as_people_do_diverges_from_them_nowhere() -> None:
    shares = np.array([[0.7, 0.3], [0.2, 0.8]])
    found = compare_with_humans(shares * 50, np.log(shares), np.array([0, 1]))
    np.testing.assert_allclose(found.divergences, 0, atol=1e-12)
    assert found.cross_entropy == pytest.approx(found.uncertainty)


def test_a_probability_of_nothing_is_no_infinity() -> None:
    found = compare_with_humans(np.array([[0, 5.0]]), np.array([[1e6, 0]]), np.array([1]))
    assert math.isfinite(found.cross_entropy) and found.cross_entropy > 700


def save(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_counts_are_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(load_counts(save(tmp_path / "h.npy", COUNTS.astype(np.int64)), LABELS, 2), COUNTS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (COUNTS[:3], r"\(3, 2\)"),
        (COUNTS.astype(complex), "complex"),
        (COUNTS - 1, "not negative"),
        (COUNTS * [[1], [1], [1], [0]], "at least one label"),
        (COUNTS * [[1], [1], [1], [np.nan]], "finite"),
        (COUNTS[:, ::-1], "other images"),
        (np.array(["a"]), "needs numbers"),
    ],
)
def test_labels_of_something_else_are_refused(tmp_path: Path, values: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        load_counts(save(tmp_path / "h.npy", values), LABELS, 2)
    assert "h.npy" in str(caught.value)


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=COUNTS)
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("content", [None, b"", b"text", npz(), pickled(), b"\x93NUMPY\x01\x00"])
def test_k02_other_files_are_refused_and_nothing_is_unpickled(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "h.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"h\.npy"):
        load_counts(path, LABELS, 2)
