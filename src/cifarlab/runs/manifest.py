"""The schema of manifest.json: what a run rests on, and what came out of it.

Training fills it in two steps, when it starts and when it ends; everything else reads it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cifarlab.language import tr, translatable

TRAINING, TRAINED, COMPLETE, DIVERGED = "training", "trained", "complete", "diverged"
"""The status of a run: in its epochs; trained and tested, but without all figures and pages; with everything that was
asked for; or ended because its numbers were no longer finite."""

ENDINGS = (
    translatable("all epochs done"),
    translatable("early stopping"),
    translatable("time limit"),
    translatable("diverged"),
)
"""Why a run ended, as it is stored; `ending_text` says it in the language of the reader."""


class Part(BaseModel):
    """A part of the manifest. Types are checked, so that a damaged file is noticed."""

    # Every field has a default, since older runs do not have all of them, and keys of newer versions are ignored: a run
    # stays readable, whichever version is installed.
    # defer_build: validators are compiled when a manifest is first read, which `cifarlab --help` never does.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class DataWarning(Part):
    """A warning about the images, as text in English; see `cifarlab.images.quality`."""

    kind: str
    text: str
    facts: dict[str, Any] = {}
    """What `cifarlab.images.sentences` says it from, in the language of the reader; older runs have none."""


class DataFacts(Part):
    """Which images were trained on, and how their source was understood."""

    original: bool | None = None
    """Whether the pixels are the published ones; None when it is not known."""
    note: str = ""
    class_names: list[str] = []
    image_size: list[int] = []
    """Height and width in pixels."""
    # counted after validation images were held out
    num_train: int = 0
    num_val: int = 0
    val_from: Literal["held out", "source"] | None = None
    train_fingerprint: str | None = None
    val_fingerprint: str | None = None
    test_fingerprint: str | None = None
    """Known once the test split has been opened."""
    skipped: int = 0
    understanding: dict[str, Any] = {}
    """How the source was read; `cifarlab.images.source.Understanding` writes and reads it."""
    warnings: list[DataWarning] | None = None
    test_compared: bool = False
    """Whether the warnings include a comparison with the test images."""

    def fingerprint(self, split: str) -> str | None:
        """The hash of a split's images as the run first saw them; None when it has not seen any."""
        known = {"train": self.train_fingerprint, "val": self.val_fingerprint, "test": self.test_fingerprint}
        return known[split]


class RuntimeFacts(Part):
    """How the machine was used, with everything resolved that the recipe left open."""

    # a resumed run reads its settings from here: resolved again, on a changed machine, they might give other bits

    device: str = ""
    device_name: str = ""
    precision: str = ""
    memory_format: str = ""
    compile: bool = False
    threads: int | None = None
    tier: str = ""
    """The instructions of the CPU that were used, as `machine.tier` names them; empty on other devices."""
    kernels: str = ""
    """Either "on", "off", or why there are none."""
    kernels_fingerprint: str = ""


class MachineFacts(Part):
    """The computer."""

    system: str = ""
    cores: int | None = None
    memory_bytes: int | None = None


class GitFacts(Part):
    """The git repository in which the command was started."""

    commit: str
    changed: bool


class Resumption(Part):
    """What a run rests on after it was resumed."""

    cifarlab: str = ""
    started: str = ""
    command: list[str] = []
    runtime: RuntimeFacts = RuntimeFacts()
    machine: MachineFacts = MachineFacts()
    versions: dict[str, str] = {}
    other_bits: list[str] = []
    """What changed and may make the run end with other bits than one that was never stopped, with both values."""


class Manifest(Part):
    """The contents of manifest.json."""

    cifarlab: str = ""
    """The version that trained it."""
    started: str = ""
    finished: str = ""
    status: str = ""
    ending: str = ""
    """Why it ended: one of ENDINGS, in English."""
    divergence: str = ""
    # what it takes to repeat the run, besides the recipe in the same folder
    command: list[str] = []
    git: GitFacts | None = None
    seed: int | None = None
    num_parameters: int | None = None
    # from here to chosen_by_val_accuracy: written when the last epoch is done
    num_steps: int | None = None
    elapsed_seconds: float | None = None
    best_epoch: int | None = None
    best_val_accuracy: float | None = None
    """The accuracy of the classifier that was kept, as it predicts: in float32, with its norms folded away."""
    chosen_by_val_accuracy: float | None = None
    """The accuracy that chose the epoch: while the run trained, in the precision of the training."""
    data: DataFacts = DataFacts()
    runtime: RuntimeFacts = RuntimeFacts()
    machine: MachineFacts = MachineFacts()
    versions: dict[str, str] = {}
    resumed: list[Resumption] = []

    @property
    def ending_text(self) -> str:
        """Why it ended, in the language that is spoken; "" before it has."""
        return tr(self.ending) if self.ending else ""  # catalogues have their own facts under ""

    @property
    def latest(self) -> Manifest | Resumption:
        """What the run's newest steps rest on: the last time it was resumed, or its start."""
        return self.resumed[-1] if self.resumed else self
