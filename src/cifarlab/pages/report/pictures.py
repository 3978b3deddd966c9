"""Images with what the network predicted for them."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifarlab.console import count
from cifarlab.drawing.grid import LABEL, said
from cifarlab.drawing.page import Section, Tile, code, embed_png, gallery, heading, paragraph
from cifarlab.drawing.wording import percent
from cifarlab.errors import CheckpointError
from cifarlab.evaluation.examples import Examples
from cifarlab.language import listed, tr, translatable
from cifarlab.pages.report.material import Material, Result

SHOWN = 32
"""Mistakes, and correct predictions that were nearly mistakes: four rows of the gallery each."""

EXPLANATIONS = (
    (
        "feature_maps.png",
        translatable("Feature maps"),
        translatable("How the first layers respond to some images; bright areas are strong responses."),
    ),
    (
        "grad_cam.png",
        translatable("Grad-CAM"),
        translatable(
            "Which parts of an image the prediction rests on, for some correct predictions and some mistakes. Below "
            "each: the mean confidence while pixels are deleted, those with the most heat first or in random order. A "
            "map whose own number is not the lower one has failed this test: the prediction does not rest on what it "
            "marks, and it should not be shown to anybody as the reason."
        ),
    ),
)


def predictions(result: Result, shown: Examples) -> Section:
    """A sample of all classes, 8 x 8, with the mistakes marked."""
    places = shown.sample()  # drawn without a look at the predictions, so the marks give an honest impression
    wrong = int((~shown.right[places]).sum())
    note = (
        tr("{images}, drawn from all classes alike, whatever was predicted. A cross marks {mistakes}.")
        if wrong
        else tr("{images}, drawn from all classes alike, whatever was predicted. There are no mistakes among them.")
    ).format(images=count(len(places), "image"), mistakes=count(wrong, "mistake"))
    return Section(tr("Predictions"), gallery(tiles(result, shown, places)), note)


def extremes(result: Result, shown: Examples) -> Section:
    """The most confident mistakes and the least confident correct predictions."""
    # the ends of the ranking, because the middle looks like the sample above
    mistakes, hits = shown.mistakes(SHOWN), shown.unsure_hits(SHOWN)
    body = heading(tr("Most confident mistakes"))
    body += gallery(tiles(result, shown, mistakes)) if len(mistakes) else paragraph(tr("There are no mistakes."))
    body += heading(tr("Least confident correct predictions"))
    body += gallery(tiles(result, shown, hits)) if len(hits) else paragraph(tr("There are no correct predictions."))
    note = tr(
        "Confident mistakes reveal wrong labels, unusual images and blind spots; unsure correct predictions show where "
        "luck played a part."
    )
    return Section(tr("Mistakes and close calls"), body, note)


def explanations(material: Material) -> tuple[Section, list[str]]:
    """The figures that need the network, as they were drawn at the end of training; and which of them are damaged."""
    parts, damages = [], []
    for file, title, text in EXPLANATIONS:
        path = material.run.figures / file
        if not path.exists():
            continue
        try:
            # embedded, so that the page stays one file that can be mailed; as PNG, because it is made of photographs
            alt = f"{tr(title)}. {tr(text)}"
            parts.append(heading(tr(title)) + paragraph(tr(text)) + embed_png(path, alt))
        except CheckpointError as error:
            damages.append(str(error))
    if not parts:
        # drawing them here would need torch and the model, and a report has to do without both
        parts.append(paragraph(tr("These figures have not been drawn. To explain the prediction for an image, run:")))
        parts.append(code(f"cifarlab explain {material.run.as_argument} IMAGE"))
    return Section(tr("Explanations"), Markup().join(parts)), damages


def tiles(result: Result, shown: Examples, places: NDArray[np.int64], *, plain: bool = False) -> list[Tile]:
    """The examples at these places; `plain` shows only the confidence, where a heading gives the classes already."""
    found, names = [], result.evaluation.class_names
    for place in places:
        confidence, file = percent(float(shown.confidences[place]), 0), result.name_of(int(shown.indices[place]))
        if plain:  # no cross either: in a gallery of one confusion, all of them are mistakes
            found.append(Tile(shown.png[place], confidence, file=file))
            continue
        detail = listed(filter(None, [confidence, said(_truth(shown, place, names))]))
        found.append(Tile(shown.png[place], names[shown.predictions[place]], detail, bool(shown.right[place]), file))
    return found


def grid_captions(shown: Examples, places: NDArray[np.int64], names: tuple[str, ...]) -> list[str]:
    """The prediction for each image with its confidence, and in a second line the label where that is different."""
    return [
        f"{names[shown.predictions[place]]} {100 * shown.confidences[place]:.0f} %\n{_truth(shown, place, names)}"
        for place in places
    ]


def _truth(shown: Examples, place: int, names: tuple[str, ...]) -> str:
    return "" if shown.right[place] else LABEL.format(name=names[shown.labels[place]])
