"""Where metrics go while a run trains: metrics.csv and TensorBoard, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from cifarlab.console import log
from cifarlab.errors import CheckpointError, cause
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.recipe.schema import Recipe, RuntimeSpec
from cifarlab.recipe.toml import flatten
from cifarlab.runs.folder import Row, Run

FIGURES = ("predictions", "confusion_matrix")
"""Of those that a finished run has in figures/, the ones that TensorBoard shows."""

FINAL = {"test/accuracy": "accuracy", "test/loss": "loss", "test/calibration_error": "calibration_error"}
"""Final metrics, by the name of their field in Evaluation."""


class Events:
    """TensorBoard's file in a run folder. A full disk costs the file, with a warning, and never the training."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        with self._tolerant():
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def put(self, add: Callable[[SummaryWriter], None]) -> None:
        """Let `add` write what it has, and flush."""
        if self._writer is not None:
            with self._tolerant():
                add(self._writer)
                self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            with self._tolerant():
                self._writer.close()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            log.warning(f"TensorBoard's events in {self._folder} cannot be written: {cause(error)}. Going on without.")


class Tracker:
    """Writes each epoch's row; after a resume, rows from before the stop are neither lost nor written twice.

    `rows` are those that a resumed run has already: TensorBoard hides whatever else was written after them.
    """

    def __init__(self, run: Run, rows: Sequence[Row], spec: RuntimeSpec) -> None:
        self.run = run
        next_step = int(rows[-1]["step"] or 0) + 1 if rows else 0
        resumed = any(run.path.glob("events.*"))
        self.events = Events(run.path, next_step if resumed else None) if spec.tensorboard else None

    def write(self, rows: list[Row]) -> None:
        """Store the table, of which the last row is new."""
        self.run.write_metrics(rows)
        if self.events is None:
            return
        row = rows[-1]
        step = int(row["step"] or 0)

        def add(writer: SummaryWriter) -> None:
            for name, value in row.items():
                if value is not None and name not in ("epoch", "step", "train/images"):
                    writer.add_scalar(name, value, step)

        self.events.put(add)

    def write_histograms(self, model: nn.Module, step: int) -> None:
        """Show how the weights of every layer are spread."""
        if self.events is None:
            return

        def add(writer: SummaryWriter) -> None:
            for name, weight in model.named_parameters():
                writer.add_histogram(name.replace(".", "/"), weight.detach().float().cpu().numpy(), step)

        self.events.put(add)

    def write_results(self, recipe: Recipe, step: int) -> None:
        """Show the recipe beside the final metrics, in the list of hyper-parameters."""
        if self.events is not None:
            settings, results = _settings(recipe), final_metrics(self.run)
            self.events.put(lambda writer: writer.add_hparams(settings, results, run_name=".", global_step=step))

    def close(self) -> None:
        """Finish the event file."""
        if self.events is not None:
            self.events.close()


def final_metrics(run: Run) -> dict[str, float]:
    """The best validation accuracy and the numbers on the test split, as far as there are any."""
    found: dict[str, float] = {}
    if (best := run.facts.best_val_accuracy) is not None:
        found["best/val/accuracy"] = best
    test = read_evaluation(run, "test")
    return found if test is None else found | {name: getattr(test, key) for name, key in FINAL.items()}


def add_figures(run: Run) -> None:
    """Show the prediction grid and the confusion matrix of a finished run, where they lie in figures/.

    Raises CheckpointError for one that is no image.
    """
    paths = [path for name in FIGURES if (path := run.figure(name)).exists()]
    pixels = {path.stem: _pixels(path) for path in paths}

    def add(writer: SummaryWriter) -> None:
        for name, image in pixels.items():
            writer.add_image(name, image, dataformats="HWC")

    events = Events(run.path)
    events.put(add)
    events.close()


def _pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise CheckpointError(f"Cannot read the figure {path}: {error}.") from error


def _settings(recipe: Recipe) -> dict[str, bool | float | str]:
    """The recipe as TensorBoard's list takes it: everything that is no number is text."""
    flat = {name: value for name, value in flatten(recipe).items() if value is not None}
    return {name: value if isinstance(value, bool | int | float) else str(value) for name, value in flat.items()}
