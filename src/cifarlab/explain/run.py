"""What a run shows of its network at the end of training: feature maps, and where it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import log, printable
from cifarlab.drawing.grid import render_grid
from cifarlab.evaluation import examples
from cifarlab.explain.feature_maps import FIRST_STAGES, feature_maps
from cifarlab.explain.grad_cam import coarse_layer, fine_layer, grad_cam, hires_cam
from cifarlab.explain.heat_map import HeatMap
from cifarlab.explain.image import weigh
from cifarlab.explain.render import COLUMNS, deletion_text, enlarged, feature_figure, map_name, overlay, png
from cifarlab.files import write_atomic
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.judge import own_images
from cifarlab.models.taps import evaluation_mode, stages
from cifarlab.runs.folder import Run

PER_KIND = 4
"""Hits shown, and mistakes."""
RANDOM_MAPS = 5
"""Enough for their mean, which the figure shows."""
CANDIDATES = 500
"""Images of the validation split among which hits and mistakes are looked for."""

LabelledPixels = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""uint8 (N, 3, H, W) and int64 (N,)."""


def explain_run(run: Run, *, data_dir: Path | None = None) -> list[Path]:
    """Draw figures/feature_maps.png and figures/grad_cam.png of the first hits and mistakes; returns what was written.

    The images are the examples of the test split where it was judged, else those of validation, or of train where
    there is none. The caller has locked the run. A network without feature maps gets no figures, and a note.
    """
    classifier = Classifier.load(run.model_file, runtime=inference_runtime(run.recipe.runtime.device))
    there = stages(classifier.model, classifier.card.input_size)
    if not there:
        log.info("This network has no feature maps, so there are no figures of them, and none of Grad-CAM.")
        return []
    with evaluation_mode(classifier.model):
        pixels, labels = _first_hits_and_mistakes(classifier, *_candidates(run, classifier, data_dir))
        pictures = {
            run.figures / "feature_maps.png": feature_maps_figure(classifier, pixels, labels, list(there)),
            run.figures / "grad_cam.png": grad_cam_figure(classifier, pixels, labels, there),
        }
    for path, content in pictures.items():
        write_atomic(path, content)
    return list(pictures)


def feature_maps_figure(
    classifier: Classifier, pixels: NDArray[np.uint8], labels: NDArray[np.int64], layers: Sequence[str]
) -> bytes:
    """The first hit and the first mistake in the first of these layers, as PNG."""
    hits = classifier.logits(pixels).argmax(axis=1) == labels
    shown = sorted({int(np.argmax(hits)), int(np.argmin(hits))})
    maps = feature_maps(classifier, pixels[shown], layers[:FIRST_STAGES])
    pictures = [
        (pixels[place], {layer: found[number] for layer, found in maps.items()}) for number, place in enumerate(shown)
    ]
    return png(feature_figure(pictures, COLUMNS))


def grad_cam_figure(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    there: Mapping[str, tuple[int, int]],
) -> bytes:
    """Images in a row, below them why the network says what it says, with deletion scores, as PNG."""
    probabilities = classifier.probabilities(pixels)
    answers = [int(answer) for answer in probabilities.argmax(axis=1)]
    coarse = grad_cam(classifier, pixels, answers, coarse_layer(there))
    fine = hires_cam(classifier, pixels, answers, fine_layer(there, classifier.card.input_size))
    names = [printable(name) for name in classifier.card.class_names]
    captions = [
        f"{names[answer]} {100 * row[answer]:.0f} %\n" + ("" if answer == label else f"is {names[label]}")
        for answer, label, row in zip(answers, labels, probabilities, strict=True)
    ]
    cells = [enlarged(image) for image in pixels]
    for maps in (coarse, fine):
        cells += [overlay(image, heat_map) for image, heat_map in zip(pixels, maps, strict=True)]
        captions += _scores(classifier, pixels, maps, answers)
    marks = [bool(answer == label) for answer, label in zip(answers, labels, strict=True)] * 3
    labelled = ["image", map_name(coarse[0]), map_name(fine[0])]
    return png(render_grid(np.stack(cells), captions, len(pixels), scale=1, marks=marks, row_labels=labelled))


def _scores(classifier: Classifier, pixels: NDArray[np.uint8], maps: list[HeatMap], answers: list[int]) -> list[str]:
    return [
        deletion_text(weigh(classifier, image, heat_map, answer, num_random=RANDOM_MAPS))
        for image, heat_map, answer in zip(pixels, maps, answers, strict=True)
    ]


def _candidates(run: Run, classifier: Classifier, data_dir: Path | None) -> LabelledPixels:
    file = run.examples_file("test")
    if file.exists():
        kept = examples.read(file)
        others = np.setdiff1d(kept.mistakes(), kept.sample())
        places = np.concatenate([kept.sample(), others[examples.in_turns(kept.labels[others])]])
        return kept.pixels(places), kept.labels[places]
    images = own_images(run, "val" if run.recipe.validation.size else "train", classifier, data_dir)
    places = examples.in_turns(images.labels)[:CANDIDATES]
    return images.pixels[places], images.labels[places]


def _first_hits_and_mistakes(
    classifier: Classifier, pixels: NDArray[np.uint8], labels: NDArray[np.int64]
) -> LabelledPixels:
    """Not chosen by how they look: the first of each kind, and as candidates come in turns, of several classes."""
    hits = classifier.logits(pixels).argmax(axis=1) == labels
    chosen = np.concatenate([np.flatnonzero(hits)[:PER_KIND], np.flatnonzero(~hits)[:PER_KIND]])
    return pixels[chosen], labels[chosen]
