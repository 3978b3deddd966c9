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
from cifarlab.language import tr
from cifarlab.recipe.schema import Recipe, RuntimeSpec
from cifarlab.recipe.toml import flatten
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import Row

FIGURES = ("predictions", "confusion_matrix")
"""The figures of a finished run that TensorBoard shows."""

FINAL = {"test/accuracy": "accuracy", "test/loss": "loss", "test/calibration_error": "calibration_error"}
"""Final metrics -> their field in Evaluation."""


class Events:
    """TensorBoard's event file in a run folder. A full disk costs this file, with a warning, and never the training."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        with self._tolerant():
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def put(self, add: Callable[[SummaryWriter], None]) -> None:
        """Let `add` write, and flush, so that a running TensorBoard shows each epoch at once."""
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
            self._writer = None  # given up for good: one warning, not one per epoch
            text = tr("TensorBoard's events in {folder} cannot be written: {error}. Going on without.")
            log.warning(text.format(folder=self._folder, error=cause(error)))


class Tracker:
    """Writes each epoch's row; after a resume, rows from before the stop are neither lost nor written twice.

    rows: those that a resumed run has already.
    """

    def __init__(self, run: Run, rows: Sequence[Row], spec: RuntimeSpec) -> None:
        self.run = run
        # Events cannot be taken out of a file. A run that was killed after its last checkpoint has written rows that it
        # will write again; purge_step tells TensorBoard to hide everything from there on.
        next_step = int(rows[-1]["step"] or 0) + 1 if rows else 0
        resumed = any(run.path.glob("events.*"))
        self.events = Events(run.path, next_step if resumed else None) if spec.tensorboard else None

    def write(self, rows: list[Row]) -> None:
        """Store the table, of which the last row is new."""
        # the table first: it is the record, TensorBoard only a view of it
        self.run.write_metrics(rows)
        if self.events is None:
            return
        row = rows[-1]
        step = int(row["step"] or 0)

        def add(writer: SummaryWriter) -> None:
            for name, value in row.items():
                # epoch and step are the axis, and a curve of the number of images would say nothing
                if value is not None and name not in ("epoch", "step", "train/images"):
                    writer.add_scalar(name, value, step)

        self.events.put(add)

    def write_histograms(self, model: nn.Module, step: int) -> None:
        """Show the distribution of every layer's weights."""
        if self.events is None:
            return

        def add(writer: SummaryWriter) -> None:
            for name, weight in model.named_parameters():
                # slashes, by which TensorBoard groups the layers of a block
                writer.add_histogram(name.replace(".", "/"), weight.detach().float().cpu().numpy(), step)

        self.events.put(add)

    def write_results(self, recipe: Recipe, step: int) -> None:
        """Show the recipe beside the final metrics, in the list of hyper-parameters."""
        if self.events is not None:
            # TensorBoard's list takes bool, numbers and text: a tuple or a duration is shown as text
            flat = {name: value for name, value in flatten(recipe).items() if value is not None}
            settings = {
                name: value if isinstance(value, bool | int | float) else str(value) for name, value in flat.items()
            }
            results = final_metrics(self.run)
            # run_name "." keeps them in this run; unset, add_hparams would make a folder with a time as its name
            self.events.put(lambda writer: writer.add_hparams(settings, results, run_name=".", global_step=step))

    def close(self) -> None:
        """Finish the event file."""
        if self.events is not None:
            self.events.close()


def final_metrics(run: Run) -> dict[str, float]:
    """The best validation accuracy and the numbers on the test split, where they exist."""
    found: dict[str, float] = {}
    if (best := run.facts.best_val_accuracy) is not None:
        found["best/val/accuracy"] = best
    test = read_evaluation(run, "test")
    return found if test is None else found | {name: getattr(test, key) for name, key in FINAL.items()}


def add_figures(run: Run) -> None:
    """Show the prediction grid and the confusion matrix of a finished run in TensorBoard, where they were drawn.

    Raises CheckpointError for a figure that cannot be read as an image.
    """
    # all are read before anything is written, so that a damaged one leaves no half of the figures
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
        raise CheckpointError(tr("Cannot read the figure {file}: {error}.", file=path, error=error)) from error
