"""Which accuracies may be called better than guessing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.statistics import wilson


def test_n38_the_share_of_the_most_frequent_class_is_what_guessing_gets() -> None:
    found = guessing(0.92, {"rare": 10, "often": 90}, "test")
    assert found == (
        "No better than guessing, as far as 100 test images show: 92.0 % are right (95 % interval 85.0 to 95.9), "
        "and always naming often gets 90.0 %."
    )
    assert guessing(0.92, {"cat": 50, "dog": 50}, "test") is None


def test_n38_names_from_files_cannot_disturb_a_terminal() -> None:
    assert "always naming a\\x1b[31m gets" in str(guessing(0.5, {"a\x1b[31m": 5, "b": 5}, "val"))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5).filter(any), st.floats(0, 1))
def test_n38_it_is_said_exactly_where_the_interval_reaches_down_to_chance(counts: list[int], share: float) -> None:
    num_images = sum(counts)
    num_correct = round(share * num_images)
    named = {str(number): count for number, count in enumerate(counts)}
    reaches = wilson(num_correct, num_images).low <= max(counts) / num_images
    assert (guessing(num_correct / num_images, named, "val") is not None) == reaches


@pytest.mark.parametrize("num_images", [1, 100])
def test_n38_with_one_class_every_prediction_is_a_guess(num_images: int) -> None:
    assert guessing(1.0, {"cat": num_images}, "test") is not None
