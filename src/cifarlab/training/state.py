"""What changes while a run trains, and how it is put into a checkpoint and taken out again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from cifarlab.errors import CheckpointError
from cifarlab.inference.model_file import misfits
from cifarlab.recipe.section import Fraction, NonNegative, Section, first_problem
from cifarlab.runs.folder import Row
from cifarlab.training.averaging import Average
from cifarlab.training.checkpoint import Checkpoint
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.optim import build
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
        tensors = _named("model", self.model.state_dict())
        tensors |= _named("optimizer", build.state_tensors(self.optimizer))
        tensors |= _named("best", self.best_weights)
        if self.average:
            tensors |= _named("average", self.average.model.state_dict())
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

    def restore(self, checkpoint: Checkpoint, total_steps: int) -> None:
        """Take everything out of a checkpoint; raises CheckpointError when it is damaged or another recipe's."""
        try:
            saved = Saved.model_validate_json(json.dumps(checkpoint.state, allow_nan=False))
            saved.check(total_steps)
            self._restore_tensors(checkpoint.tensors, has_best=saved.best is not None)
            self.scaler.load_state_dict(saved.scaler)
        except ValidationError as error:
            raise CheckpointError(f"The checkpoint's state.json is damaged: {first_problem(error)}.") from error
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
            raise CheckpointError(f"The checkpoint does not fit this recipe and network: {error}.") from error
        self.step = saved.step
        self.elapsed_seconds = saved.elapsed_seconds
        self.totals = saved.totals
        self.rows = checkpoint.state["rows"]  # as they were written, so that metrics.csv stays the same to the letter
        self.best = saved.best
        self.stopping.load(saved.stopping.model_dump())
        self.ending = saved.ending

    def _restore_tensors(self, tensors: dict[str, Tensor], *, has_best: bool) -> None:
        wanted = _named("model", self.model.state_dict())
        wanted |= _named("best", self.judged.state_dict()) if has_best else {}
        wanted |= _named("average", self.average.model.state_dict()) if self.average else {}
        wanted |= {"hard.losses": self.hard.losses, "hard.drawn": self.hard.drawn} if self.hard else {}
        found = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer.")}
        if self.hard and "hard.drawn" in found:  # how many images are drawn changes once, from all to the hard ones
            wanted["hard.drawn"] = self.hard.drawn[: len(found["hard.drawn"])]
        if problems := misfits(wanted, found):
            raise ValueError(problems[0])
        self.model.load_state_dict(_part(tensors, "model"))
        build.load_state_tensors(self.optimizer, _part(tensors, "optimizer"))
        self.best_weights = _part(tensors, "best")
        if self.average:
            self.average.model.load_state_dict(_part(tensors, "average"))
        if self.hard:
            self.hard.load(tensors["hard.losses"], tensors["hard.drawn"])


Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
"""At most three centuries."""


class Finished(Section):
    """An epoch's row of metrics.csv."""

    epoch: Count
    step: Count
    elapsed_seconds: Seconds
    train_loss: Annotated[float, Field(alias="train/loss")]
    train_accuracy: Annotated[Fraction, Field(alias="train/accuracy")]
    train_images: Annotated[Count, Field(alias="train/images")]
    val_loss: Annotated[float | None, Field(alias="val/loss")]
    val_accuracy: Annotated[Fraction | None, Field(alias="val/accuracy")]
    lr: NonNegative
    images_per_second: NonNegative


class Waiting(Section):
    """What `Stopping` remembers."""

    best: float | None
    waited: Count


class Saved(Section):
    """state.json, typed: what it says is believed only where it can be true."""

    step: Count
    elapsed_seconds: Seconds
    totals: Totals
    rows: list[Finished]
    best: Best | None
    stopping: Waiting
    scaler: dict[str, float | int]
    ending: Literal["", "all epochs done", "early stopping", "time limit"]

    def check(self, total_steps: int) -> None:
        """Raise ValueError for steps and epochs that this recipe has not made."""
        if self.step > total_steps:
            raise ValueError(f"it is at step {self.step}, and the recipe has {total_steps}")
        places = [(row.epoch, row.step) for row in self.rows]
        places += [(self.best.epoch, self.best.step)] if self.best else []
        if any(epoch > self.step or step > self.step for epoch, step in places):
            raise ValueError(f"it is at step {self.step} and knows what comes after")


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's weights and buffers, which further steps do not change."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
