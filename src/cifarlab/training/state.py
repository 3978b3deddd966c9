"""Everything that changes while a run trains, and its way into a checkpoint and out again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from cifarlab.errors import CheckpointError
from cifarlab.inference.model_file import misfits
from cifarlab.language import tr
from cifarlab.recipe.section import Fraction, NonNegative, Section, first_problem
from cifarlab.runs.metrics import Row
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
    """May be a fraction: mixed images count by the share of the label that they hit."""
    num_images: int = 0
    seconds: float = 0.0

    def add(self, mean_loss: float, correct: float, num_images: int) -> None:
        """Add one batch."""
        self.loss += mean_loss * num_images  # weighted, since the last batch of an epoch may be smaller
        self.correct += correct
        self.num_images += num_images

    @property
    def mean_loss(self) -> float:
        """The loss per image; 0 before the first batch."""
        return self.loss / max(1, self.num_images)

    @property
    def accuracy(self) -> float:
        """The share of correct images, 0..1."""
        return self.correct / max(1, self.num_images)

    @property
    def images_per_second(self) -> float:
        """The speed of training alone, without validation and writing."""
        return self.num_images / max(self.seconds, 1e-9)


@dataclass
class State:
    """Everything that a step or an epoch changes.

    Randomness has no state here: it is a function of the seed and the step, so `step` is all that resuming needs.
    """

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
    def evaluated_model(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.average.model if self.average else self.model

    def capture(self) -> Checkpoint:
        """Everything as a checkpoint."""
        # one flat dictionary, as safetensors knows no nesting: "optimizer.3.momentum_buffer"
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
        """Take everything from a checkpoint; raises CheckpointError when it is damaged or another recipe's."""
        try:
            saved = SavedState.model_validate_json(json.dumps(checkpoint.state, allow_nan=False))
            saved.check(total_steps)
            self._restore_tensors(checkpoint.tensors, has_best=saved.best is not None)
            self.scaler.load_state_dict(saved.scaler)
        except ValidationError as error:
            text = tr("The checkpoint's state.json is damaged: {error}.", error=first_problem(error))
            raise CheckpointError(text) from error
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
            text = tr("The checkpoint does not fit this recipe and network: {error}.", error=error)
            raise CheckpointError(text) from error
        self.step = saved.step
        self.elapsed_seconds = saved.elapsed_seconds
        self.totals = saved.totals
        self.rows = checkpoint.state["rows"]  # as they were written, so that metrics.csv stays the same to the letter
        self.best = saved.best
        self.stopping.load(saved.stopping.model_dump())
        self.ending = saved.ending

    def _restore_tensors(self, tensors: dict[str, Tensor], *, has_best: bool) -> None:
        # compared by name, shape and type first: load_state_dict would broadcast or cast what nearly fits
        wanted = _named("model", self.model.state_dict())
        wanted |= _named("best", self.evaluated_model.state_dict()) if has_best else {}
        wanted |= _named("average", self.average.model.state_dict()) if self.average else {}
        wanted |= {"hard.losses": self.hard.losses, "hard.drawn": self.hard.drawn} if self.hard else {}
        # an optimizer without steps has no state to compare with; load_state_tensors checks it by the parameters
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
"""At most three centuries: more is a damaged file."""


class SavedRow(Section):
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


class SavedStopping(Section):
    """The memory of `Stopping`."""

    best: float | None
    waited: Count


class SavedState(Section):
    """state.json, typed: a value that cannot be true is refused."""

    step: Count
    elapsed_seconds: Seconds
    totals: Totals
    rows: list[SavedRow]
    best: Best | None
    stopping: SavedStopping
    scaler: dict[str, float | int]
    ending: Literal["", "all epochs done", "early stopping", "time limit"]

    def check(self, total_steps: int) -> None:
        """Raise ValueError for steps and epochs that this recipe cannot have reached."""
        if self.step > total_steps:
            text = tr("it is at step {step}, and the recipe has {total}", step=self.step, total=total_steps)
            raise ValueError(text)
        # an epoch has at least one step, so its number cannot exceed the step either
        places = [(row.epoch, row.step) for row in self.rows]
        places += [(self.best.epoch, self.best.step)] if self.best else []
        if any(epoch > self.step or step > self.step for epoch, step in places):
            raise ValueError(tr("it is at step {step} and knows what comes after", step=self.step))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's weights and buffers."""
    # cloned: state_dict holds the parameters themselves, which the optimizer changes in place
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Any]:
    """The inverse of `_named`."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
