"""Figures for reports and papers: legible at 9 cm wide, with colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.files import write_atomic
from cifarlab.runs import Row

TRAIN, VAL, NEUTRAL = "#0072B2", "#D55E00", "#4D4D4D"
"""Blue and vermilion of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/, told apart by all readers; and grey."""
MAP, GAMMA = "Blues", 0.4
"""One hue from light to dark, for all readers and for print; the scale is bent so that a few percent can be seen."""
DARK = 0.715
"""From here on along the map white text has more contrast than black."""

DPI = 200
NAME_LIMIT = 16
"""Characters of a class name that a figure shows."""
NUMBERED_UP_TO = 20
"""Classes for which a confusion matrix shows numbers and every name; with more it shows colour alone."""


def confusion_matrix(matrix: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw counts (C, C), row = label, column = prediction: colour is the share of the row, text the count."""
    num_classes = len(class_names)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 2.6 + 0.42 * num_classes)
    figure = _figure(side + 0.8, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=MAP, norm=PowerNorm(GAMMA, 0, 1))
    _name_classes(axes, class_names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if num_classes <= NUMBERED_UP_TO:
        _write_counts(axes, matrix, shares)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bar.ax.minorticks_off()
    bar.set_label("share of the label's images")
    return figure


def curves(rows: Sequence[Row]) -> Figure:
    """Draw loss, accuracy and learning rate over epochs from the rows of metrics.csv; empty fields leave gaps out."""
    figure = _figure(9.6, 2.9)
    loss, accuracy, lr = figure.subplots(1, 3)
    _draw_pair(loss, rows, "loss")
    _draw_pair(accuracy, rows, "accuracy")
    _draw_line(lr, rows, "lr", NEUTRAL, "")
    loss.set_ylabel("loss")
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    lr.set_ylabel("learning rate")
    lr.set_ylim(bottom=0)
    return figure


def effects(names: Sequence[str], values: Sequence[float], intervals: Sequence[Sequence[float]]) -> Figure:
    """Draw what parts are worth, fractions shown as points: a dot for each, and its interval as a line through it."""
    figure = _figure(6.0, 1.1 + 0.34 * len(names))
    axes = figure.add_subplot()
    for row, (value, (low, high)) in enumerate(zip(values, intervals, strict=True)):
        colour = NEUTRAL if low <= 0 <= high else TRAIN
        axes.plot([100 * low, 100 * high], [row, row], "-", color=colour, linewidth=1.6)
        axes.plot([100 * value], [row], "o", color=colour, markersize=5)
    axes.axvline(0, color="#808080", linewidth=0.8)
    axes.set_yticks(range(len(names)), [printable(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("points of accuracy that the part is worth, with 95 % interval")
    axes.grid(axis="x", color="#E0E0E0", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def lr_range(
    lrs: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], marks: Sequence[tuple[float, str]]
) -> Figure:
    """Draw the loss over a rising learning rate, raw and smoothed; marks are learning rates with their names."""
    figure = _figure(5.6, 3.4)
    axes = figure.add_subplot()
    axes.plot(lrs, losses, ".", color="#B0B0B0", markersize=3, label="batches")
    axes.plot(lrs, smoothed, "-", color=TRAIN, linewidth=1.6, label="smoothed")
    for (lr, name), style in zip(marks, ("-", "--", ":"), strict=False):
        axes.axvline(lr, color=VAL, linestyle=style, linewidth=1.2, label=f"{name}: {lr:.2g}")
    low, high = min(smoothed), max(smoothed[0], min(smoothed))
    axes.set_ylim(low - 0.15 * (high - low or 1), high + 0.6 * (high - low or 1))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure; raises MachineError when the disk is full or read-only."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_atomic(path, content.getvalue())


def _figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches, that no global state of matplotlib knows of."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    """Every class by name while there is room, which about a hundred lines of small type fill."""
    num_classes = len(class_names)
    shown = range(0, num_classes, math.ceil(num_classes / 100))
    names = [_short(class_names[i]) for i in shown]
    size = 10 if num_classes <= NUMBERED_UP_TO else max(5.0, 10 - num_classes / 20)
    axes.set_xticks(list(shown), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(list(shown), names, fontsize=size)
    axes.tick_params(length=2)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    size = 9 if matrix.max(initial=0) < 10_000 else 7
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] ** GAMMA > DARK else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)


def _draw_pair(axes: Axes, rows: Sequence[Row], name: str) -> None:
    _draw_line(axes, rows, f"train/{name}", TRAIN, "train", "--")
    if any(row[f"val/{name}"] is not None for row in rows):
        _draw_line(axes, rows, f"val/{name}", VAL, "val")
    axes.legend(frameon=False)


def _draw_line(axes: Axes, rows: Sequence[Row], column: str, colour: str, label: str, style: str = "-") -> None:
    points = [
        (float(epoch), float(value))
        for row in rows
        if (epoch := row["epoch"]) is not None and (value := row[column]) is not None
    ]
    marker = "o" if len(points) <= 20 else ""
    epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
    axes.plot(epochs, values, style, color=colour, label=label, marker=marker, markersize=3, linewidth=1.4)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, 1.02 * max([1.0, *(float(row["epoch"] or 0) for row in rows)]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name: str) -> str:
    """A class name as a tick label; a dollar sign would start a formula."""
    text = printable(name)
    cut = text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…"
    return cut.replace("$", r"\$")
