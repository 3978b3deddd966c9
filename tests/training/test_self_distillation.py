"""What the network said as a part of the targets."""

from __future__ import annotations

import pytest
import torch

from cifarlab.training.self_distillation import OwnAnswers


def test_before_an_image_was_seen_its_target_is_the_label():
    answers = OwnAnswers(torch.tensor([2, 0, 1]), 3, 0.6)
    assert answers.targets(torch.tensor([0, 2]), 0.5).probabilities.tolist() == [[0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(("done", "share"), [(0.0, 0.0), (0.5, 0.3), (1.0, 0.6)])
def test_the_share_rises_evenly(done, share):
    answers = OwnAnswers(torch.tensor([0]), 2, 0.6)
    assert answers.targets(torch.tensor([0]), done).share == pytest.approx(share)


def test_then_it_is_the_last_answer_and_those_of_others_stay():
    answers = OwnAnswers(torch.tensor([0, 0, 0]), 2, 0.6)
    answers.note(torch.tensor([2, 0]), torch.tensor([[0.0, 0.0], [3.0, 3.0]], dtype=torch.bfloat16))
    answers.note(torch.tensor([2]), torch.log(torch.tensor([[0.2, 0.8]])))
    found = answers.targets(torch.tensor([0, 1, 2]), 1.0).probabilities
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.2, 0.8]]))
