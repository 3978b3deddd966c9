"""Web pages of one file: nothing is loaded from outside, and every name is text, whatever is in it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from cifarlab.console import printable
from cifarlab.errors import CheckpointError

_PNG = b"\x89PNG\r\n\x1a\n"

Cell = str | int | float | Markup | None


@dataclass(frozen=True)
class Section:
    """A part of a page; the note stands under its title."""

    title: str
    body: Markup
    note: str = ""


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
    """Small pictures with captions, `columns` beside each other where there is room; wrong ones carry a cross."""
    return Markup('<ul class="gallery of-{}">{}</ul>').format(columns, Markup().join(_tile(tile) for tile in tiles))


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """A table; numbers and what begins with a digit stand at the right, None is a dash."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(printable(name)) for name in header)
    body = Markup().join(Markup("<tr>{}</tr>").format(Markup().join(_cell(cell) for cell in row)) for row in rows)
    return Markup(
        '<div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, body)


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Names and what they are, in two columns."""
    items = [Markup("<dt>{}</dt><dd>{}</dd>").format(printable(name), _text(value)) for name, value in pairs]
    return Markup("<dl>{}</dl>").format(Markup().join(items))


def paragraph(text: str) -> Markup:
    """A paragraph of plain text."""
    return Markup("<p>{}</p>").format(printable(text))


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
    caption, detail = printable(tile.caption), printable(tile.detail)
    return Markup(
        '<li class="{kind}" title="{words}"><img src="{source}" alt="{words}{verdict}">'
        '<span class="caption">{caption}</span><span class="detail">{detail}</span></li>'
    ).format(
        kind=kind, words=" ".join([caption, detail]).strip(), verdict=verdict, source=_data_uri(tile.png),
        caption=caption, detail=detail,
    )  # fmt: skip


def _cell(value: Cell) -> Markup:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Markup('<td class="number">–</td>')
    text = _text(value if isinstance(value, str) else f"{value:,}")
    numeric = not isinstance(value, Markup) and text[:1] in "0123456789−-+" and len(text) < 40
    return Markup('<td class="number">{}</td>' if numeric else "<td>{}</td>").format(text)


def _text(value: str | Markup) -> str | Markup:
    return value if isinstance(value, Markup) else printable(value)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"Cannot read the figure {path}: {error.strerror}.") from error
    if not content.startswith(_PNG):
        raise CheckpointError(f"{path} is no PNG image.")
    return content


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
