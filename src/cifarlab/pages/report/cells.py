"""The images behind the cells of the confusion matrix, for a reader who chooses one; cells.js shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifarlab.console import count, printable
from cifarlab.drawing.page import data, small_base64
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.details import Detail
from cifarlab.evaluation.examples import Examples
from cifarlab.language import ntr, tr, translatable
from cifarlab.pages.report.material import Result

SHOWN_SHARES = 10
"""Classes whose probabilities are shown for an image."""
ROOM_CHARACTERS = 2_500_000
"""For pictures on the page, beside the galleries; of pictures of 32 pixels this is enough for all that are stored."""

HINT = translatable(
    "Choose a cell to see its images, and an image to see its class probabilities, where the network looked and the "
    "training images that are most similar to it. By keyboard: tab to the matrix, move with the arrow keys, open with "
    "Enter."
)


def explorer(result: Result, matrix: Markup, beside: Markup) -> Markup:
    """The matrix, and beside it a panel for the images of a cell; until one is chosen, and without script, `beside`.

    Without the stored images or predictions the matrix cannot be explored, and only both are shown.
    """
    known = _known(result)
    hint = Markup('<p class="note needs-script" hidden>{}</p>').format(tr(HINT)) if known else Markup()
    values = data("cell-images", known) if known else Markup()
    return Markup('{}<div class="cells">{}<div id="cell-panel">{}</div></div>{}').format(hint, matrix, beside, values)


def _known(result: Result) -> dict[str, Any]:
    """What cells.js shows: class names and, cell by cell in turns, images as far as there is room."""
    shown, predicted = result.examples, result.predictions
    if shown is None or predicted is None:
        return {}
    shares = probabilities(predicted.logits, result.evaluation.temperature)
    images, room = [], ROOM_CHARACTERS
    for place in shown.in_cells(np.array(result.evaluation.confusion_matrix)):
        image = _image(result, shown, int(place), shares[shown.indices[place]])
        room -= sum(len(each["png"]) for each in (image, *image.get("neighbours", ())))
        if room < 0:
            break
        images.append(image)
    explained = sum("heat" in image or "neighbours" in image for image in images)
    names = [printable(name) for name in result.evaluation.class_names]
    return {"classes": names, "images": images, "words": words(explained)}


def words(num_explained: int) -> dict[str, str]:
    """The texts of cells.js, which fills in their {fields}."""
    missing = (
        tr(
            "Heat maps and similar training images are stored for {images}: the first of each cell, as far as that "
            "goes.",
            images=count(num_explained, "image"),
        )
        if num_explained
        else tr("No heat maps and no similar training images are stored with this run.")
    )
    return {
        "missing": missing,
        "image": ntr("{n} image", "{n} images", 1),
        "images": ntr("{n} image", "{n} images", 2),
        "recognised": tr("{label} recognised"),
        "confused": tr("{label} predicted as {prediction}"),
        "hits": tr("{images}, least confident first."),
        "mistakes": tr("{images}, most confident first."),
        "none": tr("{images}; none is on this page."),
        "some": tr("{n} of {images}"),
        "back": tr("Back to the most confused pairs"),
        "thumbnail": tr("{title}, {prediction} {share}"),
        "hit": tr("{title}: {label}, recognised"),
        "mistake": tr("{title}: {label}, predicted as {prediction}"),
        "picture": tr("image"),
        "neighbours": tr("Most similar training images"),
        "similarity": tr("{title}: {label}, similarity {similarity}"),
    }


def _image(result: Result, shown: Examples, place: int, shares: NDArray[np.float64]) -> dict[str, Any]:
    index = int(shown.indices[place])
    best = np.argsort(-shares, kind="stable")[:SHOWN_SHARES]
    image: dict[str, Any] = {
        "title": _title(result.name_of(index), tr("image {n}", n=index)),
        "label": int(shown.labels[place]),
        "prediction": int(shown.predictions[place]),
        "top": [[int(each), round(float(shares[each]), 4)] for each in best],
        "png": small_base64(shown.png[place]),
    }
    return image | (_closer(result.details[index]) if index in result.details else {})


def _closer(detail: Detail) -> dict[str, Any]:
    """The heat map, in percent of its own maximum, with what its deletion test says; and the neighbours."""
    found: dict[str, Any] = {}
    if detail.heat.size:
        evidence = np.maximum(detail.heat, 0)
        values = (100 * evidence / (evidence.max() or 1)).round().astype(int)
        height, width = detail.heat.shape
        found["heat"] = {
            "method": f"{printable(detail.method)} {height}×{width}",
            "height": height,
            "width": width,
            "values": values.ravel().tolist(),
            "verdict": verdict(detail),
        }
    if detail.neighbours:
        found["neighbours"] = [
            {
                "title": _title(near.name, tr("training image {n}", n=near.index)),
                "label": near.label,
                "similarity": round(near.similarity, 3),
                "png": small_base64(near.png),
            }
            for near in detail.neighbours
        ]
    return found


def verdict(detail: Detail) -> str:
    """Say in one sentence whether a heat map may be taken for the reason of the prediction."""
    if detail.heat.max() <= max(0.0, float(detail.heat.min())):
        return tr("The map is empty: nothing in it speaks for the predicted class.")
    own, chance = f"{detail.deletion:.2f}", f"{detail.random_deletion:.2f}"
    if detail.means_something:
        return tr(
            "Bright places matter: with what the map marks deleted first, the probability is lower on average "
            "({own}) than in random order ({chance}).",
            own=own,
            chance=chance,
        )
    return tr(
        "This map fails its test, so it is not the reason of the prediction: with what it marks deleted first, the "
        "probability is no lower on average ({own}) than in random order ({chance}).",
        own=own,
        chance=chance,
    )


def _title(name: str, otherwise: str) -> str:
    return printable(name) if name else otherwise
