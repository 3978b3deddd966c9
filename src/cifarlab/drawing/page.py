"""Web pages in one file: nothing is loaded from outside, and names are shown as text whatever they contain."""

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
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from PIL import Image

from cifarlab.console import printable
from cifarlab.drawing.charts.description import Figure
from cifarlab.drawing.grid import Description, description, said
from cifarlab.errors import CheckpointError, cause
from cifarlab.language import spoken, tr

TILE_SIDE = 64
"""Pixels; larger pictures are shrunk for a gallery, or a page with hundreds of them would have many megabytes."""

SCRIPTS = ("page.js", "cells.js")
"""Parts of the one script of every page; each does nothing where it finds nothing of its own."""

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
    """One picture of a gallery: PNG bytes, a caption, a smaller line below it, whether it is right, and its file."""

    png: bytes
    caption: str
    detail: str = ""
    right: bool | None = None
    file: str = ""


def page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """Make a self-contained HTML page, for screen, phone and print, in light and dark."""
    names = [f"section-{number}" for number in range(1, len(sections) + 1)]
    text = _template().render(
        language=spoken(),
        contents=tr("Contents"),
        title=printable(title),
        subtitle=printable(subtitle),
        sections=list(zip(names, sections, strict=True)),
        script=Markup(_script()),
        script_hash=_script_hash(),
    )
    # File names that are not UTF-8 hold lone surrogates, which cannot be written.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def embed_png(picture: Path | bytes, alt: str, *, wide: bool = True) -> Markup:
    """Embed a PNG into the page; a wide one can be scrolled on a phone.

    A grid of images is taken apart, so that its texts have the page's own colours and can be read aloud.
    Raises CheckpointError when the file cannot be read or is not a PNG.
    """
    kind = "picture wide" if wide else "picture"
    content = _read(picture) if isinstance(picture, Path) else picture
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        found = description(image)
        inner = (
            _grid(image, found, alt)
            if found
            else Markup('<img src="{}" alt="{}">').format(_data_uri(content), printable(alt))
        )
    return Markup('<div class="{}" tabindex="0">{}</div>').format(kind, inner)


def _grid(picture: Image.Image, found: Description, alt: str) -> Markup:
    """The images of a grid in rows, each with its caption, and each row with its label."""
    parts = []
    for number, box in enumerate(found.boxes):
        if found.row_labels and number % found.columns == 0:
            parts.append(
                Markup('<p class="label">{}</p>').format(printable(said(found.row_labels[number // found.columns])))
            )
        cell = picture.convert("RGB").crop(box)
        caption = found.captions[number] if found.captions else ""
        if not caption and cell.getextrema() == ((255, 255),) * 3:  # blank paper fills a row that is too short
            parts.append(Markup("<figure></figure>"))
            continue
        file = io.BytesIO()
        cell.save(file, "PNG")
        wrong = found.marks is not None and not found.marks[number]
        kind = ("wrong" if wrong else "right") if found.marks is not None else ""
        words = Markup("<br>").join(_text(said(line)) for line in caption.split("\n"))
        parts.append(
            Markup('<figure class="{}"><img src="{}" alt=""><figcaption>{}</figcaption></figure>').format(
                kind, _data_uri(file.getvalue()), words
            )
        )
    kind = "grid labelled" if found.row_labels else "grid"
    return Markup('<div class="{}" role="group" aria-label="{}" style="--columns: {}">{}</div>').format(
        kind, printable(alt), found.columns, Markup().join(parts)
    )


def gallery(tiles: Sequence[Tile], *, columns: int = 8) -> Markup:
    """Show small pictures with captions, `columns` side by side where there is room; wrong ones get a cross."""
    items = Markup().join(map(_tile, tiles))
    return Markup('<ul class="gallery" style="--columns: {}">{}</ul>').format(columns, items)


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """Make a table; columns of numbers, or of texts that begin with a digit, are aligned right; None is a dash."""
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
    return Markup(  # a wide table scrolls by itself instead of the page, and by keyboard too (tabindex)
        '<div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """List names and their values, in two columns."""
    items = [Markup("<dt>{}</dt><dd>{}</dd>").format(printable(name), _text(value)) for name, value in pairs]
    return Markup("<dl>{}</dl>").format(Markup().join(items))


def headline(number: str, text: str) -> Markup:
    """Show the one number that a reader came for, in large type, and what it is."""
    return Markup('<p class="headline"><strong>{}</strong> <span>{}</span></p>').format(_text(number), _text(text))


def link(url: str, text: str) -> Markup:
    """Make a link to a web page; anything else stays text."""
    # Addresses come from recipes, which may come from strangers: "javascript:..." would run in the reader's browser.
    if not url.startswith(("https://", "http://")):
        return Markup("{}").format(printable(text))
    return Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(printable(url), printable(text))


def paragraph(text: str) -> Markup:
    """Make a paragraph of plain text."""
    return Markup("<p>{}</p>").format(_text(text))


def warning(text: str) -> Markup:
    """Make a paragraph that stands out."""
    return Markup('<p class="warning" role="note">{}</p>').format(printable(text))


def heading(text: str) -> Markup:
    """Make a title within a section."""
    return Markup("<h3>{}</h3>").format(printable(text))


def code(text: str) -> Markup:
    """Show text to be copied letter by letter, with its line breaks."""
    lines = "\n".join(printable(line) for line in text.splitlines())
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format(lines)


def side_by_side(*parts: Markup) -> Markup:
    """Put parts side by side where there is room, else below each other."""
    return Markup('<div class="side-by-side">{}</div>').format(Markup().join(parts))


def details(summary: str, body: Markup) -> Markup:
    """Hide a part until it is clicked; page.js opens it for print."""
    return Markup("<details><summary>{}</summary>{}</details>").format(printable(summary), body)


def data(name: str, values: object) -> Markup:
    """Put JSON values into the page for its script, under an id; no text in them can end the block."""
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, htmlsafe_json_dumps(values))


def small_base64(png: bytes) -> str:
    """Encode a PNG as base64, shrunk to TILE_SIDE if it is larger, for values of `data`."""
    return base64.b64encode(_small(png)).decode("ascii")


def _tile(tile: Tile) -> Markup:
    kind = {None: "", True: "right", False: "wrong"}[tile.right]
    caption, detail, file = _text(tile.caption), _text(tile.detail), printable(tile.file)
    words = " ".join(filter(None, [caption, detail, file]))
    # a screen reader sees no frame
    verdict = {None: "{words}", True: tr("{words}, right"), False: tr("{words}, wrong")}[tile.right]
    # without its folder, which is often the class; the whole path is the tooltip
    short_name = Markup('<span class="file">{}</span>').format(file.rpartition("/")[2]) if file else Markup()
    return Markup(
        '<li class="{kind}" title="{words}"><img src="{source}" alt="{alt}">'
        '<span class="caption">{caption}</span><span class="detail">{detail}</span>{short_name}</li>'
    ).format(
        kind=kind, words=words, alt=verdict.format(words=words),
        source=_data_uri(_small(tile.png)), caption=caption, detail=detail, short_name=short_name,
    )  # fmt: skip


def _is_number(value: Cell) -> bool:
    """Whether a cell is read as a number, perhaps with a unit or an interval: "85.2 % (84.5 to 85.9)"."""
    if isinstance(value, str):
        # A long text that begins with a digit is a sentence.
        return not isinstance(value, Markup) and value[:1] in "0123456789−-+" and len(value) < 40
    return True


def _cell(value: Cell) -> str | Markup:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return _text(value if isinstance(value, str) else f"{value:,}")


def _text(value: str | Markup) -> str | Markup:
    """Prose, in which a no-break space keeps a percent sign on the line of its number."""
    return value if isinstance(value, Markup) else printable(value).replace(" %", "\N{NO-BREAK SPACE}%")


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.load()  # decodes all of it: the header of half a file is whole
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG chunk
        raise CheckpointError(tr("Cannot read the figure {path}: {cause}.", path=path, cause=cause(error))) from error
    return content


def _small(png: bytes) -> bytes:
    """Shrink a picture that is larger than a gallery shows."""
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
    environment = Environment(  # autoescape: class and file names may contain "<script>"
        loader=PackageLoader("cifarlab", "drawing"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html")


@cache
def _script() -> str:
    return "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in SCRIPTS)


@cache
def _script_hash() -> str:
    """Hash of the script, base64: the page allows this one and no other (Content Security Policy, level 2)."""
    return base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode("ascii")
