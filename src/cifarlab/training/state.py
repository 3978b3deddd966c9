"""What changes while a run trains, and how it is put into a checkpoint and taken out again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cifarlab.checkpoint import Checkpoint
from cifarlab.errors import CheckpointError
from cifarlab.runs import Row
from cifarlab.training import optimizers
from cifarlab.training.ema import Average
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.stopping import Best, Stopping


@dataclass
class Totals:
    """Sums over the images of the current epoch so far."""

    loss: float = 0.0
    correct: float = 0.0
    num_images: int = 0
    seconds: float = 0.0

    def add(self, mean_loss: float, correct: float, num_images: int) -> None:
        """Take in one batch."""
        self.loss += mean_loss * num_images
        self.correct += correct
        self.num_images += num_images


@dataclass
class State:
    """Everything that a step or an epoch changes; randomness is no part of it, being a function of (seed, step)."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None
    stopping: Stopping
    hard: HardExamples | None = None
    step: int = 0
    elapsed_seconds: float = 0.0
    totals: Totals = field(default_factory=Totals)
    rows: list[Row] = field(default_factory=list)
    best: Best | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    ending: str = ""
    """Why training is over; empty while it is not."""

    @property
    def judged(self) -> nn.Module:
        """The network whose accuracy counts: the averaged one where there is one."""
        return self.average.model if self.average else self.model

    def capture(self) -> Checkpoint:
        """Put everything into a checkpoint."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizers.state_tensors(self.optimizer).items()}
        tensors |= {f"best.{name}": value for name, value in self.best_weights.items()}
        if self.average:
            tensors |= {f"average.{name}": value for name, value in self.average.model.state_dict().items()}
        if self.hard:
            tensors |= {"hard.losses": self.hard.losses, "hard.drawn": self.hard.drawn}
        values = {
            "step": self.step,
            "elapsed_seconds": self.elapsed_seconds,
            "totals": asdict(self.totals),
            "rows": list(self.rows),
            "best": asdict(self.best) if self.best else None,
            "stopping": self.stopping.state(),
            "scaler": self.scaler.state_dict(),
            "ending": self.ending,
        }
        return Checkpoint(tensors, values)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take everything out of a checkpoint; raises CheckpointError when it belongs to another network."""
        values = checkpoint.state
        try:
            self._restore_tensors(checkpoint.tensors)
            self.step = values["step"]
            self.elapsed_seconds = values["elapsed_seconds"]
            self.totals = Totals(**values["totals"])
            self.rows = values["rows"]
            self.best = Best(**values["best"]) if values["best"] else None
            self.stopping.load(values["stopping"])
            self.scaler.load_state_dict(values["scaler"])
            self.ending = values["ending"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"The checkpoint does not fit this recipe and network: {error}.") from error

    def _restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.model.load_state_dict(_part(tensors, "model"))
        optimizers.load_state_tensors(self.optimizer, _part(tensors, "optimizer"))
        self.best_weights = _part(tensors, "best")
        if self.average:
            self.average.model.load_state_dict(_part(tensors, "average"))
        if self.hard:
            self.hard.losses.copy_(tensors["hard.losses"])
            self.hard.drawn = tensors["hard.drawn"].to(self.hard.losses.device)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's weights and buffers, which further steps do not change."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
