"""The figures that explain a run's network at the end of training: feature maps, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import log, printable
from cifarlab.drawing.grid import render_grid, to_png
from cifarlab.evaluation import examples
from cifarlab.explanation.details import write_details
from cifarlab.explanation.feature_maps import FIRST_STAGES, feature_maps
from cifarlab.explanation.grad_cam import coarse_layer, fine_layer, grad_cam, hires_cam
from cifarlab.explanation.image import weigh
from cifarlab.explanation.render import COLUMNS, deletion_text, enlarged, feature_figure, map_name, overlay
from cifarlab.files import write_atomic
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.judge import own_images
from cifarlab.language import tr
from cifarlab.models.taps import evaluation_mode, stages
from cifarlab.runs.folder import Run

PER_KIND = 4
"""Hits shown, and as many mistakes."""
RANDOM_MAPS = 5
"""Fewer than a test needs, but enough for their mean, which is all that the figure shows."""
CANDIDATES = 500
"""Images of the validation split among which hits and mistakes are searched."""

LabelledPixels = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""uint8 (N, 3, H, W) and int64 (N,)."""


def explain_run(run: Run, *, data_dir: Path | None = None) -> list[Path]:
    """Draw figures/feature_maps.png and figures/grad_cam.png of the first hits and mistakes, and look closer at more.

    The images are examples of the test split if it was evaluated, otherwise of validation, or of train if there is no
    validation. The caller must have locked the run. For a network without feature maps there is a note instead of the
    figures. Returns the files written; see `write_details` for what is stored about test images.
    """
    classifier = Classifier.load(run.model_file, runtime=inference_runtime(run.recipe.runtime.device))
    sizes = stages(classifier.model, classifier.card.input_size)
    closer = write_details(run, classifier, sizes, data_dir=data_dir)
    written = [] if closer is None else [closer]
    if not sizes:
        log.info(tr("This network has no feature maps, so there are no figures of them, and none of Grad-CAM."))
        return written
    with evaluation_mode(classifier.model):
        # The test split is not opened again: evaluating it has stored its examples.
        pixels, labels = _first_hits_and_mistakes(classifier, *_candidates(run, classifier, data_dir))
        pictures = {
            run.figures / "feature_maps.png": feature_maps_figure(classifier, pixels, labels, list(sizes)),
            run.figures / "grad_cam.png": grad_cam_figure(classifier, pixels, labels, sizes),
        }
    for path, content in pictures.items():  # after both were drawn: neither stands alone beside an older one
        write_atomic(path, content)
    return [*written, *pictures]


def feature_maps_figure(
    classifier: Classifier, pixels: NDArray[np.uint8], labels: NDArray[np.int64], layers: Sequence[str]
) -> bytes:
    """Draw the first hit and the first mistake as the first FIRST_STAGES of these layers see them, as PNG."""
    hits = classifier.logits(pixels).argmax(axis=1) == labels
    shown = sorted({int(np.argmax(hits)), int(np.argmin(hits))})  # one image where all are hits, or none is
    maps = feature_maps(classifier, pixels[shown], layers[:FIRST_STAGES])
    pictures = [
        (pixels[place], {layer: found[number] for layer, found in maps.items()}) for number, place in enumerate(shown)
    ]
    return to_png(feature_figure(pictures, COLUMNS))


def grad_cam_figure(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    sizes: Mapping[str, tuple[int, int]],
) -> bytes:
    """Draw images in a row and below them their heat maps with deletion scores, as PNG.

    sizes: of feature maps (h, w) by layer, in the order in which the layers run.
    """
    probabilities = classifier.probabilities(pixels)
    # The maps explain what was predicted, right or wrong.
    predicted = [int(index) for index in probabilities.argmax(axis=1)]
    coarse = grad_cam(classifier, pixels, predicted, coarse_layer(sizes))
    fine = hires_cam(classifier, pixels, predicted, fine_layer(sizes, classifier.card.input_size))
    names = [printable(name) for name in classifier.card.class_names]
    captions = [
        f"{names[index]} {100 * row[index]:.0f} %\n" + ("" if index == label else f"is {names[label]}")
        for index, label, row in zip(predicted, labels, probabilities, strict=True)
    ]
    cells = [enlarged(image) for image in pixels]
    for maps in (coarse, fine):
        cells += [overlay(image, heat_map) for image, heat_map in zip(pixels, maps, strict=True)]
        captions += [
            deletion_text(weigh(classifier, image, heat_map, index, num_random=RANDOM_MAPS))
            for image, heat_map, index in zip(pixels, maps, predicted, strict=True)
        ]
    marks = [bool(index == label) for index, label in zip(predicted, labels, strict=True)] * 3  # one per row
    labelled = ["image", map_name(coarse[0]), map_name(fine[0])]
    return to_png(render_grid(np.stack(cells), captions, len(pixels), scale=1, marks=marks, row_labels=labelled))


def _candidates(run: Run, classifier: Classifier, data_dir: Path | None) -> LabelledPixels:
    file = run.examples_file("test")
    if file.exists():
        kept = examples.read(file)  # a sample of all images, and mistakes
        others = np.setdiff1d(kept.mistakes(), kept.sample())  # or an image of both would be shown twice
        places = np.concatenate([kept.sample(), others[examples.in_turns(kept.labels[others])]])
        return kept.pixels(places), kept.labels[places]
    images = own_images(run, "val" if run.recipe.validation.size else "train", classifier, data_dir)
    places = examples.draw(images.labels, CANDIDATES)
    places = places[examples.in_turns(images.labels[places])]  # one image of each class in turn
    return images.pixels[places], images.labels[places]


def _first_hits_and_mistakes(
    classifier: Classifier, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> LabelledPixels:
    """Choose the first of each kind, so nobody chose them by their looks; in turns, they are of several classes."""
    hits = classifier.logits(pixels).argmax(axis=1) == labels
    chosen = np.concatenate([np.flatnonzero(hits)[:PER_KIND], np.flatnonzero(~hits)[:PER_KIND]])
    return pixels[chosen], labels[chosen]
