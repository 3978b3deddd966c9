"""Web pages of one file: nothing is loaded from outside, and every name is text, whatever is in it."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from PIL import Image

from cifarlab.console import printable
from cifarlab.drawing.charts.description import Figure
from cifarlab.errors import CheckpointError, cause

TILE_SIDE = 64
"""Pixels of a gallery's picture, at most."""

Cell = str | int | float | Markup | None


@dataclass(frozen=True)
class Section:
    """A part of a page; the note stands under its title, and its figures are also written as PNG beside the page."""

    title: str
    body: Markup
    note: str = ""
    figures: Sequence[Figure] = ()


@dataclass(frozen=True)
class Tile:
    """One picture of a gallery: PNG bytes, a caption, a smaller line below it, and whether it is right or wrong."""

    png: bytes
    caption: str
    detail: str = ""
    right: bool | None = None


def page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """One self-contained HTML page, for screen, phone, print, light and dark."""
    names = [f"section-{number}" for number in range(1, len(sections) + 1)]
    text = _template().render(
        title=printable(title),
        subtitle=printable(subtitle),
        sections=list(zip(names, sections, strict=True)),
        script=Markup(_script()),
        script_hash=_script_hash(),
    )
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # file names may hold what UTF-8 cannot


def embed_png(picture: Path | bytes, alt: str, *, wide: bool = True) -> Markup:
    """A PNG as part of the page; a wide one can be scrolled on a phone.

    Raises CheckpointError when the file cannot be read or is no PNG.
    """
    kind = "picture wide" if wide else "picture"
    return Markup('<div class="{}" tabindex="0"><img src="{}" alt="{}"></div>').format(
        kind, _data_uri(_read(picture) if isinstance(picture, Path) else picture), printable(alt)
    )


def gallery(tiles: Sequence[Tile], *, columns: int = 8) -> Markup:
    """Small pictures with captions, 8 or 4 beside each other where there is room; wrong ones carry a cross."""
    return Markup('<ul class="gallery of-{}">{}</ul>').format(columns, Markup().join(_tile(tile) for tile in tiles))


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table; columns of numbers, or of texts that begin with a digit, stand at the right; None is a dash."""
    numeric = [bool(rows) and all(_is_number(cell) for cell in column) for column in zip(*rows, strict=True)]
    kinds = [Markup(' class="number"') if right else Markup() for right in numeric or [False] * len(header)]
    head = Markup().join(
        Markup('<th scope="col"{}>{}</th>').format(kind, printable(name))
        for kind, name in zip(kinds, header, strict=True)
    )
    body = Markup().join(
        Markup("<tr>{}</tr>").format(
            Markup().join(
                Markup("<td{}>{}</td>").format(kind, _cell(cell)) for kind, cell in zip(kinds, row, strict=True)
            )
        )
        for row in rows
    )
    return Markup(
        '<div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Names and what they are, in two columns."""
    items = [Markup("<dt>{}</dt><dd>{}</dd>").format(printable(name), _text(value)) for name, value in pairs]
    return Markup("<dl>{}</dl>").format(Markup().join(items))


def headline(number: str, text: str) -> Markup:
    """The one number that a reader came for, and what it is."""
    return Markup('<p class="headline"><strong>{}</strong> <span>{}</span></p>').format(_text(number), _text(text))


def link(url: str, text: str) -> Markup:
    """A link to a web page; what is no address of one stays text."""
    if not url.startswith(("https://", "http://")):
        return Markup("{}").format(printable(text))
    return Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(printable(url), printable(text))


def paragraph(text: str) -> Markup:
    """A paragraph of plain text."""
    return Markup("<p>{}</p>").format(_text(text))


def warning(text: str) -> Markup:
    """A paragraph that must not be overlooked."""
    return Markup('<p class="warning" role="note">{}</p>').format(printable(text))


def heading(text: str) -> Markup:
    """A title within a section."""
    return Markup("<h3>{}</h3>").format(printable(text))


def code(text: str) -> Markup:
    """Text to be read or copied letter by letter, line breaks included."""
    lines = "\n".join(printable(line) for line in text.splitlines())
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format(lines)


def side_by_side(*parts: Markup) -> Markup:
    """Beside each other where there is room, else below each other."""
    return Markup('<div class="side-by-side">{}</div>').format(Markup().join(parts))


def details(summary: str, body: Markup) -> Markup:
    """What is shown on request, and in print."""
    return Markup("<details><summary>{}</summary>{}</details>").format(printable(summary), body)


def _tile(tile: Tile) -> Markup:
    kind = {None: "", True: "right", False: "wrong"}[tile.right]
    verdict = {None: "", True: ", right", False: ", wrong"}[tile.right]
    caption, detail = _text(tile.caption), _text(tile.detail)
    return Markup(
        '<li class="{kind}" title="{words}"><img src="{source}" alt="{words}{verdict}">'
        '<span class="caption">{caption}</span><span class="detail">{detail}</span></li>'
    ).format(
        kind=kind, words=" ".join([caption, detail]).strip(), verdict=verdict, source=_data_uri(_small(tile.png)),
        caption=caption, detail=detail,
    )  # fmt: skip


def _is_number(value: Cell) -> bool:
    """Whether a cell is read as a number, with its unit perhaps."""
    if isinstance(value, str):
        return not isinstance(value, Markup) and value[:1] in "0123456789−-+" and len(value) < 40
    return True


def _cell(value: Cell) -> str | Markup:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return _text(value if isinstance(value, str) else f"{value:,}")


def _text(value: str | Markup) -> str | Markup:
    """Prose, in which a percent sign stays with its number."""
    return value if isinstance(value, Markup) else printable(value).replace(" %", "\N{NO-BREAK SPACE}%")


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise CheckpointError(f"Cannot read the figure {path}: {cause(error)}.") from error
    return content


def _small(png: bytes) -> bytes:
    """Large pictures as thumbnails, so that a page with hundreds of them stays light."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        if max(image.size) <= TILE_SIDE:
            return png
        image.thumbnail((TILE_SIDE, TILE_SIDE))
        file = io.BytesIO()
        image.save(file, "PNG")
    return file.getvalue()


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("cifarlab", "drawing"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html")


@cache
def _script() -> str:
    return (Path(__file__).parent / "page.js").read_text("utf-8")


@cache
def _script_hash() -> str:
    """The page allows this one script and no other (Content Security Policy, level 2)."""
    return base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode("ascii")
