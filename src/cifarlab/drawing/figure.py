"""What all inline charts share: title, legend, dots, and the words for those who cannot see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from cifarlab.console import printable

NUM_COLOURS = 7
"""Classes c0 to c6, which page.html gives colours."""
NAME_LIMIT = 18
"""Characters of a name beside an axis; the whole name is in the title of what it names."""
NO_LEGEND = Markup()
NOTHING = Markup('<p class="none">There is nothing to draw.</p>')


def drawing(width: float, height: float, words: str, parts: Iterable[Markup]) -> Markup:
    """An SVG of that many units, which `words` describe to those who cannot see it."""
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        width, height, printable(words), join(parts)
    )


def figure(title: str, drawing: Markup, legend: Markup = NO_LEGEND, *, wide: bool = False) -> Markup:
    """A chart under its title; a wide one keeps its size on a phone and can be scrolled there."""
    kind = "chart wide" if wide else "chart"
    scroll = Markup(' tabindex="0"') if wide else Markup()
    return Markup('<figure class="{}"><figcaption>{}</figcaption>{}<div class="drawing"{}>{}</div></figure>').format(
        kind, printable(title), legend, scroll, drawing
    )


def join(parts: Iterable[Markup]) -> Markup:
    """Put pieces of markup together."""
    return Markup().join(parts)


def short(name: str) -> str:
    """A name with room beside an axis."""
    text = printable(name)
    return text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…"


def legend(keys: Sequence[tuple[str, Markup]]) -> Markup:
    """Names beside what they look like in the chart; nothing without names."""
    items = [
        Markup('<span><svg width="24" height="14" aria-hidden="true">{}</svg>{}</span>').format(
            picture, printable(name)
        )
        for name, picture in keys
    ]
    return Markup('<div class="legend">{}</div>').format(join(items)) if items else Markup()


def dot(x: float, y: float, colour: int) -> Markup:
    """A dot, square or diamond by colour, so that colour never speaks alone."""
    shapes = (
        '<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"/>',
        '<rect class="dot c{}" x="{:.1f}" y="{:.1f}" width="6" height="6" transform="translate(-3,-3)"/>',
        '<path class="dot c{}" d="M{:.1f},{:.1f}m0,-4.2l4.2,4.2l-4.2,4.2l-4.2,-4.2z"/>',
    )
    return Markup(shapes[colour % len(shapes)]).format(colour % NUM_COLOURS, x, y)
