"""Images with what the network said about them."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifarlab.drawing.page import Section, Tile, code, embed_png, gallery, heading, paragraph
from cifarlab.drawing.wording import percent
from cifarlab.errors import CheckpointError
from cifarlab.evaluation.examples import Examples
from cifarlab.pages.report.material import Material

SHOWN = 32
"""Mistakes, and hits that were nearly mistakes."""

EXPLANATIONS = (
    ("feature_maps.png", "Feature maps", "What the first layers make of some images: bright is a strong response."),
    (
        "grad_cam.png",
        "Grad-CAM",
        "Where the network looked when it decided, on some hits and some mistakes. Below: its mean confidence while "
        "pixels are deleted, the hottest first, or in random order. A map that means something has the lower number.",
    ),
)


def predictions(shown: Examples, names: tuple[str, ...]) -> Section:
    """A draw from all classes, 8 x 8, mistakes marked."""
    places = shown.sample()
    wrong = int((~shown.right[places]).sum())
    note = (
        f"{len(places)} images: the first of each class, the second of each, ...; a cross marks the {wrong} mistakes."
    )
    return Section("Predictions", gallery(tiles(shown, places, names)), note)


def extremes(shown: Examples, names: tuple[str, ...]) -> Section:
    """The most confident mistakes and the least confident hits."""
    mistakes, hits = shown.mistakes(SHOWN), shown.unsure_hits(SHOWN)
    body = heading("Most confident mistakes") + _gallery_or(shown, mistakes, names, "There are no mistakes.")
    body += heading("Least confident hits") + _gallery_or(shown, hits, names, "There are no hits.")
    note = "Confident mistakes show wrong labels, odd images and blind spots; unsure hits show where luck was at work."
    return Section("Mistakes and close calls", body, note)


def explanations(material: Material) -> tuple[Section, list[str]]:
    """The figures that need the network, as they were made at the end of training; and the damage met on the way."""
    parts, damages = [], []
    for file, title, text in EXPLANATIONS:
        path = material.run.figures / file
        if not path.exists():
            continue
        try:
            parts.append(heading(title) + paragraph(text) + embed_png(path, f"{title}. {text}"))
        except CheckpointError as error:
            damages.append(str(error))
    if not parts:
        parts.append(paragraph("There are no such figures yet. What one image makes the network do is shown by:"))
        parts.append(code(f"cifarlab explain {material.run.as_argument} IMAGE"))
    return Section("Explanations", Markup().join(parts)), damages


def tiles(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...], *, plain: bool = False) -> list[Tile]:
    """The examples at these places; `plain` leaves out what they are, and the marks."""
    return [_tile(shown, int(place), names, plain) for place in places]


def grid_captions(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...]) -> list[str]:
    """What was said about each image, with its confidence, and in a second line what it is where that is different."""
    return [
        f"{names[shown.predictions[place]]} {100 * shown.confidences[place]:.0f} %\n{_truth(shown, int(place), names)}"
        for place in places
    ]


def _tile(shown: Examples, place: int, names: tuple[str, ...], plain: bool) -> Tile:
    confidence = percent(float(shown.confidences[place]), 0)
    if plain:
        return Tile(shown.png[place], confidence)
    detail = ", ".join(filter(None, [confidence, _truth(shown, place, names)]))
    return Tile(shown.png[place], names[shown.predictions[place]], detail, bool(shown.right[place]))


def _truth(shown: Examples, place: int, names: tuple[str, ...]) -> str:
    return "" if shown.right[place] else f"is {names[shown.labels[place]]}"


def _gallery_or(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...], nothing: str) -> Markup:
    return gallery(tiles(shown, places, names)) if len(places) else paragraph(nothing)
