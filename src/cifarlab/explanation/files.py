"""Explain image files, and write the explanations as pictures and a page into a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarlab.console import count, progress, some
from cifarlab.drawing.grid import to_png
from cifarlab.drawing.notebook import cell
from cifarlab.drawing.page import gallery, paragraph, warning
from cifarlab.errors import DataError
from cifarlab.explanation.feature_maps import first_filters
from cifarlab.explanation.image import Evidence, Explanation, explain_image
from cifarlab.explanation.page import explanation_page, tiles
from cifarlab.explanation.render import feature_figure, filter_figure, map_figure
from cifarlab.files import write_atomic
from cifarlab.inference.classifier import Classifier
from cifarlab.language import ntr, tr

CHANNELS, CHANNELS_OF_CHOSEN = 16, 64
"""Feature maps shown per layer: of the default layers, and of one that the user has chosen."""


SHOWN = 5
"""Explanations that a notebook shows; the page has all."""


@dataclass(frozen=True)
class Explained:
    """Explanations in the order of the files, and "file: reason" for those that could not be read."""

    explanations: list[Explanation]
    failures: list[str]

    def __repr__(self) -> str:
        shown = [f"{each.prediction.name!r} for {each.class_name!r}" for each in self.explanations]
        failed = f"; {len(self.failures)} not read" if self.failures else ""
        return f"Explained({some(shown, 3)}{failed})"

    def _repr_html_(self) -> str:
        warnings = [warning(tr("Not read: {files}", files=some(self.failures)))] if self.failures else []
        parts = [
            paragraph(tr("{image}: what speaks for {name}?", image=each.prediction.name, name=each.class_name))
            + gallery(tiles(each))
            for each in self.explanations[:SHOWN]
        ]
        rest = len(self.explanations) - SHOWN
        text = ntr("And {n:,} image more, on the page.", "And {n:,} images more, on the page.", rest, n=rest)
        more = [paragraph(text)] if rest > 0 else []
        return cell(tr("Explained"), count(len(self.explanations), "image"), *warnings, *parts, *more)


def explain_files(
    classifier: Classifier, files: Sequence[Path], *, layer: str | None = None, class_name: str | None = None
) -> Explained:
    """Explain every file that can be read; raises UsageError as `explain_image` does."""
    done = Explained([], [])
    with progress(tr("Explaining"), len(files), tr("images")) as advance:
        for file in files:
            try:
                pixels = classifier.decode(file)
            except DataError as error:  # one damaged picture does not stop the others
                done.failures.append(str(error))
            else:
                done.explanations.append(
                    explain_image(classifier, str(file), pixels, layer=layer, class_name=class_name)
                )
            advance(1)
    return done


def write_explanations(
    out: Path, model: str, classifier: Classifier, explanations: Sequence[Explanation], *, chosen_layer: bool
) -> list[Path]:
    """Write the page, two pictures per image, and the first filters; return the files, the page first.

    Raises MachineError when the disk is full or read-only.
    """
    channels = CHANNELS_OF_CHOSEN if chosen_layer else CHANNELS
    filters = first_filters(classifier)
    contents: dict[Path, bytes | str] = {}  # all drawn before the first is written
    contents[out / "explanations.html"] = explanation_page(model, explanations, filters, channels)
    for number, explanation in enumerate(explanations, start=1):
        # The number keeps files of equal names in different folders apart. A file name has only letters that every
        # file system takes, and stays short of their limit of 255 bytes.
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(explanation.prediction.name).stem)[:60]
        stem = f"{number:02d}-{plain}"
        contents[out / f"{stem}-maps.png"] = to_png(map_figure(explanation))
        if explanation.features:  # a network such as a transformer has none
            features = feature_figure([(explanation.pixels, explanation.features)], channels)
            contents[out / f"{stem}-features.png"] = to_png(features)
    if filters is not None:
        contents[out / "filters.png"] = to_png(filter_figure(filters))
    for path, content in contents.items():
        write_atomic(path, content)
    return list(contents)


def as_dict(explanation: Explanation) -> dict[str, Any]:
    """The numbers of an explanation, heat maps included, ready for JSON."""
    return {
        "path": explanation.prediction.name,
        "top": [{"label": label, "probability": share} for label, share in explanation.prediction.top],
        "class": explanation.class_name,
        "probability": explanation.probability,
        "maps": [_map_as_dict(each) for each in explanation.maps],
    }


def _map_as_dict(evidence: Evidence) -> dict[str, Any]:
    found = evidence.deletion
    return {
        "method": evidence.heat_map.method,
        "layer": evidence.heat_map.layer or None,  # null for occlusion
        "values": evidence.heat_map.values.tolist(),
        "deletion": found.area,
        "random_deletion": found.random_area,
        "num_random": len(found.random_curves),
        "num_beaten": found.num_beaten,
        "p_value": found.p_value,
    }
