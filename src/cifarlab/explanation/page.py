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
    enlarged,
    feature_figure,
    filter_figure,
    map_name,
    overlay,
    png_of_pixels,
    verdict,
)
from cifarlab.language import listed, tr, translatable

HOW_TO_READ = (
    translatable(
        "Bright places speak for the class; dark ones say nothing or speak against it. Each map is as bright as its "
        "own maximum, so brightness does not compare between maps."
    ),
    translatable(
        "Deletion asks whether a map means anything. The pixels are replaced by the mean colour, the most important "
        "first, and the mean of the class's probability on the way is the score: the lower, the more the map has "
        "found. A map that knows nothing gets what the random maps get, which are the same map with its cells "
        "shuffled; to beat all of them by luck has a chance of 1 in 20."
    ),
    translatable("A map that fails this test should not be shown to anybody as the reason for a prediction."),
)


def explanation_page(
    model: str, explanations: Sequence[Explanation], filters: NDArray[np.float32] | None, num_channels: int
) -> str:
    """Make a self-contained page: each image with its heat maps, deletion tests and feature maps; then the filters.

    filters: those of the first layer, float32 (C, 3, h, w). num_channels: feature maps shown per layer.
    """
    sections = [_section(explanation, num_channels) for explanation in explanations]
    if filters is not None:
        note = tr("Grey is a weight of zero; each filter is as bright as its largest weight allows.")
        what = tr("The {n} filters of the first layer.", n=len(filters))
        sections.append(Section(tr("First filters"), embed_png(to_png(filter_figure(filters)), what), note))
    sections.append(Section(tr("How to read this"), Markup().join(paragraph(tr(text)) for text in HOW_TO_READ)))
    return page(tr("Explanations"), sections, subtitle=model)


def _section(explanation: Explanation, num_channels: int) -> Section:
    name = explanation.class_name
    bars = [Bar(label, share) for label, share in explanation.prediction.top]
    titles = tr("map"), tr("deletion"), tr("random maps"), tr("verdict")
    curves = side_by_side(*(_deletion_chart(each, name) for each in explanation.maps))
    body = [
        gallery(tiles(explanation), columns=4),
        side_by_side(
            table(titles, [_row(each, name) for each in explanation.maps]),
            to_svg(BarChart(tr("Most probable classes"), tr("probability"), bars, limits=(0, 1))),
        ),
        details(tr("Deletion curves"), curves),  # the table above has their areas; few readers want the curves
        _features(explanation, num_channels),
    ]
    return Section(explanation.prediction.name, Markup().join(body), _question(explanation))


def _question(explanation: Explanation) -> str:
    # Also a wrong prediction has a reason: the question is about the class, not about the truth.
    name, probability = explanation.class_name, f"{100 * explanation.probability:.1f} %"
    if name == explanation.prediction.label:
        return tr("Why {name}? Its probability is {probability}.", name=name, probability=probability)
    return tr(
        "What speaks for {name}? Its probability is {probability}; predicted is {predicted}.",
        name=name,
        probability=probability,
        predicted=explanation.prediction.label,
    )


def _features(explanation: Explanation, num_channels: int) -> Markup:
    if not explanation.features:
        return paragraph(tr("This network has no feature maps, so it is explained by its inputs and outputs alone."))
    picture = feature_figure([(explanation.pixels, explanation.features)], num_channels)
    what = tr("Feature maps of {layers}", layers=listed(explanation.features))
    return heading(tr("Feature maps")) + embed_png(to_png(picture), what)


def tiles(explanation: Explanation) -> list[Tile]:
    """The image with its prediction, and each heat map with its deletion test."""
    top = explanation.prediction
    image = Tile(png_of_pixels(enlarged(explanation.pixels)), tr("image"), f"{top.label} {100 * top.probability:.1f} %")
    return [
        image,
        *(
            Tile(
                png_of_pixels(overlay(explanation.pixels, each.heat_map)),
                map_name(each.heat_map),
                _scores_text(each),
            )
            for each in explanation.maps
        ),
    ]


def _scores_text(evidence: Evidence) -> str:
    area, random = evidence.deletion.area, evidence.deletion.random_area
    return tr("deletion {area:.2f}, random {random:.2f}", area=area, random=random)


def _row(evidence: Evidence, class_name: str) -> tuple[str, str, str, str]:
    found = evidence.deletion
    return map_name(evidence.heat_map), f"{found.area:.2f}", f"{found.random_area:.2f}", verdict(evidence, class_name)


def _deletion_chart(evidence: Evidence, class_name: str) -> Markup:
    found = evidence.deletion
    chart = LineChart(
        tr("Deletion by {method}", method=tr(evidence.heat_map.method)),
        tr("share of the image deleted"),
        tr("probability of {name}", name=short(class_name)),
        [
            Series(tr("by this map"), _points(found.curve)),
            Series(tr("by random maps"), _points(found.random_curve), colour=1, dashed=True),
        ],
        percent=True,
        from_zero=True,  # areas under the curves are what is compared
    )
    return to_svg(chart)


def _points(curve: Sequence[float]) -> list[tuple[float, float]]:
    return [(step / (len(curve) - 1), value) for step, value in enumerate(curve)]  # 0, 1/8, ..., 1
