"""What manifest.json says, typed; what it does not say is empty."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cifarlab.errors import CheckpointError
from cifarlab.recipe.section import first_problem
from cifarlab.runs.folder import Run


class Part(BaseModel):
    """Types are held, unknown keys are passed over: a later version may say more."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class DataWarning(Part):
    """Something questionable about the images, as a sentence or more; see `cifarlab.images.quality`."""

    kind: str
    text: str


class DataFacts(Part):
    """Which images."""

    original: bool | None = None
    note: str = ""
    image_size: list[int] = []
    num_train: int = 0
    num_val: int = 0
    val_from: Literal["held out", "source"] | None = None
    train_fingerprint: str | None = None
    val_fingerprint: str | None = None
    test_fingerprint: str | None = None
    skipped: int = 0
    warnings: list[DataWarning] | None = None
    test_compared: bool = False


class RuntimeFacts(Part):
    """On what and how."""

    device_name: str = ""
    precision: str = ""
    memory_format: str = ""
    compile: bool = False
    threads: int | None = None
    kernels: str = ""


class MachineFacts(Part):
    """The computer."""

    system: str = ""
    cores: int | None = None
    memory_bytes: int | None = None


class GitFacts(Part):
    """The sources that the command was started in."""

    commit: str
    changed: bool


class Facts(Part):
    """Everything that a report shows of a manifest."""

    cifarlab: str = ""
    started: str = ""
    finished: str = ""
    status: str = ""
    ending: str = ""
    command: list[str] = []
    git: GitFacts | None = None
    seed: int | None = None
    num_parameters: int | None = None
    num_steps: int | None = None
    elapsed_seconds: float | None = None
    best_epoch: int | None = None
    best_val_accuracy: float | None = None
    chosen_by_val_accuracy: float | None = None
    data: DataFacts = DataFacts()
    runtime: RuntimeFacts = RuntimeFacts()
    machine: MachineFacts = MachineFacts()
    versions: dict[str, str] = {}


def read_facts(run: Run) -> Facts:
    """Read manifest.json; raises CheckpointError that names the file and what is wrong in it."""
    values = run.manifest
    try:
        return Facts.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(f"{run.path / 'manifest.json'}: {first_problem(error)}.") from error
