"""Fonts for names in any script in PNG files, as far as this computer has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

FIRST = "DejaVu Sans"
"""Comes with matplotlib, so figures look the same on every computer."""
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
)
"""Common fonts for scripts that DejaVu Sans lacks; those that are installed are used, in this order."""
MISSING = "□"
"""Drawn for a letter that no font has."""


@cache  # matplotlib's list of installed fonts is long, and every name that is drawn asks
def fonts() -> dict[str, Path]:
    """The fonts to look for a letter in, first to last, and their files."""
    first = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    installed = {font.name: Path(font.fname) for font in fontManager.ttflist}
    return {FIRST: first, **{name: installed[name] for name in FALLBACKS if name in installed}}


def legible(text: str) -> str:
    """Replace letters that no font has by MISSING."""
    # Letter by letter, since matplotlib takes each from the first font that has it, and warns when none has.
    return "".join(letter if any(_has(file, letter) for file in fonts().values()) else MISSING for letter in text)


def font_file(text: str) -> Path:
    """Find the first font that has every letter of a text, or the first of all if none has."""
    # Pillow draws a whole text from one font file.
    complete = (file for file in fonts().values() if all(_has(file, letter) for letter in text))
    return next(complete, fonts()[FIRST])


@cache
def _has(file: Path, letter: str) -> bool:
    return bool(_open(file).get_char_index(ord(letter)))


@cache
def _open(file: Path) -> FT2Font:
    return FT2Font(str(file))
