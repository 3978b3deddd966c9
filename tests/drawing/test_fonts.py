"""Names in any script: which font draws them, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.drawing import fonts
from cifarlab.drawing.charts.description import Matrix
from cifarlab.drawing.charts.png import draw
from cifarlab.drawing.fonts import FIRST, MISSING, face_of, families, legible
from cifarlab.drawing.grid import render_grid

NAMES = {"猫": "Noto Sans CJK SC", "ねこ": "Noto Sans CJK SC", "बिल्ली": "Noto Sans Devanagari", "แมว": "Noto Sans Thai"}
INSTALLED = [name for name, _ in fonts._fonts()]

needs_fonts = pytest.mark.skipif(
    not set(NAMES.values()) <= set(INSTALLED), reason="needs fonts-noto-cjk and fonts-noto-core"
)


@pytest.fixture(autouse=True)
def _forget() -> None:
    fonts._warn_of.cache_clear()


@needs_fonts
@pytest.mark.parametrize(("text", "family"), NAMES.items())
def test_a_script_is_drawn_from_a_font_that_has_it(text: str, family: str, caplog: pytest.LogCaptureFixture) -> None:
    assert families(text) == [FIRST, family] and face_of(text) == dict(fonts._fonts())[family]
    assert legible(text) == text and not caplog.records


def test_latin_arabic_and_cyrillic_need_the_first_font_only() -> None:
    for text in ("cat", "قطة", "кошка", "café", ""):
        assert families(text) == [FIRST] and face_of(text).file.name == "DejaVuSans.ttf"


@needs_fonts
def test_names_in_all_scripts_leave_ink_that_differs_from_missing_letters() -> None:
    def picture(text: str) -> bytes:
        return render_grid(np.zeros((1, 3, 32, 32), np.uint8), [text], 1, scale=3).tobytes()

    assert len({picture(name) for name in (*NAMES, "قطة", MISSING)}) == len(NAMES) + 2


@needs_fonts
def test_a_figure_with_all_scripts_is_drawn_without_a_warning() -> None:
    names = [*NAMES, "قطة"]
    figure = draw([Matrix("", np.eye(len(names), dtype=np.int64), names)])
    figure.canvas.draw()  # matplotlib warns of a letter that it cannot draw, and a warning is an error here


def test_letters_that_no_font_has_are_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = fonts._fonts()[0]
    monkeypatch.setattr(fonts, "_fonts", lambda: (first,))
    fonts._family.cache_clear()
    try:
        assert legible("猫 cat") == f"{MISSING} cat" and legible("犬") == MISSING and legible("बि") == MISSING * 2
        assert families("猫 cat") == [FIRST]
    finally:
        fonts._family.cache_clear()
    assert [record.getMessage().splitlines() for record in caplog.records] == [
        [
            "Figures show □ for letters of the script CJK, which no font of this computer has.",
            "Install one, such as Noto Sans CJK (Debian and Ubuntu: fonts-noto-cjk), and draw again with: "
            "cifarlab report RUN",
        ],
        [
            "Figures show □ for letters of the script DEVANAGARI, which no font of this computer has.",
            "Install one, such as Noto Sans Devanagari (Debian and Ubuntu: fonts-noto-core), and draw again with: "
            "cifarlab report RUN",
        ],
    ]


def test_a_font_that_was_installed_after_matplotlib_looked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(face_of("a").file)
    known = [font for font in fonts.fontManager.ttflist if font.fname != file]
    monkeypatch.setattr(fonts.fontManager, "ttflist", known)
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [file, "/not/there.ttf"])
    assert not [font for font in known if Path(font.fname) == Path(file)]
    dict(fonts._installed())
    assert [font.name for font in fonts.fontManager.ttflist if font.fname == file] == [FIRST]
