"""When to stop, and which epoch to keep."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from cifarlab.recipe.schema import StoppingSpec


@dataclass(frozen=True)
class Best:
    """The best validation so far: the highest accuracy, the lower loss breaking a tie."""

    accuracy: float
    loss: float
    epoch: int
    step: int

    def beats(self, other: Best | None) -> bool:
        """Whether this validation is better than the best before; one that is not finite never is."""
        if not math.isfinite(self.loss):
            return False
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


@dataclass
class Stopping:
    """Counts validations without an improvement of more than min_delta."""

    spec: StoppingSpec
    best: float | None = None
    waited: int = 0

    def update(self, loss: float, accuracy: float) -> None:
        """Take in one validation."""
        value = -loss if self.spec.metric == "val/loss" else accuracy
        if math.isfinite(value) and (self.best is None or value > self.best + self.spec.min_delta):
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.spec.patience <= self.waited

    def state(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        values = asdict(self)
        del values["spec"]
        return values

    def load(self, state: dict[str, float | int | None]) -> None:
        """Put back what `state` gave."""
        self.best = state["best"]
        self.waited = int(state["waited"] or 0)
