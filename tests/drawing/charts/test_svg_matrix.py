"""A confusion matrix on a page: counts and percent, to be read on their colours in light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from cifarlab.drawing import page
from cifarlab.drawing.charts import png
from cifarlab.drawing.charts import svg_matrix as module
from cifarlab.drawing.charts.description import Matrix
from cifarlab.drawing.charts.svg_matrix import DARK
from cifarlab.drawing.charts.svg_parts import CHARACTER

COUNTS = np.array([[90, 10, 0], [0, 0, 0], [3, 1, 96]])
NAMES = ("cat", "<b>dog</b>", "owl")


def matrix(counts: np.ndarray, names: Sequence[str]) -> str:
    return module.draw_matrix(Matrix("Confusion", counts, names))


def cells(chart: str) -> list[ElementTree.Element]:
    return [group for group in ElementTree.fromstring(chart).iter("g") if group.get("class") == "tip"]


def test_cells_show_count_and_percent_and_say_both_when_pointed_at() -> None:
    found = cells(matrix(COUNTS, NAMES))
    assert [[text.text for text in cell.iter("text")] for cell in found] == [
        ["90", "90.0 %"],
        ["10", "10.0 %"],
        ["3", "3.0 %"],
        ["1", "1.0 %"],
        ["96", "96.0 %"],
    ]
    assert [cell.findtext("title") for cell in found][:2] == [
        "cat recognised\n90 images, 90.0 % of cat",
        "cat predicted as <b>dog</b>\n10 images, 10.0 % of cat",
    ]


def test_rows_are_labels_and_columns_predictions() -> None:
    first, second, *_, last = (cell.find("rect") for cell in cells(matrix(COUNTS, NAMES)))
    assert first.get("y") == second.get("y") and float(first.get("x")) < float(second.get("x"))
    assert float(last.get("x")) > float(first.get("x")) and float(last.get("y")) > float(first.get("y"))


def test_beside_short_names_there_is_still_room_for_the_word_label() -> None:
    chart = matrix(np.array([[8, 1], [0, 9]]), ("a", "b"))
    place = re.search(r'translate\(([\d.]+),[\d.]+\)" text-anchor="end">label', chart)
    assert place is not None and float(place[1]) > len("label ↓") * CHARACTER


def colours(mode: str) -> dict[str, tuple[float, ...]]:
    """The colours of page.html in light or dark."""
    text = (Path(page.__file__).parent / "page.html").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    found = re.findall(r"--([\w-]+): #(\w{6});", dark if mode == "dark" else light)
    return {name: tuple(int(value[i : i + 2], 16) for i in (0, 2, 4)) for name, value in found}


def luminance(colour: tuple[float, ...]) -> float:
    shares = [value / 255 for value in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_numbers_can_be_read_on_every_colour(mode: str) -> None:
    """Contrast of at least 4.5, WCAG 2.1, success criterion 1.4.3."""
    known = colours(mode)
    for opacity in np.linspace(0, 1, 201):
        cell = tuple(p * (1 - opacity) + m * opacity for p, m in zip(known["paper"], known["map"], strict=True))
        assert contrast(cell, known["map-ink" if opacity >= DARK else "cell-ink"]) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_can_be_read_and_lines_can_be_told_from_the_paper(mode: str) -> None:
    known = colours(mode)
    assert min(contrast(known["paper"], known[name]) for name in ("ink", "soft", "link", "c1")) >= 3
    assert min(contrast(known["paper"], known[name]) for name in ("ink", "soft", "link")) >= 4.5
    assert min(contrast(known["paper"], known[f"c{number}"]) for number in range(7)) >= 3


def test_files_have_the_colours_of_the_page_in_light_mode() -> None:
    known = colours("light")
    wanted = {**{f"c{number}": colour for number, colour in enumerate(png.COLOURS)}, "bar": png.BAR, "ink": png.INK}
    for name, colour in wanted.items():
        assert known[name] == tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_more_classes_show_colour_alone_and_fit_the_page() -> None:
    chart = matrix(np.eye(150, dtype=np.int64), [f"class {i}" for i in range(150)])
    assert len(cells(chart)) == 150 and not [cell for cell in cells(chart) if cell.find("text") is not None]
    width = float(ElementTree.fromstring(chart).find(".//svg").get("viewBox").split()[2])
    assert width < 800


def test_of_very_many_cells_the_largest_are_drawn_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS_UP_TO", 2)
    chart = matrix(COUNTS, NAMES)
    assert [cell.findtext("title").split("\n")[0] for cell in cells(chart)] == ["cat recognised", "owl recognised"]
    assert "only the 2 largest counts" in ElementTree.fromstring(chart).find(".//svg").get("aria-label")
