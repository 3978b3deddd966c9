"""Which images are hard."""

from __future__ import annotations

import pytest
import torch

from cifarlab.training.hard_examples import HardExamples

CPU = torch.device("cpu")


def test_the_highest_last_losses_and_unseen_images_are_drawn():
    hard = HardExamples(6, 0.5, 1, CPU)
    assert hard.drawn.tolist() == [0, 1, 2, 3, 4, 5]
    hard.record(torch.tensor([0, 1, 2, 3, 4]), torch.tensor([9.0, 1.0, 5.0, 4.0, 0.5]))
    hard.record(torch.tensor([0]), torch.tensor([0.1]))
    hard.choose()
    assert hard.drawn.tolist() == [2, 3, 5]  # 5 was never seen, 0 has become easy


def test_of_equals_the_earlier_ones_are_drawn():
    hard = HardExamples(5, 0.4, 1, CPU)
    hard.record(torch.arange(5), torch.ones(5))
    hard.choose()
    assert hard.drawn.tolist() == [0, 1]


@pytest.mark.parametrize(("share", "at_least", "expected"), [(0.3, 1, 3), (0.25, 1, 3), (0.1, 4, 4), (0.1, 99, 10)])
def test_the_share_is_rounded_up_and_at_least_a_batch(share, at_least, expected):
    assert HardExamples(10, share, at_least, CPU).num_drawn == expected
