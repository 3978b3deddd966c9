"""The report's figures as PNG, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.drawing.charts.png import write_png
from cifarlab.drawing.grid import render_grid, to_png
from cifarlab.drawing.page import Section
from cifarlab.evaluation.examples import Examples
from cifarlab.files import write_atomic
from cifarlab.pages.report.material import Result
from cifarlab.pages.report.pictures import SHOWN, grid_captions
from cifarlab.runs.folder import Run

COLUMNS = 8
PICTURE_SIDE = 96
"""Pixels of one picture in a grid, approximately: pictures are enlarged by whole factors, which keeps pixels square."""


def write_figures(sections: Sequence[Section | None], result: Result | None, run: Run) -> None:
    """Write the figures of a report's sections and grids of images; raises MachineError when the disk is full."""
    for figure in (figure for section in sections if section is not None for figure in section.figures):
        write_png(figure.charts, run.figure(figure.name))
    if result is not None and result.examples is not None:
        shown, names = result.examples, result.evaluation.class_names
        _write_grid(shown, shown.sample(), names, run.figure("predictions"))
        _write_grid(shown, shown.mistakes(SHOWN), names, run.figure("mistakes"))


def _write_grid(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...], path: Path) -> None:
    if not len(places):
        path.unlink(missing_ok=True)  # the figure of an earlier result, which had mistakes
        return
    pixels = shown.pixels(places)
    scale = max(1, round(PICTURE_SIDE / pixels.shape[-1]))
    marks = [bool(right) for right in shown.right[places]]
    write_atomic(
        path, to_png(render_grid(pixels, grid_captions(shown, places, names), COLUMNS, scale=scale, marks=marks))
    )
