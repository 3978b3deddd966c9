"""A confusion matrix as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cifarlab.console import printable
from cifarlab.drawing.charts.description import GAMMA, NUMBERED_UP_TO, Matrix
from cifarlab.drawing.charts.svg_parts import CHARACTER, drawing, figure, width_of
from cifarlab.drawing.wording import short
from cifarlab.language import ntr, tr

DARK = 0.65
"""From this opacity on, numbers change colour: each has a contrast of at least 4.5 on its cell (WCAG 2.1, 1.4.3)."""
CELL = 46.0
"""Side of a cell that shows its numbers."""
BOARD, NAME_ROOM = 520.0, 11.0
"""Side of the whole matrix where its cells show colour alone, and the height of a line of names beside it."""
CELLS_UP_TO = 20_000
"""A page with more cells would be slow to open: the smallest counts are left out, and the label says so."""


@dataclass(frozen=True)
class _Board:
    """Sizes and places of the cells."""

    chart: Matrix

    @property
    def numbered(self) -> bool:
        return len(self.chart.names) <= NUMBERED_UP_TO

    @property
    def side(self) -> float:
        """Side of a cell."""
        return CELL if self.numbered else BOARD / len(self.chart.names)

    @property
    def room(self) -> float:
        """Room for names at the left, and for the word above them."""
        letter = CHARACTER if self.numbered else 0.75 * CHARACTER  # of 9 px instead of 12.5
        return 22 + max(width_of(text, letter) for text in (tr("label ↓"), *map(short, self.chart.names)))

    @property
    def top(self) -> float:
        """Room for the names above, rotated by 40 degrees or, where they would collide, by 90."""
        return self.room * 0.72 + 14 if self.numbered else self.room + 10

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing."""
        side = self.side * len(self.chart.names)
        # The name above the last column leans out to the right.
        beyond = 0.6 * width_of(short(self.chart.names[-1])) if self.numbered else 8
        return self.room + side + beyond, self.top + side + 4


def draw_matrix(chart: Matrix) -> Markup:
    """Draw a confusion matrix with the count and the percentage of its row in each cell.

    Beyond NUMBERED_UP_TO classes the cells show colour alone, and their numbers as tooltips.
    """
    board, counts, shares = _Board(chart), chart.counts, chart.shares
    num_cells = int(np.count_nonzero(counts))  # cells of zero are not drawn
    largest = np.argsort(-counts, axis=None, kind="stable")[: min(CELLS_UP_TO, num_cells)]
    cells = [divmod(int(cell), len(chart.names)) for cell in np.sort(largest)]
    side = board.side * len(chart.names)
    outline = Markup('<rect class="board" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        board.room, board.top, side, side
    )
    drawn = (_cell(board, row, column, int(counts[row, column]), float(shares[row, column])) for row, column in cells)
    words = (
        tr("{title}: {right:,} of {n:,} images on the diagonal")
        if len(cells) == num_cells
        else tr("{title}: {right:,} of {n:,} images on the diagonal; only the {drawn:,} largest counts are drawn")
    ).format(title=chart.title, right=int(np.trace(counts)), n=int(counts.sum()), drawn=CELLS_UP_TO)
    return figure(chart.title, drawing(*board.size, words, [*_names(board), outline, *drawn]), wide=True)


def _names(board: _Board) -> Iterator[Markup]:
    write = Markup('<text class="{}" transform="{}" text-anchor="{}">{}</text>').format
    kind, lean = ("name", -40) if board.numbered else ("name small", -90)
    yield write("axis", f"translate({board.room:.1f},12)", "start", tr("prediction →"))
    yield write("axis", f"translate({board.room - 8:.1f},{board.top - 8:.1f})", "end", tr("label ↓"))
    names = board.chart.names
    for index in range(0, len(names), math.ceil(NAME_ROOM / board.side)):  # where rows are lower than text, every nth
        middle = (index + 0.5) * board.side
        name = Markup("<title>{}</title>{}").format(printable(names[index]), short(names[index]))
        x = board.room + middle + (0 if board.numbered else 3)  # upright text has its baseline at the right
        yield write(kind, f"translate({x:.1f},{board.top - 6:.1f}) rotate({lean})", "start", name)
        yield write(kind, f"translate({board.room - 8:.1f},{board.top + middle + 4:.1f})", "end", name)


def _cell(board: _Board, row: int, column: int, count: int, share: float) -> Markup:
    x, y, side = board.room + column * board.side, board.top + row * board.side, board.side
    # Opacity and numbers are both fractions of the row: the diagonal is recall.
    label, prediction = printable(board.chart.names[row]), printable(board.chart.names[column])
    words = tr("{label} recognised") if row == column else tr("{label} predicted as {prediction}")
    images = ntr("{n:,} image, {share} of {label}", "{n:,} images, {share} of {label}", count)
    title = f"{words}\n{images}".format(label=label, prediction=prediction, n=count, share=f"{100 * share:.1f} %")
    opacity = share**GAMMA  # of one colour over the page's own, so that the dark page needs no other scale
    square = Markup(
        '<rect class="cell" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.3f}"/>'
    ).format(x, y, side - (side > 10), side - (side > 10), opacity)  # a gap of one unit, where cells have room for it
    if board.numbered:
        ink = "dark" if opacity >= DARK else "light"  # names of the cell's colour; page.html sets that of the ink
        write = Markup('<text class="{} {}" x="{:.1f}" y="{:.1f}">{}</text>').format
        square += write("count", ink, x + side / 2, y + side / 2, count)
        square += write("percent", ink, x + side / 2, y + side / 2 + 14, f"{100 * share:.1f} %")
    return Markup('<g class="tip" data-cell="{},{}" data-count="{}"><title>{}</title>{}</g>').format(
        row, column, count, title, square
    )
