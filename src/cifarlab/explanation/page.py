"""Explanations of images as a web page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifarlab.drawing.charts.description import Bar, BarChart, LineChart, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.grid import to_png
from cifarlab.drawing.page import (
    Section,
    Tile,
    details,
    embed_png,
    gallery,
    heading,
    page,
    paragraph,
    side_by_side,
    table,
)
from cifarlab.drawing.wording import short
from cifarlab.explanation.image import Evidence, Explanation
from cifarlab.explanation.render import (
    deletion_text,
    enlarged,
    feature_figure,
    filter_figure,
    map_name,
    overlay,
    png_of_pixels,
    verdict,
)

HOW_TO_READ = (
    "Bright places speak for the class; dark ones say nothing or speak against it. Each map is as bright as its own "
    "maximum, so brightness does not compare between maps.",
    "Deletion asks whether a map means anything. The pixels are replaced by the mean colour, the most important first, "
    "and the mean of the class's probability on the way is the score: the lower, the more the map has found. A map "
    "that knows nothing gets what the random maps get, which are the same map with its cells shuffled; to beat all of "
    "them by luck has a chance of 1 in 20.",
    "A map that fails this test should not be shown to anybody as the reason for a prediction.",
)


def explanation_page(
    model: str, explanations: Sequence[Explanation], filters: NDArray[np.float32] | None, num_channels: int
) -> str:
    """Make a self-contained page: each image with its heat maps, deletion tests and feature maps; then the filters.

    filters: those of the first layer, float32 (C, 3, h, w). num_channels: feature maps shown per layer.
    """
    sections = [_section(explanation, num_channels) for explanation in explanations]
    if filters is not None:
        note = "Grey is a weight of zero; each filter is as bright as its largest weight allows."
        picture = embed_png(to_png(filter_figure(filters)), f"The {len(filters)} filters of the first layer.")
        sections.append(Section("First filters", picture, note))
    sections.append(Section("How to read this", Markup().join(paragraph(text) for text in HOW_TO_READ)))
    return page("Explanations", sections, subtitle=model)


def _section(explanation: Explanation, num_channels: int) -> Section:
    name = explanation.class_name
    bars = [Bar(label, share) for label, share in explanation.prediction.top]
    curves = side_by_side(*(_deletion_chart(each, name) for each in explanation.maps))
    body = [
        gallery(tiles(explanation), columns=4),
        side_by_side(
            table(("map", "deletion", "random maps", "verdict"), [_row(each, name) for each in explanation.maps]),
            to_svg(BarChart("Most probable classes", "probability", bars, limits=(0, 1))),
        ),
        details("Deletion curves", curves),  # the table above has their areas; few readers want the curves
        _features(explanation, num_channels),
    ]
    return Section(explanation.prediction.name, Markup().join(body), _question(explanation))


def _question(explanation: Explanation) -> str:
    # Also a wrong prediction has a reason: the question is about the class, not about the truth.
    name, probability = explanation.class_name, f"{100 * explanation.probability:.1f} %"
    if name == explanation.prediction.label:
        return f"Why {name}? Its probability is {probability}."
    return f"What speaks for {name}? Its probability is {probability}; predicted is {explanation.prediction.label}."


def _features(explanation: Explanation, num_channels: int) -> Markup:
    if not explanation.features:
        return paragraph("This network has no feature maps, so it is explained by its inputs and outputs alone.")
    picture = feature_figure([(explanation.pixels, explanation.features)], num_channels)
    return heading("Feature maps") + embed_png(to_png(picture), f"Feature maps of {', '.join(explanation.features)}")


def tiles(explanation: Explanation) -> list[Tile]:
    """The image with its prediction, and each heat map with its deletion test."""
    top = explanation.prediction
    image = Tile(png_of_pixels(enlarged(explanation.pixels)), "image", f"{top.label} {100 * top.probability:.1f} %")
    return [
        image,
        *(
            Tile(
                png_of_pixels(overlay(explanation.pixels, each.heat_map)),
                map_name(each.heat_map),
                deletion_text(each).replace("\n", ", "),  # two lines in a picture, one on the page
            )
            for each in explanation.maps
        ),
    ]


def _row(evidence: Evidence, class_name: str) -> tuple[str, str, str, str]:
    found = evidence.deletion
    return map_name(evidence.heat_map), f"{found.area:.2f}", f"{found.random_area:.2f}", verdict(evidence, class_name)


def _deletion_chart(evidence: Evidence, class_name: str) -> Markup:
    found = evidence.deletion
    chart = LineChart(
        f"Deletion by {evidence.heat_map.method}",
        "share of the image deleted",
        f"probability of {short(class_name)}",
        [
            Series("by this map", _points(found.curve)),
            Series("by random maps", _points(found.random_curve), colour=1, dashed=True),
        ],
        percent=True,
        from_zero=True,  # areas under the curves are what is compared
    )
    return to_svg(chart)


def _points(curve: Sequence[float]) -> list[tuple[float, float]]:
    return [(step / (len(curve) - 1), value) for step, value in enumerate(curve)]  # 0, 1/8, ..., 1
