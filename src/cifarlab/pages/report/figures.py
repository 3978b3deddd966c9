"""The report's figures as PNG, for papers and slides."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.drawing import charts
from cifarlab.drawing.grid import render_grid
from cifarlab.evaluation.examples import Examples
from cifarlab.files import write_atomic
from cifarlab.pages.report.classes import by_f1
from cifarlab.pages.report.learning import marked_epochs
from cifarlab.pages.report.material import Material, Result
from cifarlab.pages.report.pictures import SHOWN, grid_captions
from cifarlab.pages.report.reliability import diagrams
from cifarlab.runs.folder import Run

COLUMNS = 8
PICTURE_SIDE = 96
"""Pixels of one picture in a grid, approximately: pictures are enlarged by whole factors, which keeps pixels square."""


def write_figures(material: Material) -> None:
    """Write every figure that can be drawn into figures/; raises MachineError when the disk is full or read-only."""
    run = material.run
    if material.rows:
        charts.save_png(charts.curves(material.rows, marked_epochs(material)), run.figure("curves"))
    if material.result is not None:
        _write_result(material.result, run)


def _write_result(result: Result, run: Run) -> None:
    evaluation = result.evaluation
    matrix = np.array(evaluation.confusion_matrix)
    charts.save_png(charts.confusion_matrix(matrix, evaluation.class_names), run.figure("confusion_matrix"))
    charts.save_png(charts.per_class(by_f1(evaluation)[0]), run.figure("per_class"))
    charts.save_png(charts.reliability(diagrams(result)), run.figure("reliability"))
    if result.examples is not None:
        shown, names = result.examples, evaluation.class_names
        _write_grid(shown, shown.sample(), names, run.figure("predictions"))
        _write_grid(shown, shown.mistakes(SHOWN), names, run.figure("mistakes"))


def _write_grid(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...], path: Path) -> None:
    if not len(places):
        path.unlink(missing_ok=True)  # the figure of an earlier result, which had mistakes
        return
    pixels = shown.pixels(places)
    scale = max(1, round(PICTURE_SIDE / pixels.shape[-1]))
    marks = [bool(right) for right in shown.right[places]]
    file = io.BytesIO()
    render_grid(pixels, grid_captions(shown, places, names), COLUMNS, scale=scale, marks=marks).save(file, "PNG")
    write_atomic(path, file.getvalue())
