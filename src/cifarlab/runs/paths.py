"""The names of everything in a run folder, each in this one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECIPE_FILE, MANIFEST_FILE, MODEL_FILE = "recipe.toml", "manifest.json", "model.safetensors"
"""A folder with a recipe is known as a run; the model is the classifier that it leaves."""

SEEDS, ABLATION, RANGE_TEST = "seeds.json", "ablation.json", "lr-find.json"
STUDIES = {SEEDS: "several seeds", ABLATION: "an ablation", RANGE_TEST: "a learning-rate test"}
"""Files that are in a folder from its beginning when it is not a run itself -> what it holds instead."""

TIME_TO_ACCURACY = "time-to-accuracy.json"
"""Beside SEEDS: how long each seed took to reach a target."""


@dataclass(frozen=True)
class RunPaths:
    """A run folder's paths; nothing is read or written here."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The complete recipe: training it again repeats the run."""
        return self.path / RECIPE_FILE

    @property
    def manifest_file(self) -> Path:
        """The facts that the run rests on and what came out of it; see `cifarlab.runs.manifest`."""
        return self.path / MANIFEST_FILE

    @property
    def metrics_file(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    @property
    def ledger_file(self) -> Path:
        """Every opening of the test split, or of other images, a line each."""
        return self.path / "test-ledger.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder with last, previous and the best weights."""
        return self.path / "checkpoints"

    @property
    def best_weights_file(self) -> Path:
        """The weights of the best epoch so far, as a model file."""
        return self.checkpoints / "best.safetensors"

    @property
    def model_file(self) -> Path:
        """The classifier that the run leaves: weights and everything needed to apply them."""
        return self.path / MODEL_FILE

    @property
    def divergence_file(self) -> Path:
        """What was seen when the training diverged."""
        return self.path / "diverged.json"

    @property
    def report_file(self) -> Path:
        """The page about the run or, in the folder of several seeds, about all of them."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """The folder of PNG figures."""
        return self.path / "figures"

    def figure(self, name: str) -> Path:
        """One figure."""
        return self.figures / f"{name}.png"

    def evaluation_file(self, name: str) -> Path:
        """The numbers of one split, or of other images (`cifarlab.judge.result_name`)."""
        return self.path / f"evaluation-{name}.json"

    def predictions_file(self, name: str) -> Path:
        """index, label, prediction and logits of every image of one split, as parquet."""
        return self.path / f"predictions-{name}.parquet"

    def examples_file(self, name: str) -> Path:
        """The images of one split that are worth showing, as parquet."""
        return self.path / f"examples-{name}.parquet"

    def skipped_file(self, name: str = "") -> Path:
        """The images that could not be read: those of the training or, by name, of an evaluation."""
        return self.path / (f"bad-{name}.jsonl" if name else "bad.jsonl")

    def result_files(self, name: str) -> tuple[Path, ...]:
        """What an evaluation leaves: numbers as JSON, CSV and text, confusions, predictions, examples and a figure."""
        return (
            self.evaluation_file(name),
            self.path / f"evaluation-{name}.csv",
            self.path / f"evaluation-{name}.txt",
            self.path / f"confusion-{name}.csv",
            self.path / f"confusion-{name}-normalised.csv",
            self.predictions_file(name),
            self.examples_file(name),
            self.figure("confusion_matrix" if name == "test" else f"confusion_matrix-{name}"),
        )
