"""Explanations as pictures: heat maps in colour over their image, and feature maps in grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarlab.console import printable
from cifarlab.drawing.grid import CHANNEL, DELETION, RANDOM, render_grid, to_png
from cifarlab.explanation.feature_maps import strongest
from cifarlab.explanation.heat_map import HeatMap
from cifarlab.explanation.image import Evidence, Explanation
from cifarlab.language import tr

SIDE = 128
"""Side in pixels of a picture in a grid, whatever the size of the image."""
HEAT, SHADES = "inferno", "viridis"
"""Perceptually uniform, for colour-blind readers and for print in grey too (Smith and van der Walt, SciPy 2015)."""
HEAT_SHARE = 0.6
"""The rest is the image in grey, so that a reader sees what lies under the evidence."""
COLUMNS = 8
"""Feature maps in a row."""
_PAPER = np.full((3, SIDE, SIDE), 255, np.uint8)

Features = tuple[NDArray[np.uint8], Mapping[str, NDArray[np.float32]]]
"""An image, uint8 (3, H, W), and the maps (C, h, w) of some layers."""


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize uint8 (3, H, W) to SIDE × SIDE pixels, with hard edges when it grows."""
    return _square(pixels.transpose(1, 2, 0))


def overlay(pixels: NDArray[np.uint8], heat_map: HeatMap) -> NDArray[np.uint8]:
    """Draw a heat map over the image in grey, uint8 (3, SIDE, SIDE): bright where the evidence is, dark elsewhere.

    The brightest colour is the map's own maximum; evidence against the class is as dark as none.
    """
    grey = enlarged(pixels).mean(axis=0, keepdims=True)
    evidence = np.maximum(heat_map.resized(SIDE, SIDE), np.float32(0))
    largest = float(evidence.max())
    # An empty map is divided by 1 and stays dark.
    mixed = (1 - HEAT_SHARE) * grey + HEAT_SHARE * _coloured(evidence / (largest or 1.0), HEAT)
    return np.asarray(mixed.round(), np.uint8)


def shaded(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw a feature map (h, w) from its smallest to its largest value, uint8 (3, SIDE, SIDE), with hard edges."""
    span = float(values.max() - values.min())
    colours = _coloured((values - values.min()) / (span or 1.0), SHADES)  # a constant map is dark
    return _square(colours.transpose(1, 2, 0).astype(np.uint8))


def feature_figure(pictures: Sequence[Features], count: int) -> Image.Image:
    """Draw images and, layer by layer, the `count` channels that vary most, with their numbers as captions."""
    # A grid has no empty cells, so rows with fewer maps end in blank paper.
    rows = [row for pixels, layers in pictures for row in _feature_rows(pixels, layers, count)]
    cells = [cell for row in rows for cell in row.cells + [_PAPER] * (1 + COLUMNS - len(row.cells))]
    captions = [text for row in rows for text in row.captions + [""] * (1 + COLUMNS - len(row.cells))]
    return render_grid(np.stack(cells), captions, 1 + COLUMNS, scale=1, row_labels=[row.label for row in rows])


def filter_figure(filters: NDArray[np.float32]) -> Image.Image:
    """Draw filters (C, 3, h, w) as colours: grey is zero, and each filter is scaled by its own largest weight."""
    largest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    colours = np.round(127.5 + 127.5 * filters / np.where(largest > 0, largest, 1)).astype(np.uint8)
    scale = max(1, 48 // filters.shape[-1])  # about 48 px: filters are 3 to 16 px wide
    return render_grid(colours, (), 2 * COLUMNS, scale=scale)


def map_figure(explanation: Explanation) -> Image.Image:
    """Draw the image, and each heat map over it with its deletion score and that of random maps."""
    cells = [enlarged(explanation.pixels), *(overlay(explanation.pixels, each.heat_map) for each in explanation.maps)]
    shown = f"{printable(explanation.class_name)} {100 * explanation.probability:.0f} %"
    captions = [f"{shown}\n\n", *(f"{map_name(each.heat_map)}\n{deletion_text(each)}" for each in explanation.maps)]
    return render_grid(np.stack(cells), captions, len(cells), scale=2)


def map_name(heat_map: HeatMap) -> str:
    """Name a heat map by its method, layer and resolution: "Grad-CAM layer4 4×4"."""
    place = f" {printable(heat_map.layer)}" if heat_map.layer else ""
    return f"{tr(heat_map.method)}{place} {heat_map.size[0]}×{heat_map.size[1]}"


def deletion_text(evidence: Evidence) -> str:
    """Write the deletion score and the mean of the random maps as lines of a caption, in English."""
    found = evidence.deletion
    return f"{DELETION.format(score=f'{found.area:.2f}')}\n{RANDOM.format(score=f'{found.random_area:.2f}')}"


def verdict(evidence: Evidence, class_name: str) -> str:
    """Say in one sentence whether a heat map means anything."""
    found = evidence.deletion
    if evidence.heat_map.is_empty:
        return tr("empty: nothing in it speaks for {name}", name=printable(class_name))
    total = len(found.random_curves)
    text = (
        tr("beats all {total} random maps (p = {p:.2f}): what it marks matters")
        if found.num_beaten == total  # all 19, or p is above 0.05
        else tr("beats {n} of {total} random maps (p = {p:.2f}): not told apart from chance")
    )
    return text.format(n=found.num_beaten, total=total, p=found.p_value)


def png_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels, uint8 (3, H, W), as PNG."""
    return to_png(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))


def _square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    shrinks = max(image.size) > SIDE
    # Hard edges show the pixels that the network sees; shrinking takes means.
    resized = image.resize((SIDE, SIDE), Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)
    return np.asarray(resized).transpose(2, 0, 1)


def _coloured(values: NDArray[np.floating[Any]], colours: str) -> NDArray[np.float64]:
    """Colour fractions (h, w): float (3, h, w) in 0..255."""
    return 255.0 * np.asarray(matplotlib.colormaps[colours](values))[..., :3].transpose(2, 0, 1)  # without alpha


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of a grid: its label, the image or blank paper, and up to COLUMNS feature maps."""

    label: str
    cells: list[NDArray[np.uint8]]
    captions: list[str]


def _feature_rows(pixels: NDArray[np.uint8], layers: Mapping[str, NDArray[np.float32]], count: int) -> Iterator[_Row]:
    first = enlarged(pixels)
    for layer, maps in layers.items():
        channels = strongest(maps, count)
        label = f"{printable(layer)}  {maps.shape[1]}×{maps.shape[2]}"
        for start in range(0, len(channels), COLUMNS):
            part = channels[start : start + COLUMNS]
            yield _Row(label, [first, *(shaded(maps[i]) for i in part)], ["", *(CHANNEL.format(n=i) for i in part)])
            first, label = _PAPER, ""  # the image stands once, in its first row, and a layer's name in the layer's
