"""What the SVG charts have in common: their frame with axes, title, legend and dots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from rich.cells import cell_len

from cifarlab.console import printable
from cifarlab.drawing.charts.axis import Axis
from cifarlab.drawing.charts.description import NUM_COLOURS
from cifarlab.language import tr

CHARACTER = 7.2
"""Mean width of a letter of 12.5 px, in units of the drawings: SVG cannot measure text before a browser shows it."""
NO_LEGEND = Markup()


@dataclass(frozen=True)
class Frame:
    """The rectangle between the axes of a chart, in units of its SVG; without a y axis, rows have fixed heights."""

    x_axis: Axis
    y_axis: Axis | None
    width: float
    height: float
    left: float = 58.0
    right: float = 24.0
    top: float = 10.0
    bottom: float = 46.0

    @property
    def inner_width(self) -> float:
        """Width without the margins."""
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> float:
        """Height without the margins."""
        return self.height - self.top - self.bottom

    def at_x(self, x: float) -> float:
        """Place a value on the x axis, in units of the drawing."""
        return self.left + self.inner_width * self.x_axis.share(x)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place a point."""
        assert self.y_axis is not None
        return self.at_x(x), self.top + self.inner_height * (1 - self.y_axis.share(y))  # y of an SVG points down

    def y_text(self, value: float) -> str:
        """Write a value of the y axis."""
        assert self.y_axis is not None
        return self.y_axis.text(value)

    def draw_axes(self, x_label: str, y_label: str) -> Markup:
        """Draw grid lines, ticks and the names of both axes."""
        bottom = self.top + self.inner_height
        parts = [self._x_tick(value, bottom) for value in self.x_axis.ticks]
        if self.y_axis is not None:
            parts += [self._y_tick(value) for value in self.y_axis.ticks]
        parts.append(
            Markup('<text class="axis" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                self.left + self.inner_width / 2, self.height - 6, x_label
            )
        )
        if y_label:
            # Turned around its own middle, which lies 13 units from the edge.
            place = f"translate(13,{self.top + self.inner_height / 2:.1f}) rotate(-90)"
            parts.append(
                Markup('<text class="axis" transform="{}" text-anchor="middle">{}</text>').format(place, y_label)
            )
        return join(parts)

    def clip(self, parts: Iterable[Markup]) -> Markup:
        """Cut off what lies outside: a nested SVG clips by itself, while a clip path needs an id unique on the page."""
        box = (self.left, self.top, self.inner_width, self.inner_height)
        return Markup('<svg x="{0}" y="{1}" width="{2}" height="{3}" viewBox="{0} {1} {2} {3}">{4}</svg>').format(
            *(f"{value:.1f}" for value in box), join(parts)
        )

    def _x_tick(self, value: float, bottom: float) -> Markup:
        kind = "zero" if value == 0 and self.x_axis.low < 0 else "grid"  # the line that bars of both signs begin at
        return Markup(
            '<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
            '<text class="tick" x="{x:.1f}" y="{below}" text-anchor="middle">{text}</text>'
        ).format(
            kind=kind, x=self.at_x(value), top=self.top, bottom=bottom, below=bottom + 17, text=self.x_axis.text(value)
        )  # 17: a line of 12 px and a gap

    def _y_tick(self, value: float) -> Markup:
        assert self.y_axis is not None
        y = self.top + self.inner_height * (1 - self.y_axis.share(value))
        return Markup(
            '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{before}" y="{low:.1f}" text-anchor="end">{text}</text>'
        ).format(
            left=self.left,
            right=self.width - self.right,
            y=y,
            before=self.left - 7,
            low=y + 4,  # a baseline 4 units down centres letters of 12 px: renderers disagree on dominant-baseline
            text=self.y_axis.text(value),
        )


def width_of(text: str, letter: float = CHARACTER) -> float:
    """The room that a text needs, where letters have this mean width and those of East Asian scripts twice as much."""
    return letter * cell_len(text)


def nothing() -> Markup:
    """Say that a chart has no data."""
    return Markup('<p class="none">{}</p>').format(tr("There is nothing to draw."))


def left_margin(axis: Axis) -> float:
    """The room that a y axis needs for its longest tick and, turned by 90 degrees, its name."""
    return 32 + CHARACTER * max(len(axis.text(value)) for value in axis.ticks)


def drawing(width: float, height: float, words: str, parts: Iterable[Markup]) -> Markup:
    """Put parts into an SVG of that many units; `words` describe it to screen readers."""
    # A viewBox without a width: style sheets decide how wide it is on a screen, a phone or paper. --largest keeps them
    # from blowing up a small drawing, such as the confusion matrix of two classes.
    return Markup(
        '<svg viewBox="0 0 {:.0f} {:.0f}" style="--largest: {:.0f}px" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, 1.3 * width, printable(words), join(parts))


def figure(title: str, drawing: Markup, legend: Markup = NO_LEGEND, *, wide: bool = False) -> Markup:
    """Put a chart under its title; a wide one keeps its size on a phone and can be scrolled there."""
    kind = "chart wide" if wide else "chart"
    scroll = Markup(' tabindex="0"') if wide else Markup()  # or a keyboard could not scroll it
    return Markup('<figure class="{}"><figcaption>{}</figcaption>{}<div class="drawing"{}>{}</div></figure>').format(
        kind, printable(title), legend, scroll, drawing
    )


def join(parts: Iterable[Markup]) -> Markup:
    """Concatenate pieces of markup; unlike "".join, this escapes a piece that is plain text."""
    return Markup().join(parts)


def legend(keys: Sequence[tuple[str, Markup]]) -> Markup:
    """List names beside samples of what they look like in the chart; without names, draw nothing."""
    items = [
        Markup('<span><svg width="24" height="14" aria-hidden="true">{}</svg>{}</span>').format(
            picture, printable(name)
        )
        for name, picture in keys
    ]
    return Markup('<div class="legend">{}</div>').format(join(items)) if items else NO_LEGEND


def dot(x: float, y: float, colour: int) -> Markup:
    """Draw a circle, square or diamond, by colour, so that series differ for colour-blind readers too."""
    shapes = (
        '<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"/>',
        '<rect class="dot c{}" x="{:.1f}" y="{:.1f}" width="6" height="6" transform="translate(-3,-3)"/>',
        '<path class="dot c{}" d="M{:.1f},{:.1f}m0,-4.2l4.2,4.2l-4.2,4.2l-4.2,-4.2z"/>',
    )
    return Markup(shapes[colour % len(shapes)]).format(colour % NUM_COLOURS, x, y)
