from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cifarlab.drawing import charts
from cifarlab.evaluation import metrics
from cifarlab.evaluation.statistics import wilson
from cifarlab.runs.folder import COLUMNS, Row

MATRIX = np.array([[90, 10, 0], [0, 0, 0], [3, 1, 96]])


def row(epoch: int, val: float | None) -> Row:
    values = dict.fromkeys(COLUMNS, 1.0)
    return {**values, "epoch": epoch, "train/loss": 2 / epoch, "val/loss": val, "val/accuracy": val}


def texts(figure: charts.Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_matrix_shows_shares_as_colour_and_counts_as_text() -> None:
    figure = charts.confusion_matrix(MATRIX, ["cat", "dog", "owl"])
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
    figure = charts.confusion_matrix(matrix, [str(number) for number in range(18)])
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
    figure = charts.confusion_matrix(MATRIX, ["a", "b", "c"])
    image = figure.axes[0].images[0]
    steps = [_luminance(image.cmap(image.norm(share))[:3]) for share in np.linspace(0, 1, 50)]
    assert all(a > b for a, b in pairwise(steps))


def test_many_classes_show_colour_alone_and_every_name_up_to_a_hundred() -> None:
    figure = charts.confusion_matrix(np.eye(100, dtype=np.int64), [f"class {i}" for i in range(100)])
    assert texts(figure) == [] and len(figure.axes[0].get_yticklabels()) == 100
    figure = charts.confusion_matrix(np.eye(250, dtype=np.int64), [f"class {i}" for i in range(250)])
    assert len(figure.axes[0].get_yticklabels()) <= 100


@pytest.mark.parametrize("name", ["$x$", "$", "a\nb", "x" * 300, ""])
def test_any_class_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    charts.save_png(charts.confusion_matrix(MATRIX, [name, "dog", "owl"]), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        assert image.width < 3000


def test_one_class_and_no_images(tmp_path: Path) -> None:
    charts.save_png(charts.confusion_matrix(np.zeros((1, 1), np.int64), ["only"]), tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 0


def test_n17_a_class_without_images_has_a_dash_and_n39_recall_its_interval() -> None:
    found = metrics.per_class(np.array([[8, 2, 0], [0, 0, 0], [0, 0, 5]]), ("cat", "dog", "owl"))
    axes = charts.per_class(found).axes[0]
    assert [text.get_text() for text in axes.texts] == ["– (no images)"] and axes.texts[0].get_position()[1] == 1
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([16 / 18, 0, 1])
    lines = axes.collections[-1].get_segments()
    low, high = wilson(8, 10)
    assert lines[0].tolist() == [[pytest.approx(low), 0], [pytest.approx(high), 0]]


def test_curves_show_train_and_val_where_there_is_val() -> None:
    figure = charts.curves([row(1, None), row(2, 0.5), row(3, None), row(4, 0.25)])
    loss, accuracy, lr = figure.axes
    train, val = loss.lines
    assert list(train.get_xdata()) == [1, 2, 3, 4] and list(train.get_ydata()) == [2, 1, 2 / 3, 0.5]
    assert list(val.get_xdata()) == [2, 4] and list(val.get_ydata()) == [0.5, 0.25]
    assert [axes.get_ylabel() for axes in (loss, accuracy, lr)] == ["loss", "accuracy", "learning rate"]
    assert train.get_color() != val.get_color() and train.get_linestyle() != val.get_linestyle()


def test_curves_without_validation_or_epochs(tmp_path: Path) -> None:
    figure = charts.curves([row(1, None)])
    assert len(figure.axes[0].lines) == 1
    charts.save_png(figure, tmp_path / "one.png")
    charts.save_png(charts.curves([]), tmp_path / "none.png")


def test_figures_leave_no_global_state_and_are_repeatable(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        charts.save_png(charts.confusion_matrix(MATRIX, ["cat", "dog", "owl"]), tmp_path / name)
    assert plt.get_fignums() == []
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).verify()
