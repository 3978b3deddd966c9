"""Where the parts of a chart stand, and what they say."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from cifarlab.drawing.charts.description import Bar, BarChart, LineChart, Mark, Reliability, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.evaluation.calibration import Bin

HOSTILE = "<script>\"'&</script>🐱" + "x" * 300


def parse(chart: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(str(chart))


def with_class(chart: Markup, tag: str, name: str) -> list[ElementTree.Element]:
    drawing = parse(chart).find("div[@class='drawing']")
    return [element for element in drawing.iter(tag) if name in element.get("class", "").split()]


def titles(chart: Markup) -> list[str]:
    return [element.text for element in parse(chart).iter("title")]


def drawn_line(chart: Markup, number: int = 0) -> np.ndarray:
    path = with_class(chart, "path", "line")[number].get("d")
    return np.array([[float(value) for value in point.split(",")] for point in path.removeprefix("M").split("L")])


def lines(*series: Series, **options) -> Markup:
    return to_svg(LineChart("Loss", "epoch", "loss", series, **options))


def bars(*bars: Bar, title: str = "t", **options) -> Markup:
    return to_svg(BarChart(title, "x", bars, **options))


def test_points_lie_in_proportion() -> None:
    points = drawn_line(lines(Series("train", [(1, 4.0), (2, 3.0), (5, 1.0)])))
    x, y = points.T
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 4, abs=1e-3)
    assert (y[1] - y[0]) / (y[2] - y[0]) == pytest.approx(1 / 3, abs=1e-3)
    assert y[0] < y[1], "a larger value stands higher"


def test_a_logarithmic_axis_spaces_factors_evenly() -> None:
    x = drawn_line(lines(Series("loss", [(0.01, 1), (0.1, 2), (1, 3)]), x_log=True))[:, 0]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)


def test_each_place_says_what_every_line_is_worth_there() -> None:
    chart = lines(Series("train", [(1, 2.0), (2, 1.0)]), Series("val", [(2, 1.5)]))
    assert titles(chart) == ["epoch 1\ntrain: 2", "epoch 2\ntrain: 1\nval: 1.5"]


def test_bands_cover_the_drawing_without_gaps_and_are_not_too_many() -> None:
    chart = lines(Series("a", [(x, x) for x in range(1001)]))
    bands = [(float(e[1].get("x")), float(e[1].get("width"))) for e in with_class(chart, "g", "band")]
    assert 200 <= len(bands) <= 400
    assert all(x + width == pytest.approx(after, abs=0.11) for (x, width), (after, _) in pairwise(bands))


def test_lines_differ_in_more_than_colour() -> None:
    chart = lines(Series("train", [(1, 1), (2, 2)], 0, dashed=True), Series("val", [(1, 2), (2, 1)], 1))
    train, val = with_class(chart, "path", "line")
    assert "dashed" in train.get("class") and "dashed" not in val.get("class")
    assert len(with_class(chart, "circle", "dot")) == len(with_class(chart, "rect", "dot")) == 2


def test_what_is_no_number_is_left_out() -> None:
    nan, infinity = float("nan"), float("inf")
    chart = lines(Series("a", [(1, 1), (2, nan), (nan, 1), (3, infinity), (4, -1e200), (5, 2)]))
    assert len(drawn_line(chart)) == 2 and titles(chart) == ["epoch 1\na: 1", "epoch 5\na: 2"]


def test_nothing_to_draw_is_said() -> None:
    for chart in (lines(), lines(Series("a", [])), bars()):
        assert "nothing to draw" in "".join(parse(chart).itertext())


def test_marks_are_named_above_the_drawing_and_stay_on_it() -> None:
    chart = lines(Series("a", [(0, 1), (10, 2)]), marks=[Mark(2, "best, epoch 2"), Mark(10, "early stopping")])
    first, second = with_class(chart, "text", "mark")
    assert (first.text, second.text) == ("best, epoch 2", "early stopping")
    assert first.get("text-anchor") == "start" and second.get("text-anchor") == "end"
    assert float(first.get("y")) < float(second.get("y")) < drawn_line(chart)[:, 1].min()


def test_a_chart_is_described_in_words() -> None:
    chart = lines(Series("train", [(1, 0.25), (2, 0.5)]), percent=True)
    drawing = parse(chart).find(".//svg[@role='img']")
    assert drawing.get("aria-label") == "Loss: train from 25 % to 50 %"
    assert parse(chart).findtext("figcaption") == "Loss"


def test_a_legend_names_lines_unless_the_axis_does() -> None:
    assert "legend" not in lines(Series("loss", [(1, 1)])) and "legend" in lines(Series("train", [(1, 1)]))


def test_what_lies_beyond_the_limits_is_clipped_and_single_measurements_have_no_line() -> None:
    series = Series("batches", [(1, 1), (2, 100)], scattered=True), Series("smoothed", [(1, 1), (2, 2)])
    chart = lines(*series, y_limits=(0, 3))
    (clipped,) = [svg for svg in parse(chart).iter("svg") if svg.get("x")]
    assert len(with_class(chart, "path", "line")) == 1 and len(with_class(chart, "g", "faint")) == 1
    assert float(clipped.get("y")) + float(clipped.get("height")) > drawn_line(chart)[0, 1] > float(clipped.get("y"))


def test_values_as_points_show_which_differ_from_zero() -> None:
    chart = bars(Bar("a", 2, (1, 3)), Bar("b", 1, (-1, 3)), percent=False, points=True)
    (certain, unclear) = with_class(chart, "circle", "dot")
    assert "c0" in certain.get("class") and "c6" in unclear.get("class")
    assert not widths(chart) and len(with_class(chart, "path", "whisker")) == 2


def widths(chart: Markup) -> list[tuple[float, float]]:
    return [(float(e.get("x")), float(e.get("width"))) for e in with_class(chart, "rect", "bar")]


def test_bars_begin_at_zero_and_are_in_proportion() -> None:
    chart = bars(Bar("a", 0.4), Bar("b", -0.2))
    (left, width), (other_left, other_width) = widths(chart)
    assert width == pytest.approx(2 * other_width, abs=0.2)
    assert other_left + other_width == pytest.approx(left, abs=0.2)
    assert len(with_class(chart, "line", "zero")) == 1


def test_whiskers_and_dots_stand_where_their_values_are() -> None:
    bar = Bar("cat", 0.5, (0.25, 0.75), (1.0,), "9 images")
    chart = bars(bar, value_name="F1", dot_names=["recall"], limits=(0, 1))
    (left, width) = widths(chart)[0]
    path = with_class(chart, "path", "whisker")[0].get("d")
    low, high = float(path[1:].split(",")[0]), float(path.split("H")[1].split("m")[0])
    assert (low, high) == pytest.approx((left + width / 2, left + 1.5 * width), abs=0.2)
    assert float(with_class(chart, "rect", "dot")[0].get("x")) == pytest.approx(left + 2 * width, abs=0.2)
    assert titles(chart) == ["cat\nF1: 50 %\ninterval: 25 % to 75 %\nrecall: 100 %\n9 images"]


def test_dots_of_equal_values_and_the_whisker_do_not_hide_each_other() -> None:
    chart = bars(Bar("cat", 0.5, (0.25, 0.75), (0.5, 0.5)), dot_names=["precision", "recall"], limits=(0, 1))
    square = float(with_class(chart, "rect", "dot")[0].get("y"))
    diamond = float(with_class(chart, "path", "dot")[0].get("d").split(",")[1].split("m")[0])
    (bar,) = with_class(chart, "rect", "bar")
    middle = float(bar.get("y")) + float(bar.get("height")) / 2
    assert square + 3 < middle < diamond - 4.2, "3 and 4.2: half their heights"
    assert "interval" in chart.split("</div>")[0], "the legend names the whisker"


def test_n17_a_bar_without_a_value_is_a_dash() -> None:
    cat, owl = Bar("cat", 0.5, (0.25, 0.75), (1.0,)), Bar("owl", None, note="0 images")
    chart = bars(cat, owl, value_name="F1", interval_name="interval of recall", dot_names=["recall"])
    assert titles(chart) == ["cat\nF1: 50 %\ninterval of recall: 25 % to 75 %\nrecall: 100 %", "owl\nF1: –\n0 images"]
    assert [width for _, width in widths(chart)][1] == 0 and ">–</text>" in chart


def test_bars_that_are_all_zero_can_be_drawn() -> None:
    assert [width for _, width in widths(bars(Bar("a", 0), Bar("b", 0)))] == [0, 0]


def test_reliability_bars_reach_the_diagonal_where_confidence_is_accuracy() -> None:
    bins = [Bin(0.0, 0.5, 0, 0, 0), Bin(0.5, 1.0, 10, 0.75, 0.75)]
    chart = to_svg(Reliability("Reliability", bins))
    (bar,) = with_class(chart, "rect", "bar")
    (diagonal,) = with_class(chart, "line", "diagonal")
    y1, y2 = float(diagonal.get("y1")), float(diagonal.get("y2"))
    assert float(bar.get("y")) == pytest.approx(y1 + 0.75 * (y2 - y1), abs=0.1)
    assert float(bar.get("y")) + float(bar.get("height")) == pytest.approx(y1, abs=0.2)
    (share,) = with_class(chart, "rect", "share")
    assert float(share.get("height")) == pytest.approx(y1 - y2, abs=0.2), "all images are in this bin"
    assert "10 images, 100.0%" in titles(chart)[0]


@pytest.mark.parametrize(
    "chart",
    [
        lines(Series(HOSTILE, [(1, 1), (2, 2)]), Series("b", [(1, 1)]), marks=[Mark(1, HOSTILE)]),
        to_svg(LineChart(HOSTILE, HOSTILE, HOSTILE, [Series("a", [(1, 1)])])),
        bars(Bar(HOSTILE, 1, note=HOSTILE), title=HOSTILE),
    ],
)
def test_names_are_text(chart: Markup) -> None:
    tree = parse(chart)
    assert not list(tree.iter("script"))
    everything = "".join(tree.itertext()) + "".join(value for e in tree.iter() for value in e.attrib.values())
    assert "<script>\"'&</script>🐱" in everything or "<script>\"'&</scri…" in everything
