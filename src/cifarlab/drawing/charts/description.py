"""What a chart shows, described once where its data is, and then drawn twice: by svg.py on a page, by png.py in a file.

A renderer decides sizes, colours and marks. What is shown, in which words and on which axes is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifarlab.drawing.charts.axis import Axis
from cifarlab.evaluation.calibration import Bin
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.language import tr

LARGEST = 1e100
"""Values from here on come from a network that diverged, and are not drawn."""
NUMBERED_UP_TO = 20
"""Classes of a confusion matrix whose cells show their numbers; with more, it shows colour alone."""
GAMMA = 0.4
"""The colour of a cell is its share to this power, so that confusions of a few percent can be seen."""
NUM_COLOURS = 7
"""Colours of series: blue, vermilion, green, purple, brown, light blue, grey; both renderers know them by number."""


@dataclass(frozen=True)
class Series:
    """One line of a line chart: points (x, y), of which those beyond LARGEST and those that are NaN are left out."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False
    scattered: bool = False
    """Faint dots without a line, for single measurements behind their mean."""

    @property
    def drawable(self) -> Series:
        """The same series with the points that can be drawn, from left to right."""
        return replace(self, points=sorted((x, y) for x, y in self.points if abs(x) < LARGEST and abs(y) < LARGEST))


class Mark(NamedTuple):
    """A vertical line at a place on the x axis, with its name."""

    x: float
    text: str


@dataclass(frozen=True)
class LineChart:
    """Lines over one x axis. `percent`: y values are fractions in 0..1, shown as percentages."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    percent: bool = False
    from_zero: bool = False
    x_log: bool = False
    y_limits: tuple[float, float] | None = None
    """Ends of the y axis where outliers would squeeze the rest flat; what lies beyond is cut off."""

    @property
    def lines(self) -> list[Series]:
        """The series with the points that can be drawn."""
        return [each.drawable for each in self.series]

    @property
    def is_empty(self) -> bool:
        """Whether no series has a point that can be drawn; such a chart has no axes."""
        return not any(line.points for line in self.lines)

    @property
    def x_axis(self) -> Axis:
        """The axis from the first point to the last."""
        # Marks do not widen it: they name places that the lines have.
        return Axis.along([x for line in self.lines for x, _ in line.points], log=self.x_log)

    @property
    def y_axis(self) -> Axis:
        """The axis around all points, or between the limits."""
        if self.y_limits is not None:
            return Axis(*self.y_limits, percent=self.percent)
        values = [y for line in self.lines for _, y in line.points]
        # With 0 among the values, heights are in proportion, as those of learning rates should be.
        return Axis.around([*values, 0.0] if self.from_zero else values, percent=self.percent)

    @property
    def needs_legend(self) -> bool:
        """Whether the lines' names say more than the y axis does."""
        return any(each.name != self.y_label for each in self.series)


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart.

    `dots` are further values, one for each name in the chart's `dot_names`; `note` is added to the row's tooltip.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    dots: Sequence[float] = ()
    note: str = ""

    @property
    def is_certain(self) -> bool:
        """Whether the value differs from 0 by more than its interval."""
        return self.interval is None or not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars from zero, in the given order from the top; a bar without a value is a dash.

    `percent`: values are fractions in 0..1, shown as percentages. `limits`: what the axis has to span at least.
    """

    title: str
    x_label: str
    bars: Sequence[Bar]
    value_name: str = field(default_factory=lambda: tr("value"))
    interval_name: str = field(default_factory=lambda: tr("interval"))
    dot_names: Sequence[str] = ()
    percent: bool = True
    limits: tuple[float, float] | None = None
    points: bool = False
    """Draw values as points on their intervals instead of bars (a forest plot), grey where the interval includes 0."""

    @property
    def axis(self) -> Axis:
        """The x axis, which always includes 0."""
        values = [value for bar in self.bars for value in (bar.value or 0.0, *(bar.interval or ()), *bar.dots)]
        return Axis.around([0.0, *(self.limits or values)], percent=self.percent)  # a bar's length is its value


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: counts (C, C), row = label, column = prediction, and the names of the classes (C,)."""

    title: str
    counts: NDArray[np.int64]
    names: Sequence[str]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Matrix:
        """Describe the confusion matrix of an evaluation."""
        return cls(tr("Labels and predictions"), np.array(evaluation.confusion_matrix), evaluation.class_names)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each count as a fraction of its row, (C, C); a row without images is all zeros."""
        shares: NDArray[np.float64] = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return shares


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: accuracy over confidence, and how many images have that confidence."""

    title: str
    bins: Sequence[Bin]

    @property
    def filled(self) -> list[tuple[Bin, float]]:
        """The bins that hold images, each with its share of all images."""
        total = sum(each.num_images for each in self.bins)
        return [(each, each.num_images / total) for each in self.bins if each.num_images]


Chart = LineChart | BarChart | Matrix | Reliability


@dataclass(frozen=True)
class Figure:
    """A PNG file, by its name without suffix, and the charts that stand side by side in it."""

    name: str
    charts: Sequence[Chart]
