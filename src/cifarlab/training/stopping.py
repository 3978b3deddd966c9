"""When to stop, and which epoch to keep."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from cifarlab.recipe.schema import StoppingSpec


@dataclass(frozen=True)
class Best:
    """The best validation so far: the one with the highest accuracy or, among equals, the lowest loss."""

    accuracy: float
    loss: float
    epoch: int
    step: int

    def beats(self, other: Best | None) -> bool:
        """Whether this validation is better than the best one before it."""
        if not math.isfinite(self.loss):
            return False  # its accuracy means nothing: argmax makes a class of NaN, too
        # small validation splits often give equal accuracies, and the loss tells such epochs apart
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


@dataclass
class Stopping:
    """Counts validations without an improvement of more than min_delta."""

    spec: StoppingSpec
    best: float | None = None
    """The best value of the metric, with the sign that makes larger better."""
    waited: int = 0

    def update(self, loss: float, accuracy: float) -> None:
        """Count one validation."""
        value = -loss if self.spec.metric == "val/loss" else accuracy
        # a first value of NaN would be the best for good, so it only counts as a validation without improvement
        if math.isfinite(value) and (self.best is None or value > self.best + self.spec.min_delta):
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.spec.patience <= self.waited  # patience 0 means no early stopping

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        values = asdict(self)
        del values["spec"]  # it comes from the recipe
        return values

    def load(self, state: dict[str, float | int | None]) -> None:
        """Restore what `state` returned."""
        self.best = state["best"]
        self.waited = int(state["waited"] or 0)
