"""Early stopping and the choice of the best epoch, on hand-made histories."""

from __future__ import annotations

import pytest

from cifarlab.recipe.schema import StoppingSpec
from cifarlab.training.stopping import Best, Stopping


def epochs_until_over(spec: StoppingSpec, losses: list[float], accuracies: list[float]) -> int | None:
    stopping = Stopping(spec)
    for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1):
        stopping.update(loss, accuracy)
        if stopping.is_over:
            return epoch
    return None


LOSSES = [1.0, 0.8, 0.79, 0.9, 0.9, 0.9]
ACCURACIES = [0.5, 0.4, 0.4, 0.6, 0.6, 0.6]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (StoppingSpec(patience=0), None),
        (StoppingSpec(patience=2), 5),
        (StoppingSpec(patience=2, min_delta=0.05), 4),
        (StoppingSpec(patience=2, metric="val/accuracy"), 3),
        (StoppingSpec(patience=3, metric="val/accuracy"), None),
    ],
)
def test_stops_after_patience_validations_without_improvement(spec, expected):
    assert epochs_until_over(spec, LOSSES, ACCURACIES) == expected


def test_state_continues_the_count():
    first = Stopping(StoppingSpec(patience=3))
    first.update(1.0, 0.5)
    first.update(2.0, 0.5)
    second = Stopping(first.spec)
    second.load(first.state())
    assert second == first


@pytest.mark.parametrize(
    ("accuracy", "loss", "better"),
    [(0.6, 9.0, True), (0.5, 0.9, True), (0.5, 1.0, False), (0.5, 1.1, False), (0.4, 0.1, False)],
)
def test_best_is_the_highest_accuracy_then_the_lowest_loss(accuracy, loss, better):
    best = Best(accuracy=0.5, loss=1.0, epoch=1, step=10)
    assert Best(accuracy, loss, 2, 20).beats(best) is better
    assert best.beats(None)
