"""Fonts for names in any script in PNG files, as far as this computer has them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font

from cifarlab.console import log
from cifarlab.language import tr

FIRST = "DejaVu Sans"
"""Comes with matplotlib, so figures look the same on every computer."""
PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "Noto Emoji",
)
"""Looked through before all other fonts, in this order: letters that several have look alike in all names."""
SANS = ("Noto Sans ", "Arial Unicode MS", "Segoe UI", "Lohit", "Nirmala", "Leelawadee", "Mangal")
"""How the names of fonts begin that are tried next: without serifs, like the first one."""
MISSING = "□"
"""Drawn for a letter that no font has."""
EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
"""Scripts, by the first word of their letters' names in Unicode, that share one font."""


@dataclass(frozen=True)
class Face:
    """One font of a file, which may hold several."""

    file: Path
    index: int


OWN = Face(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 0)
"""The face of FIRST."""


def families(text: str) -> list[str]:
    """The fonts that a text needs, first to last; matplotlib takes each letter from the first that has it."""
    found = [name for letter in text if (name := _family(letter)) is not None]
    return list(dict.fromkeys([FIRST, *found]))


def face_of(text: str) -> Face:
    """Find the first font that has every letter of a text, or the first of all if none has."""
    # Pillow draws a whole text from one face.
    if (names := families(text)) == [FIRST]:
        return OWN
    faces = dict(_fonts())
    complete = (faces[name] for name in names if all(_has(faces[name], letter) for letter in text))
    return next(complete, OWN)


def legible(text: str) -> str:
    """Replace letters that no font has by MISSING, and warn of them, once for each script."""
    for letter in text:
        if _family(letter) is None:
            _warn_of(unicodedata.name(letter, "unknown").split()[0])
    return "".join(letter if _family(letter) is not None else MISSING for letter in text)


@cache
def _family(letter: str) -> str | None:
    """The first font that has a letter, or None."""
    if _has(OWN, letter):  # nearly always, and without a look at the fonts of this computer
        return FIRST
    return next((name for name, face in _fonts() if _has(face, letter)), None)


@cache
def _fonts() -> tuple[tuple[str, Face], ...]:
    """The upright fonts of normal weight by name: the first one, those preferred, all others."""
    return ((FIRST, OWN), *dict(_installed()).items())


def _installed() -> Iterator[tuple[str, Face]]:
    # matplotlib keeps a list of fonts from its first start, in which those that were installed later are missing
    for path in sorted(set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}):
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError) as error:
            log.debug(f"Passed over the font {path}: {error}")
    regular = {
        font.name: Face(Path(font.fname), font.index)
        for font in sorted(fontManager.ttflist, key=lambda font: font.fname)
        if font.weight in (400, "normal", "regular") and font.style == "normal"
    }
    sans = sorted(name for name in regular if name.startswith(SANS))
    for name in (*PREFERRED, *sans, *sorted(regular)):
        if name in regular and name != FIRST:
            yield name, regular[name]


@cache
def _has(face: Face, letter: str) -> bool:
    return bool(_open(face).get_char_index(ord(letter)))


@cache
def _open(face: Face) -> FT2Font:
    return FT2Font(str(face.file), face_index=face.index)


@cache  # once for each script
def _warn_of(script: str) -> None:
    what = "Noto Sans CJK" if script in EAST_ASIAN else f"Noto Sans {script.capitalize()}"
    package = "fonts-noto-cjk" if script in EAST_ASIAN else "fonts-noto-core"
    log.warning(
        tr(
            "Figures show {mark} for letters of the script {script}, which no font of this computer has.\n"
            "Install one, such as {font} (Debian and Ubuntu: {package}), and draw again with: cifarlab report RUN",
            mark=MISSING,
            script=script,
            font=what,
            package=package,
        )
    )
