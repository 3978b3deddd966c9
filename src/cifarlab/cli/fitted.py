"""Tables that fit any terminal: columns that have no room beside the others follow below their row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from cifarlab.cli.wrapping import WORD
from cifarlab.console import printable_lines
from cifarlab.language import tr

GAP = 2
"""Spaces between columns."""
NARROWEST = 16
"""The first column, of names, is not made narrower than this, nor than three tenths of the terminal."""
DASH = "–"
"""Stands in an empty cell."""

"""Where a line may end: after spaces, hyphens, ...; and between Chinese characters, as their punctuation allows."""

Row = Sequence[str]
"""A text for each column, empty where there is nothing; line breaks are kept, and become spaces below the row."""


@dataclass(frozen=True)
class Column:
    """A column, and what becomes of it where it does not fit."""

    title: str
    rank: int = 0
    """Columns get room in this order; the first column always has it."""
    below: str = "{}"
    """How its value reads below the row, such as "{} epochs"."""
    most: int = 60
    """Its greatest width: longer texts are wrapped."""
    right: bool = False


def fitted(columns: Sequence[Column], groups: Mapping[str, Sequence[Row]], width: int) -> list[Text]:
    """Lay out rows under headings, all in the same columns, in lines of at most `width`.

    groups: rows by the heading above them; no line is printed for the heading "". Headings may have several lines, of
    which the first is bold.
    """
    groups = {heading: [[printable_lines(cell) for cell in row] for row in rows] for heading, rows in groups.items()}
    everything = [[column.title for column in columns], *(row for rows in groups.values() for row in rows)]
    widths = _widths(columns, everything, width)
    lines = [Text(line, "bold") for line in _side_by_side(columns, everything[0], widths)]
    for heading, rows in groups.items():
        if heading:
            first, *rest = heading.split("\n")
            lines += [Text(), *(Text(line, "bold") for line in wrapped(first, width))]
            lines += [Text(line, "dim") for text in rest for line in wrapped(text, width)]
        for row in rows:
            lines += [Text(line) for line in _side_by_side(columns, row, widths)]
            lines += [Text(line, "dim") for line in _below(columns, row, widths, width)]
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Break text into lines of at most `width` columns: after spaces and after the hyphens, slashes, ... of a name.

    What is longer than a line without such a place is cut. "resnet18-imagenet-stem" becomes "resnet18-", ...
    """
    # textwrap would leave resnet18-plain whole: it breaks no hyphen beside a digit
    parts = [
        piece[start : start + width]
        for word in WORD.findall(text)
        for piece in re.split(r"(?<=[\-/:_])(?=\S)", word)
        for start in range(0, len(piece.rstrip()), width)
    ]
    lines = [""]
    for part in parts:
        if cell_len((lines[-1] + part).rstrip()) > width:
            lines.append("")
            part = part.lstrip()
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _widths(columns: Sequence[Column], rows: Sequence[Row], width: int) -> dict[int, int]:
    """The widths of the columns that fit, by their places."""
    natural = [
        min(column.most, max(cell_len(line) for row in rows for line in row[place].split("\n")))
        for place, column in enumerate(columns)
    ]
    name = min(natural[0], max(NARROWEST, 3 * width // 10), width)
    left, chosen = width - name, []
    for place in sorted(range(1, len(columns)), key=lambda place: columns[place].rank):
        if GAP + natural[place] <= left:
            chosen.append(place)
            left -= GAP + natural[place]
    return {0: min(natural[0], name + left)} | {place: natural[place] for place in sorted(chosen)}


def _side_by_side(columns: Sequence[Column], row: Row, widths: Mapping[int, int]) -> list[str]:
    cells = [
        [line for text in (row[place] or DASH).split("\n") for line in wrapped(text, width)]
        for place, width in widths.items()
    ]
    lines = []
    for texts in zip_longest(*cells, fillvalue=""):
        padded = []
        for text, (place, width) in zip(texts, widths.items(), strict=True):
            room = " " * (width - cell_len(text))
            padded.append(room + text if columns[place].right else text + room)
        lines.append((" " * GAP).join(padded).rstrip())
    return lines


def _below(columns: Sequence[Column], row: Row, widths: Mapping[int, int], width: int) -> list[str]:
    """What has no room beside, in indented lines."""
    lines: list[str] = []
    for place, column in enumerate(columns):
        if place in widths or not row[place]:
            continue
        # Chinese brackets bring their own space
        item = column.below.format(" ".join(row[place].split("\n")).replace(" （", "（"))
        if lines and cell_len(longer := tr("; ").join([lines[-1], item])) <= width - GAP:  # whole, where it fits
            lines[-1] = longer
        else:
            lines += wrapped(item, width - GAP)
    return [" " * GAP + line for line in lines]
