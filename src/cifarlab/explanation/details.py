"""A closer look at the test images that a reader of the report can choose: heat maps and nearest training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarlab.console import log, progress
from cifarlab.errors import DataError, RecipeError
from cifarlab.evaluation import details, examples
from cifarlab.evaluation.details import Detail, Neighbour
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.explanation.grad_cam import GRAD_CAM, coarse_layer, grad_cam
from cifarlab.explanation.image import weigh
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier
from cifarlab.judge import own_images
from cifarlab.language import tr
from cifarlab.models.finetune import head
from cifarlab.models.taps import evaluation_mode
from cifarlab.runs.folder import Run

EXPLAINED = 30
"""Images that get a heat map and neighbours, from the cells of the confusion matrix in turn: more would delay the end
of a training."""
RANDOM_MAPS = 5
"""As many as in the figure of Grad-CAM: enough for a mean, too few for a test."""
NEIGHBOURS = 4
"""Training images shown for each."""
SEARCHED = 10_000
"""Training images that are searched, in equal parts of each class: more would delay the end of a training on a CPU."""
BLOCK = 1000
"""Training images read at a time."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Choice:
    """Test images: their indices (N,), pixels (N, 3, H, W) and predicted classes."""

    indices: Sequence[int]
    pixels: Pixels
    predicted: Sequence[int]


def write_details(
    run: Run, classifier: Classifier, sizes: Mapping[str, tuple[int, int]], *, data_dir: Path | None = None
) -> Path | None:
    """Look closer at EXPLAINED of the test images that are stored, and store what was found; None without a test.

    sizes: of feature maps (h, w) by layer; none for a network without them, which then has neighbours alone.
    """
    evaluation = read_evaluation(run, "test")
    if evaluation is None:
        return None
    kept = examples.read(run.examples_file("test"))
    places = kept.in_cells(np.array(evaluation.confusion_matrix))[:EXPLAINED]
    chosen = _Choice(kept.indices[places].tolist(), kept.pixels(places), kept.predictions[places].tolist())
    neighbours = _neighbours(run, classifier, chosen.pixels, data_dir)
    found = _looked_at(classifier, chosen, neighbours, coarse_layer(sizes) if sizes else "")
    details.write(run.details_file("test"), found)
    return run.details_file("test")


def _looked_at(
    classifier: Classifier, chosen: _Choice, neighbours: list[tuple[Neighbour, ...]], layer: str
) -> list[Detail]:
    if not layer:
        nothing = np.zeros((0, 0), np.float32)
        rows = zip(chosen.indices, neighbours, strict=True)
        return [Detail(index, "", nothing, 0.0, 0.0, near) for index, near in rows]
    maps = grad_cam(classifier, chosen.pixels, chosen.predicted, layer)
    tests = [
        weigh(classifier, image, heat_map, predicted, num_random=RANDOM_MAPS).deletion
        for image, heat_map, predicted in zip(chosen.pixels, maps, chosen.predicted, strict=True)
    ]
    return [
        Detail(index, GRAD_CAM, heat_map.values, test.area, test.random_area, near)
        for index, heat_map, test, near in zip(chosen.indices, maps, tests, neighbours, strict=True)
    ]


def _neighbours(run: Run, classifier: Classifier, pixels: Pixels, data_dir: Path | None) -> list[tuple[Neighbour, ...]]:
    """The training images that are most similar to each image; none, and a note, where that cannot be found out."""
    try:
        train = own_images(run, "train", classifier, data_dir)
        searched = examples.draw(train.labels, SEARCHED)
        own, others = features(classifier, pixels), _many_features(classifier, train.pixels, searched)
    except (DataError, RecipeError) as error:  # data that was moved away; a network without a head
        log.info(tr("The report has no nearest training images. {reason}", reason=error))
        return [()] * len(pixels)
    similarities = own @ others.T
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :NEIGHBOURS]
    return [
        tuple(_neighbour(train, int(searched[place]), float(row[place])) for place in best)
        for row, best in zip(similarities, nearest, strict=True)
    ]


def _many_features(classifier: Classifier, pixels: Pixels, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    blocks = []
    with progress(tr("Searching similar images"), len(indices), tr("images")) as advance:
        for start in range(0, len(indices), BLOCK):  # pixels may be a memory map that is larger than the memory
            block = indices[start : start + BLOCK]
            blocks.append(features(classifier, pixels[block]))
            advance(len(block))
    return np.concatenate(blocks)


def _neighbour(train: Images, index: int, similarity: float) -> Neighbour:
    name = "" if train.names is None else train.names[index].encode("utf-8", "backslashreplace").decode()
    return Neighbour(index, name, int(train.labels[index]), similarity, examples.encode(train.pixels[index]))


def features(classifier: Classifier, pixels: Pixels) -> NDArray[np.float32]:
    """Compute what the network's head sees of images uint8 (N, 3, H, W): float32 (N, D), scaled to length 1.

    The network's modes and hooks stay as they are. Raises RecipeError for a network without a head.
    """
    seen: list[Tensor] = []
    last = head(classifier.folded)
    # distilled transformers have several heads, which see different tokens
    layer = last[0] if isinstance(last, nn.ModuleList) else last
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.inference_mode(), classifier.runtime.in_use(), evaluation_mode(classifier.folded):
            for start in range(0, len(pixels), classifier.batch_size):
                classifier.folded(classifier.network_input(pixels[start : start + classifier.batch_size]))
    finally:
        handle.remove()
    # a head that is a convolution sees maps (N, D, h, w), which its pooling averages
    flat = [(each.mean((2, 3)) if each.ndim == 4 else each.flatten(1)).float().cpu() for each in seen]
    return torch.nn.functional.normalize(torch.cat(flat), dim=1).numpy()
