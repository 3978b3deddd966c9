"""The names of all files in a run folder, each in this one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cifarlab.language import translatable

RECIPE_FILE, MANIFEST_FILE, MODEL_FILE = "recipe.toml", "manifest.json", "model.safetensors"
"""A folder is a run when it has a recipe; the model is the classifier that the run leaves."""

SEEDS, ABLATION, RANGE_TEST = "seeds.json", "ablation.json", "lr-find.json"
STUDIES = {
    SEEDS: translatable("several seeds"),
    ABLATION: translatable("an ablation"),
    RANGE_TEST: translatable("a learning-rate test"),
}
"""The file that makes a folder a study instead of a run -> what such a folder holds."""

TIME_TO_ACCURACY = "time-to-accuracy.json"
"""In the folder of several seeds: how long each took to reach a target accuracy."""


def group_name(recipe: str) -> str:
    """The name of the folder of several seeds of a recipe, at most 64 letters long as all of them."""
    return f"{recipe[:58]}-seeds"


@dataclass(frozen=True)
class RunPaths:
    """The paths in a run folder; nothing is read or written here."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The complete recipe: training it again repeats the run."""
        return self.path / RECIPE_FILE

    @property
    def manifest_file(self) -> Path:
        """What the run rests on and what came out of it; see `cifarlab.runs.manifest`."""
        return self.path / MANIFEST_FILE

    @property
    def metrics_file(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    @property
    def ledger_file(self) -> Path:
        """One line per opening of the test split, or of other images."""
        return self.path / "test-ledger.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder with the checkpoints `last` and `previous` and with the best weights."""
        return self.path / "checkpoints"

    @property
    def best_weights_file(self) -> Path:
        """The weights of the best epoch so far, as a model file."""
        # a model file, so that a run that diverges or is never finished leaves a classifier that can be applied
        return self.checkpoints / "best.safetensors"

    @property
    def model_file(self) -> Path:
        """The classifier that the run leaves: weights and everything needed to apply them."""
        return self.path / MODEL_FILE

    @property
    def divergence_file(self) -> Path:
        """The evidence of a training that diverged."""
        return self.path / "diverged.json"

    @property
    def report_file(self) -> Path:
        """The report on the run or, in the folder of several seeds, on all of them."""
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
        # a name per split and data set, so that no evaluation overwrites another one's
        return self.path / f"evaluation-{name}.json"

    def predictions_file(self, name: str) -> Path:
        """Index, label, prediction and logits of every image of one split, as parquet."""
        # with the logits, calibration and comparisons need no second pass over the images
        return self.path / f"predictions-{name}.parquet"

    def examples_file(self, name: str) -> Path:
        """The images of one split that are worth showing, as parquet."""
        # with their pixels, so that a report needs neither the data nor another opening of the test split
        return self.path / f"examples-{name}.parquet"

    def details_file(self, name: str) -> Path:
        """Heat maps and nearest training images of some of these examples, as parquet."""
        # apart from the examples: it needs the network and the training images, and a report needs neither
        return self.path / f"details-{name}.parquet"

    def skipped_file(self, name: str = "") -> Path:
        """The list of images that could not be read: of the training or, by name, of an evaluation."""
        return self.path / (f"bad-{name}.jsonl" if name else "bad.jsonl")

    def result_files(self, name: str) -> tuple[Path, ...]:
        """The files of an evaluation: numbers as JSON, CSV and text, confusions, predictions, examples and a figure."""
        return (
            self.evaluation_file(name),
            self.path / f"evaluation-{name}.csv",
            self.path / f"evaluation-{name}.txt",
            self.path / f"confusion-{name}.csv",
            self.path / f"confusion-{name}-normalised.csv",
            self.predictions_file(name),
            self.examples_file(name),
            # that of test is shown in reports and TensorBoard under its short name (`trackers.FIGURES`)
            self.figure("confusion_matrix" if name == "test" else f"confusion_matrix-{name}"),
        )
