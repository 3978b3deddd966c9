"""Grids of images with captions, marks and labels, as one picture."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from pydantic import TypeAdapter

from cifarlab.drawing.fonts import Face, face_of
from cifarlab.images.images import Images
from cifarlab.language import tr, translatable

INK, PAPER = (38, 38, 38), (255, 255, 255)
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)
"""Blue and vermilion (Okabe and Ito, 2008), which colour-blind readers can tell apart; wrong also gets a cross."""

MARGIN, GAP, WIDE_GAP, FRAME = 20, 6, 14, 3
"""Pixels: around everything, between bare images, between framed or captioned ones, width of a frame."""

MAX_LABEL_WIDTH = 240
"""Pixels; longer labels are cut, so that one long class name does not push all images aside."""


MOST_CELLS = 1000
"""A grid on a page has fewer; more come from a file that somebody has changed."""
DESCRIPTION = "cifarlab grid"
"""Keyword of the text chunk that describes a grid, for pages, which show its parts with text of their own."""


IMAGE, LABEL, CHANNEL = translatable("image"), translatable("is {name}"), translatable("channel {n}")
DELETION, RANDOM = translatable("deletion {score}"), translatable("random {score}")
"""Lines of captions and labels that are words. They are given and stored in English, and translated where they are
shown, since who looks at a run later may speak another language."""
_PATTERNS = {
    IMAGE: "image",
    LABEL: "is (?P<name>.+)",
    CHANNEL: r"channel (?P<n>\d+)",
    DELETION: r"deletion (?P<score>[\d.]+)",
    RANDOM: r"random (?P<score>[\d.]+)",
}


@dataclass(frozen=True)
class Description:
    """What is in a grid: the places of its images (left, top, right, bottom), row by row, and the texts around them."""

    columns: int
    boxes: list[tuple[int, int, int, int]]
    captions: list[str]
    marks: list[bool] | None
    row_labels: list[str]


_ADAPTER = TypeAdapter(Description)


@dataclass(frozen=True)
class _Layout:
    """Sizes and places, in pixels of the drawing."""

    columns: int
    rows: int
    cell_width: int
    cell_height: int
    gap: int
    label_width: int
    caption_lines: int
    font_size: int

    @property
    def line_height(self) -> int:
        return round(self.font_size * 1.35)  # room for letters with accents above and tails below

    @property
    def row_pitch(self) -> int:
        return self.cell_height + self.gap + self.caption_lines * self.line_height

    @property
    def size(self) -> tuple[int, int]:
        width = self.label_width + self.columns * (self.cell_width + self.gap) - self.gap
        return 2 * MARGIN + width, 2 * MARGIN + self.rows * self.row_pitch - self.gap

    def corner(self, index: int) -> tuple[int, int]:
        """Upper left corner of a cell, by its index in reading order."""
        row, column = divmod(index, self.columns)
        left = MARGIN + self.label_width + column * (self.cell_width + self.gap)
        return left, MARGIN + row * self.row_pitch


def render_grid(
    pixels: NDArray[np.uint8],
    captions: Sequence[str],
    columns: int,
    *,
    scale: int,
    marks: Sequence[bool] | None = None,
    row_labels: Sequence[str] | None = None,
) -> Image.Image:
    """Draw images, uint8 (N, 3, H, W), row by row, each magnified `scale` times with hard pixel edges.

    captions: below each image, of one or more lines, each cut to the width of its cell; empty for none.
    marks: right (blue frame) or wrong (vermilion frame and a cross). row_labels: one per row, at its left.
    Lines of words are given in English, see LABEL and the others, and drawn in the language that is spoken.
    Raises ValueError when the lengths do not match.
    """
    rows = -(-len(pixels) // columns)  # rounded up
    if len(pixels) == 0 or scale < 1 or (captions and len(captions) != len(pixels)):
        raise ValueError(f"{len(pixels)} images, {len(captions)} captions, scale {scale} cannot be laid out")
    if (marks is not None and len(marks) != len(pixels)) or (row_labels is not None and len(row_labels) != rows):
        raise ValueError(f"marks must be one per image ({len(pixels)}), row_labels one per row ({rows})")
    gap = WIDE_GAP if captions or marks is not None else GAP
    layout = _lay_out(pixels, captions, columns, scale, gap, row_labels or ())  # first, since the size depends on it
    drawing = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(drawing)
    for index, image in enumerate(pixels):
        left, top = layout.corner(index)
        enlarged = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))  # Pillow wants (H, W, 3)
        cell = (layout.cell_width, layout.cell_height)
        # Nearest: a smooth enlargement would show detail that the network does not see.
        drawing.paste(enlarged.resize(cell, Image.Resampling.NEAREST), (left, top))
        if marks is not None:
            _draw_mark(draw, (left, top), cell, right=marks[index])
        if captions:
            wrong = marks is not None and not marks[index]
            _draw_caption(draw, layout, captions[index], left, top, WRONG if wrong else INK)
    for row, label in enumerate(row_labels or ()):
        _draw_label(draw, layout, row, label)
    corners = [layout.corner(index) for index in range(len(pixels))]
    described = Description(
        columns=layout.columns,
        boxes=[(x, y, x + layout.cell_width, y + layout.cell_height) for x, y in corners],
        captions=list(captions),
        marks=None if marks is None else list(marks),
        row_labels=list(row_labels or ()),
    )
    drawing.info[DESCRIPTION] = json.dumps(asdict(described))
    return drawing


def said(line: str) -> str:
    """Translate a line of a caption if it is words; names and numbers stay."""
    for message, pattern in _PATTERNS.items():
        if found := re.fullmatch(pattern, line):
            return tr(message, **found.groupdict())
    return line


def to_png(grid: Image.Image) -> bytes:
    """Encode a grid as PNG, with its description in a text chunk if `render_grid` made it."""
    content, chunks = io.BytesIO(), PngInfo()
    if DESCRIPTION in grid.info:
        chunks.add_text(DESCRIPTION, grid.info[DESCRIPTION])
    grid.save(content, "PNG", pnginfo=chunks)
    return content.getvalue()


def description(grid: Image.Image) -> Description | None:
    """Read what is in a grid; None for a picture that is not a grid, or that was changed."""
    try:
        found: Description = _ADAPTER.validate_json(grid.info.get(DESCRIPTION, ""))
    except ValueError:
        return None
    width, height = grid.size
    num_cells, num_rows = len(found.boxes), -(-len(found.boxes) // max(found.columns, 1))
    fits = (
        0 < num_cells <= MOST_CELLS
        and found.columns > 0
        and all(0 <= left < right <= width and 0 <= top < bottom <= height for left, top, right, bottom in found.boxes)
        and len(found.captions) in (0, num_cells)
        and len(found.row_labels) in (0, num_rows)
        and (found.marks is None or len(found.marks) == num_cells)
    )
    return found if fits else None


def class_grid(images: Images, per_class: int = 10) -> Image.Image:
    """Draw examples of every class, one class per row, taken at equal distances from the whole data set.

    Classes without an image are left out. Raises ValueError for a data set without images.
    """
    height, width = images.size
    cells, labels = [], []
    for label in np.flatnonzero(images.counts):
        members = np.flatnonzero(images.labels == label)
        # Evenly spaced: neighbours in a data set may be pictures of one series.
        chosen = members[np.linspace(0, len(members) - 1, min(per_class, len(members))).round().astype(np.int64)]
        row = np.full((per_class, 3, height, width), 255, np.uint8)  # white paper where there are too few
        row[: len(chosen)] = images.pixels[chosen]
        cells.append(row)
        labels.append(images.class_names[label])
    pixels = np.concatenate(cells) if cells else np.empty((0, 3, height, width), np.uint8)
    side = 96 if len(labels) <= 20 else 64  # a hundred rows of 96 px would be 10,000 px high
    return render_grid(pixels, (), per_class, scale=max(1, round(side / width)), row_labels=labels)


def _lay_out(
    pixels: NDArray[np.uint8], captions: Sequence[str], columns: int, scale: int, gap: int, row_labels: Sequence[str]
) -> _Layout:
    height, width = pixels.shape[2] * scale, pixels.shape[3] * scale
    font_size = min(max(width // 8, 11), 15)  # grows with the images; below 11 px letters cannot be read
    longest = max((_width(label, font_size + 2) for label in map(said, row_labels)), default=0)
    return _Layout(
        columns=min(columns, len(pixels)),
        rows=-(-len(pixels) // columns),
        cell_width=width,
        cell_height=height,
        gap=gap,
        label_width=min(longest, MAX_LABEL_WIDTH) + WIDE_GAP if row_labels else 0,
        caption_lines=max((caption.count("\n") + 1 for caption in captions if caption), default=0),
        font_size=font_size,
    )


def _draw_mark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], cell: tuple[int, int], *, right: bool) -> None:
    (left, top), (width, height) = corner, cell
    box = (left - FRAME, top - FRAME, left + width + FRAME - 1, top + height + FRAME - 1)  # outside of the image
    draw.rectangle(box, outline=RIGHT if right else WRONG, width=FRAME)
    if right:
        return
    size = max(min(width // 6, 16), 8)  # of the cross, in the upper right corner; it must not cover the image
    x, y = left + width - size, top
    draw.rectangle((x, y, x + size, y + size), fill=WRONG)
    inset = size // 4
    draw.line((x + inset, y + inset, x + size - inset, y + size - inset), fill=PAPER, width=2)
    draw.line((x + inset, y + size - inset, x + size - inset, y + inset), fill=PAPER, width=2)


def _draw_caption(
    draw: ImageDraw.ImageDraw, layout: _Layout, caption: str, left: int, top: int, ink: tuple[int, int, int]
) -> None:
    middle, y = left + layout.cell_width / 2, top + layout.cell_height + FRAME + 1  # below the frame
    for number, line in enumerate(caption.split("\n")):
        text = _shorten(said(line), layout.cell_width + layout.gap - 4, layout.font_size)  # 4 px to the next caption
        place = (middle, y + (number + 0.5) * layout.line_height)
        draw.text(place, text, fill=ink, font=_font(text, layout.font_size), anchor="mm")


def _draw_label(draw: ImageDraw.ImageDraw, layout: _Layout, row: int, label: str) -> None:
    size = layout.font_size + 2  # labels are read first
    text = _shorten(said(label), MAX_LABEL_WIDTH, size)
    _, top = layout.corner(row * layout.columns)
    place = (MARGIN + layout.label_width - WIDE_GAP, top + layout.cell_height / 2)
    draw.text(place, text, fill=INK, font=_font(text, size), anchor="rm")  # right, middle


def _shorten(text: str, width: int, font_size: int) -> str:
    """Cut a text to a width in pixels and mark the cut with an ellipsis."""
    if _width(text, font_size) <= width:
        return text
    while text and _width(f"{text}…", font_size) > width:
        text = text[:-1]
    return f"{text}…"


def _width(text: str, font_size: int) -> int:
    return round(_font(text, font_size).getlength(text))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return _load_font(face_of(text), size)


@cache  # a font file is parsed anew at each load, and every caption needs one
def _load_font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face.file, size, face.index)
