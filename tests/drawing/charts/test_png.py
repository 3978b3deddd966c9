from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from PIL import Image

from cifarlab.drawing.charts import png
from cifarlab.drawing.charts.description import Bar, BarChart, LineChart, Mark, Matrix, Reliability, Series
from cifarlab.drawing.charts.png import draw, write_png
from cifarlab.evaluation.calibration import Bin

MATRIX = np.array([[90, 10, 0], [0, 0, 0], [3, 1, 96]])


def confusion(counts: np.ndarray, names: Sequence[str]) -> Matrix:
    return Matrix("Confusion matrix", counts, names)


def lines(*series: Series, y_label: str = "loss", **options) -> LineChart:
    return LineChart("Loss", "epoch", y_label, series, **options)


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []


def texts(figure: Drawing) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_matrix_shows_shares_as_colour_and_counts_as_text() -> None:
    figure = draw([confusion(MATRIX, ["cat", "dog", "owl"])])
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[0.9, 0.1, 0], [0, 0, 0], [0.03, 0.01, 0.96]])
    assert texts(figure) == ["90", "10", "3", "1", "96"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog", "owl"]
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("label", "prediction")


@pytest.mark.parametrize("first", range(1, 100, 18))
def test_counts_can_be_read_on_their_colour(first: int) -> None:
    """Contrast of at least 4.5 between text and cell (WCAG 2.1, success criterion 1.4.3) at every share in percent."""
    matrix = np.zeros((18, 18), np.int64)
    matrix[:, 0] = np.arange(first, first + 18)
    matrix[:, 1] = np.maximum(100 - matrix[:, 0], 0)
    figure = draw([confusion(matrix, [str(number) for number in range(18)])])
    image = figure.axes[0].images[0]
    assert len(figure.axes[0].texts) >= 18
    for text in figure.axes[0].texts:
        column, line = (round(value) for value in text.get_position())
        cell = image.cmap(image.norm(image.get_array()[line, column]))
        dark, light = sorted((_luminance(cell[:3]), _luminance(to_rgb(text.get_color()))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_map_goes_from_light_to_dark_for_print() -> None:
    figure = draw([confusion(MATRIX, ["a", "b", "c"])])
    image = figure.axes[0].images[0]
    steps = [_luminance(image.cmap(image.norm(share))[:3]) for share in np.linspace(0, 1, 50)]
    assert all(a > b for a, b in pairwise(steps))


def test_many_classes_show_colour_alone_and_every_name_up_to_a_hundred() -> None:
    figure = draw([confusion(np.eye(100, dtype=np.int64), [f"class {i}" for i in range(100)])])
    assert texts(figure) == [] and len(figure.axes[0].get_yticklabels()) == 100
    figure = draw([confusion(np.eye(250, dtype=np.int64), [f"class {i}" for i in range(250)])])
    assert len(figure.axes[0].get_yticklabels()) <= 100


@pytest.mark.parametrize("name", ["$x$", "$", "a\nb", "x" * 300, ""])
def test_any_class_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    write_png([confusion(MATRIX, [name, "dog", "owl"])], tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        assert image.width < 3000


def test_one_class_and_no_images(tmp_path: Path) -> None:
    write_png([confusion(np.zeros((1, 1), np.int64), ["only"])], tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 0


def test_n17_a_bar_without_a_value_has_a_dash_and_n39_a_bar_its_interval() -> None:
    found = [Bar("cat", 0.9, (0.7, 1.0), (0.8, 1.0)), Bar("dog", None, note="0 images"), Bar("owl", 1.0, None, (1, 1))]
    axes = draw([BarChart("Classes", "score", found, dot_names=("precision", "recall"), limits=(0, 1))]).axes[0]
    assert [text.get_text() for text in axes.texts] == [" – (0 images)"] and axes.texts[0].get_position()[1] == 1
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.9, 0, 1])
    interval, precision, recall = axes.collections
    assert interval.get_segments()[0].tolist() == [[0.7, 0], [1.0, 0]]
    above, below = precision.get_offsets(), recall.get_offsets()
    assert above[:, 0].tolist() == [0.8, 1] and below[:, 0].tolist() == [1, 1]
    # in their row, on both sides of the interval, so that equal values do not hide each other
    assert ((above[:, 1] < [0, 2]) & (below[:, 1] > [0, 2])).all() and (below[:, 1] - above[:, 1] < 0.5).all()
    assert sorted(legend(axes)) == ["interval", "precision", "recall", "value"]


def test_values_as_points_are_grey_where_their_interval_includes_zero() -> None:
    found = [Bar("a", 2.0, (1.0, 3.0)), Bar("b", 1.0, (-1.0, 3.0))]
    axes = draw([BarChart("Worth", "points", found, percent=False, points=True)]).axes[0]
    certain, certain_interval, unclear, unclear_interval, zero = axes.lines
    assert certain.get_color() == certain_interval.get_color() != unclear.get_color() == unclear_interval.get_color()
    assert list(unclear_interval.get_xdata()) == [-1, 3] and list(zero.get_xdata()) == [0, 0]


def test_lines_lie_where_their_points_are_and_differ_in_more_than_colour() -> None:
    train, val = Series("train", [(2, 1.0), (1, 2.0)], 0, dashed=True), Series("val", [(2, 0.5), (3, float("nan"))], 1)
    axes = draw([lines(train, val)]).axes[0]
    first, second = axes.lines
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([1, 2], [2, 1]) and list(second.get_xdata()) == [2]
    assert first.get_color() != second.get_color() and first.get_linestyle() != second.get_linestyle()
    assert (axes.get_xlabel(), axes.get_ylabel(), legend(axes)) == ("epoch", "loss", ["train", "val"])


def test_every_name_is_given_once() -> None:
    pair, marks = (Series("train", [(1, 1)]), Series("val", [(1, 2)], 1)), [Mark(1, "best")]
    rate = lines(Series("lr", [(1, 1)]), y_label="lr", marks=marks)
    drawn = draw([lines(*pair, marks=marks), lines(*pair, marks=marks), rate]).axes
    assert [legend(axes) for axes in drawn] == [["train", "val"], ["best"], []]
    assert [len(axes.lines) for axes in drawn] == [3, 3, 2], "marks are drawn everywhere"
    assert legend(draw([lines(*pair, marks=marks)]).axes[0]) == ["train", "val", "best"]


def test_limits_and_a_logarithmic_axis_hold() -> None:
    chart = lines(Series("batches", [(1e-4, 1), (1, 50)], scattered=True), x_log=True, y_limits=(0, 3))
    axes = draw([chart]).axes[0]
    assert axes.get_ylim() == (0, 3) and axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < 1e-4 and axes.get_xlim()[1] > 1
    assert axes.lines[0].get_linestyle() == "None"


def test_reliability_shows_bins_with_images_beside_each_other() -> None:
    bins = [Bin(0.0, 0.5, 0, 0, 0), Bin(0.5, 1.0, 10, 0.75, 0.8)]
    drawn = draw([Reliability("before", bins), Reliability("after", bins)]).axes
    assert [axes.get_title() for axes in drawn] == ["before", "after"]
    assert [bar.get_height() for bar in drawn[0].patches] == [0.8, 1.0]


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    write_png([lines(), lines(Series("a", []))], tmp_path / "none.png")
    assert texts(draw([lines()])) == ["There is nothing to draw."]


def test_letters_that_dejavu_lacks_are_taken_from_other_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "families", lambda text: ["DejaVu Sans", "Another"] if text == "owl" else ["DejaVu Sans"])
    figure = draw([confusion(MATRIX, ["cat", "dog", "owl"])])
    labels = {label.get_text(): label.get_fontfamily() for label in figure.axes[0].get_yticklabels()}
    assert labels == {"cat": ["DejaVu Sans"], "dog": ["DejaVu Sans"], "owl": ["DejaVu Sans", "Another"]}


def test_figures_leave_no_global_state_and_are_repeatable(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_png([confusion(MATRIX, ["cat", "dog", "owl"])], tmp_path / name)
    assert plt.get_fignums() == []
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).verify()
