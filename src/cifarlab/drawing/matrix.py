"""A confusion matrix as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.drawing.axes import CHARACTER
from cifarlab.drawing.figure import drawing, figure, short

GAMMA, DARK = 0.4, 0.65
"""The scale is bent, so that a few percent can be seen; from this opacity on the numbers change colour."""
CELL, NUMBERED_UP_TO = 46.0, 20
"""Side of a cell, and the classes up to which each cell shows its numbers."""
BOARD, NAME_ROOM = 520.0, 11.0
"""Side of a matrix of more classes, and what a name beside it needs."""
CELLS_UP_TO = 20_000
"""A page with more would be slow to open: the smallest counts are left out, and the label says so."""


@dataclass(frozen=True)
class _Board:
    """Where the cells lie."""

    names: Sequence[str]

    @property
    def numbered(self) -> bool:
        return len(self.names) <= NUMBERED_UP_TO

    @property
    def side(self) -> float:
        """Of one cell."""
        return CELL if self.numbered else BOARD / len(self.names)

    @property
    def room(self) -> float:
        """For names, at the left."""
        letter = CHARACTER if self.numbered else 0.75 * CHARACTER
        return 22 + letter * max((len(short(name)) for name in self.names), default=0)

    @property
    def top(self) -> float:
        """Room for names above, which lean over or stand upright."""
        return self.room * 0.72 + 14 if self.numbered else self.room + 10

    @property
    def size(self) -> tuple[float, float]:
        """Of the drawing; a name above the last column leans out."""
        side = self.side * len(self.names)
        return self.room + side + (
            0.6 * CHARACTER * len(short(self.names[-1])) if self.numbered else 8
        ), self.top + side + 4


def matrix(counts: NDArray[np.int64], names: Sequence[str], *, title: str) -> Markup:
    """Draw counts (C, C), row = label, column = prediction: count and percent of the row in each cell.

    Beyond NUMBERED_UP_TO classes the cells show colour alone, and say the rest when pointed at.
    """
    board = _Board(names)
    order = np.argsort(-counts, axis=None, kind="stable")[: min(CELLS_UP_TO, int(np.count_nonzero(counts)))]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = [divmod(int(cell), len(names)) for cell in np.sort(order)]
    parts = [
        *_names(board),
        _outline(board),
        *(_cell(board, row, column, int(counts[row, column]), float(shares[row, column])) for row, column in cells),
    ]
    words = f"{title}: {int(np.trace(counts)):,} of {int(counts.sum()):,} images on the diagonal"
    if len(cells) < np.count_nonzero(counts):
        words += f"; only the {CELLS_UP_TO:,} largest counts are drawn"
    return figure(title, drawing(*board.size, words, parts), wide=True)


def _names(board: _Board) -> Iterator[Markup]:
    write = Markup('<text class="{}" transform="{}" text-anchor="{}">{}</text>').format
    kind, lean = ("name", -40) if board.numbered else ("name small", -90)
    yield write("axis", f"translate({board.room:.1f},12)", "start", "prediction →")
    yield write("axis", f"translate({board.room - 8:.1f},{board.top - 8:.1f})", "end", "label ↓")
    for index in range(0, len(board.names), math.ceil(NAME_ROOM / board.side)):
        middle = (index + 0.5) * board.side
        name = Markup("<title>{}</title>{}").format(printable(board.names[index]), short(board.names[index]))
        x = board.room + middle + (0 if board.numbered else 3)
        yield write(kind, f"translate({x:.1f},{board.top - 6:.1f}) rotate({lean})", "start", name)
        yield write(kind, f"translate({board.room - 8:.1f},{board.top + middle + 4:.1f})", "end", name)


def _outline(board: _Board) -> Markup:
    side = board.side * len(board.names)
    return Markup('<rect class="board" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        board.room, board.top, side, side
    )


def _cell(board: _Board, row: int, column: int, count: int, share: float) -> Markup:
    x, y, side = board.room + column * board.side, board.top + row * board.side, board.side
    label, prediction = printable(board.names[row]), printable(board.names[column])
    words = f"{label} recognised" if row == column else f"{label} taken for {prediction}"
    title = f"{words}\n{count:,} images, {100 * share:.1f} % of {label}"
    opacity = share**GAMMA
    square = Markup(
        '<rect class="cell" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.3f}"/>'
    ).format(x, y, side - (side > 10), side - (side > 10), opacity)
    if board.numbered:
        ink = "dark" if opacity >= DARK else "light"
        write = Markup('<text class="{} {}" x="{:.1f}" y="{:.1f}">{}</text>').format
        square += write("count", ink, x + side / 2, y + side / 2, count)
        square += write("percent", ink, x + side / 2, y + side / 2 + 14, f"{100 * share:.1f} %")
    return Markup('<g class="tip"><title>{}</title>{}</g>').format(title, square)
