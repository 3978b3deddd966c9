"""Draw docs/images/terminal.png: what a person sees of `cifarlab train quick`, in a terminal of 88 columns."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from terminal import screen_after  # type: ignore[import-not-found]  # noqa: E402

COLUMNS, SIZE, MARGIN = 88, 26, 24
PAPER, INK, DIM, ACCENT = "#1e1e1e", "#e6e6e6", "#9a9a9a", "#7ec699"
EPOCHS_SHOWN = 2
"""Of the first and of the last epochs; a line of dots stands for the others."""


def main() -> None:
    """Run the command and draw its screen."""
    with tempfile.TemporaryDirectory() as folder:
        lines = screen_after(["train", "quick"], COLUMNS, Path(folder))
        # the address of a folder that is gone again says nothing to a reader
        lines = [line.replace(Path(folder).as_uri(), "file:///home/you") for line in shortened(lines)]
    lines = ["$ cifarlab train quick", *lines]
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSansMono.ttf")), SIZE)
    height = round(1.3 * SIZE)
    width = round(font.getlength("m" * COLUMNS))
    picture = Image.new("RGB", (width + 2 * MARGIN, height * len(lines) + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + row * height), line, font=font, fill=colour(line))
    picture.quantize(16).save(ROOT / "docs/images/terminal.png", optimize=True)


def shortened(lines: list[str]) -> list[str]:
    """The lines with the first and the last epochs only."""
    epochs = [number for number, line in enumerate(lines) if line.startswith("epoch")]
    first, last = epochs[EPOCHS_SHOWN - 1], epochs[-EPOCHS_SHOWN]
    return [*lines[: first + 1], "…", *lines[last:]]


def colour(line: str) -> str:
    """Commands and the result stand out; epochs step back."""
    if line.startswith(("$", "  cifarlab", "Report")):
        return ACCENT
    return DIM if line.startswith(("epoch", "…")) else INK


if __name__ == "__main__":
    main()
