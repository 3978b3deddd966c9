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
from cifarlab.drawing.axes import LARGEST
from cifarlab.drawing.fonts import fonts, legible
from cifarlab.evaluation.calibration import Bin
from cifarlab.evaluation.metrics import ClassMetrics
from cifarlab.files import write_atomic
from cifarlab.runs.folder import Row

TRAIN, VAL, NEUTRAL = "#0072B2", "#D55E00", "#4D4D4D"
"""Blue and vermilion of Okabe and Ito (2008), https://jfly.uni-koeln.de/color/, told apart by all readers; and grey."""
MAP, GAMMA = "Blues", 0.4
"""One hue from light to dark, for all readers and for print; the scale is bent so that a few percent can be seen."""
DARK = 0.715
"""From here on along the map white text has more contrast than black."""

THIRD = "#007A59"
"""A bluish green beside them, darker than Okabe and Ito's so that it stands out from a light blue."""
BAR = "#86B8D9"
"""A light blue that dots and lines stand out from."""
DOTS = (":", (0, (6, 2, 1, 2)), (0, (6, 2)))
"""How marked epochs are drawn, one after the other: a run has up to three."""

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


def curves(rows: Sequence[Row], marks: Sequence[tuple[float, str]] = ()) -> Figure:
    """Draw loss, accuracy and learning rate over epochs from the rows of metrics.csv; empty fields leave gaps out.

    marks: epochs to point out, with what they are.
    """
    figure = _figure(9.6, 2.9)
    loss, accuracy, lr = figure.subplots(1, 3)
    _draw_pair(loss, rows, "loss")
    _draw_pair(accuracy, rows, "accuracy")
    _draw_line(lr, rows, "lr", NEUTRAL, "")
    for place, (epoch, text) in enumerate(marks):
        for axes in (loss, accuracy, lr):
            label = text if axes is accuracy else None
            axes.axvline(epoch, color=NEUTRAL, linestyle=DOTS[place % len(DOTS)], linewidth=1, label=label)
    _legends(loss, accuracy)
    loss.set_ylabel("loss")
    accuracy.set_ylabel("accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    lr.set_ylabel("learning rate")
    lr.set_ylim(bottom=0)
    return figure


def effects(names: Sequence[str], values: Sequence[float], intervals: Sequence[Sequence[float]]) -> Figure:
    """Draw what parts are worth, fractions shown as points: a dot for each, and its interval as a line through it.

    Coloured are those whose interval excludes 0.
    """
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
    _plain(axes)
    axes.spines["left"].set_visible(False)
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
    _plain(axes)
    axes.legend(frameon=False)
    return figure


def per_class(scores: Sequence[ClassMetrics]) -> Figure:
    """Draw F1 as bars, precision and recall as dots, recall with its interval, in the given order from the top.

    A class without images has a dash.
    """
    figure = _figure(6.4, min(24.0, 1.1 + 0.3 * len(scores)))
    axes = figure.add_subplot()
    values = np.array([(each.f1, each.precision, each.recall) for each in scores], np.float64)  # None becomes NaN
    ends = np.array([each.recall_interval or (np.nan, np.nan) for each in scores])
    places = np.arange(len(scores))
    axes.barh(places, np.nan_to_num(values[:, 0]), color=BAR, height=0.62, label="F1")
    axes.scatter(values[:, 1], places, color=VAL, marker="s", s=16, label="precision", zorder=3)
    axes.scatter(values[:, 2], places, color=THIRD, marker="D", s=16, label="recall", zorder=3)
    axes.hlines(places, ends[:, 0], ends[:, 1], color=THIRD, linewidth=1, label="95 % interval of recall")
    for place in np.flatnonzero(np.isnan(values[:, 0])).tolist():
        axes.text(0.01, place, "– (no images)", va="center", color=NEUTRAL)
    axes.set_yticks(
        places, [_short(each.class_name) for each in scores], fontsize=_name_size(len(scores)), fontfamily=list(fonts())
    )
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _plain(axes)
    axes.legend(frameon=False, ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def reliability(diagrams: Sequence[tuple[str, Sequence[Bin]]]) -> Figure:
    """Draw accuracy over confidence with the share of images, one diagram beside the other under their titles."""
    figure = _figure(3.6 * len(diagrams), 3.6)
    for axes, (title, bins) in zip(np.atleast_1d(figure.subplots(1, len(diagrams))), diagrams, strict=True):
        total = max(sum(each.num_images for each in bins), 1)
        filled = [each for each in bins if each.num_images]
        middles, width = [(each.low + each.high) / 2 for each in filled], 0.94 / len(bins)
        axes.bar(middles, [each.accuracy for each in filled], width, color=BAR, label="accuracy")
        shares = [each.num_images / total for each in filled]
        axes.bar(middles, shares, 0.35 * width, color=NEUTRAL, label="share of images")
        axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1, label="perfect")
        axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        _plain(axes)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
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
    size = _name_size(num_classes)
    axes.set_xticks(
        list(shown), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=size, fontfamily=list(fonts())
    )
    axes.set_yticks(list(shown), names, fontsize=size, fontfamily=list(fonts()))
    axes.tick_params(length=2)


def _name_size(num_classes: int) -> float:
    return 10 if num_classes <= NUMBERED_UP_TO else max(5.0, 10 - num_classes / 20)


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


def _draw_line(axes: Axes, rows: Sequence[Row], column: str, colour: str, label: str, style: str = "-") -> None:
    points = [
        (float(epoch), float(value))
        for row in rows
        if (epoch := row["epoch"]) is not None and (value := row[column]) is not None and abs(value) < LARGEST
    ]
    marker = "o" if len(points) <= 20 else ""
    epochs, values = [epoch for epoch, _ in points], [value for _, value in points]
    axes.plot(epochs, values, style, color=colour, label=label, marker=marker, markersize=3, linewidth=1.4)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, 1.02 * max([1.0, *(float(row["epoch"] or 0) for row in rows)]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)


def _legends(loss: Axes, accuracy: Axes) -> None:
    """Lines are named beside the loss, marked epochs beside the accuracy, where nobody looks twice."""
    loss.legend(frameon=False)
    marks = [line for line in accuracy.lines if not str(line.get_label()).startswith(("_", "train", "val"))]
    if marks:
        # on white, since marked epochs often lie behind it
        accuracy.legend(handles=marks, edgecolor="none", framealpha=0.9, fontsize=8, loc="lower right")


def _plain(axes: Axes) -> None:
    """Nothing but a light grid behind the data."""
    axes.grid(color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name: str) -> str:
    """A class name as a tick label; a dollar sign would start a formula."""
    text = legible(printable(name))
    cut = text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…"
    return cut.replace("$", r"\$")
