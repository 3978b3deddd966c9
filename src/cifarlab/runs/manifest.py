"""What manifest.json says: the one schema of the facts that a run rests on and of what came out of it.

Training fills it in two steps, when it starts and when it ends; everything else reads it. A field that an older run
does not have is empty, and what a newer version says besides is passed over.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

TRAINING, TRAINED, COMPLETE, DIVERGED = "training", "trained", "complete", "diverged"
"""The status of a run: in its epochs; tested, but without all figures and pages; with everything that it promises; or
ended because it no longer gave finite numbers."""


class Part(BaseModel):
    """Types are held, so that a damaged file is noticed; unknown keys are passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class DataWarning(Part):
    """Something questionable about the images, as a sentence or more; see `cifarlab.images.quality`."""

    kind: str
    text: str


class DataFacts(Part):
    """Which images were trained on, and how their source was understood."""

    original: bool | None = None
    """Whether the pixels are the published ones; None when nothing is known."""
    note: str = ""
    class_names: list[str] = []
    image_size: list[int] = []
    """Height and width in pixels."""
    num_train: int = 0
    num_val: int = 0
    val_from: Literal["held out", "source"] | None = None
    train_fingerprint: str | None = None
    val_fingerprint: str | None = None
    test_fingerprint: str | None = None
    """Known once the test split was opened."""
    skipped: int = 0
    understanding: dict[str, Any] = {}
    """See `cifarlab.images.source.Understanding`, which writes and reads it."""
    warnings: list[DataWarning] | None = None
    test_compared: bool = False
    """Whether the warnings come from a comparison with the test images, too."""

    def fingerprint(self, split: str) -> str | None:
        """The hash of the images of a split as the run first saw them; None when it has not, or there are none."""
        known = {"train": self.train_fingerprint, "val": self.val_fingerprint, "test": self.test_fingerprint}
        return known[split]


class RuntimeFacts(Part):
    """How the machine was used, with everything settled that the recipe left open: a resumed run goes on with it."""

    device: str = ""
    device_name: str = ""
    precision: str = ""
    memory_format: str = ""
    compile: bool = False
    threads: int | None = None
    kernels: str = ""
    """"on", "off", or why there are none."""
    kernels_fingerprint: str = ""


class MachineFacts(Part):
    """The computer."""

    system: str = ""
    cores: int | None = None
    memory_bytes: int | None = None


class GitFacts(Part):
    """The sources that the command was started in."""

    commit: str
    changed: bool


class Resumption(Part):
    """What a continued run rests on from then on."""

    cifarlab: str = ""
    started: str = ""
    command: list[str] = []
    runtime: RuntimeFacts = RuntimeFacts()
    machine: MachineFacts = MachineFacts()
    versions: dict[str, str] = {}
    other_bits: list[str] = []
    """What may make it end with other bits than a run that was never stopped."""


class Manifest(Part):
    """Everything that manifest.json says of a run."""

    cifarlab: str = ""
    """The version that trained it."""
    started: str = ""
    finished: str = ""
    status: str = ""
    ending: str = ""
    """Why it ended: all epochs done, early stopping, time limit, ..."""
    divergence: str = ""
    command: list[str] = []
    git: GitFacts | None = None
    seed: int | None = None
    num_parameters: int | None = None
    num_steps: int | None = None
    elapsed_seconds: float | None = None
    best_epoch: int | None = None
    best_val_accuracy: float | None = None
    """Of the classifier that was kept, as it predicts: in float32, with its norms folded away."""
    chosen_by_val_accuracy: float | None = None
    """Of the same epoch while it trained, in the precision of the training: the number that chose the epoch."""
    data: DataFacts = DataFacts()
    runtime: RuntimeFacts = RuntimeFacts()
    machine: MachineFacts = MachineFacts()
    versions: dict[str, str] = {}
    resumed: list[Resumption] = []
