"""Whether probabilities mean what they say, before and after temperature scaling."""

from __future__ import annotations

from cifarlab.drawing.charts.description import Figure, Reliability
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Section, paragraph, side_by_side
from cifarlab.drawing.wording import percent
from cifarlab.evaluation import calibration
from cifarlab.evaluation.calibration import Bin, expected_calibration_error
from cifarlab.language import tr
from cifarlab.pages.report.material import Result


def trust(result: Result) -> Section:
    """Reliability diagrams with their calibration error."""
    charts = diagrams(result)
    temperature = result.evaluation.temperature
    text = (
        tr(
            "Logits are divided by a temperature of {temperature:.3f}, fitted on the validation split: above 1 the "
            "network was over-confident, below 1 under-confident.",
            temperature=temperature,
        )
        if temperature != 1  # which stands for none, since dividing by it changes nothing
        else tr(
            "No temperature was fitted, or the validation images gave no reason for one: the logits are used as they "
            "are."
        )
    )
    note = tr(
        "Images are grouped by confidence, the highest probability. Where bars reach the diagonal, 70 % confidence "
        "means 70 % correct. Calibration error: the mean distance from it, weighted by images."
    )
    body = paragraph(text) + side_by_side(*map(to_svg, charts))
    return Section(tr("Calibration"), body, note, figures=[Figure("reliability", charts)])


def diagrams(result: Result) -> list[Reliability]:
    """The diagram before temperature, where the logits are known, and the one after it."""
    evaluation, predicted = result.evaluation, result.predictions
    if evaluation.temperature == 1:
        return [_titled(tr("Reliability: calibration error {error}"), evaluation.reliability)]
    after = _titled(tr("After temperature: calibration error {error}"), evaluation.reliability)
    if predicted is None:
        return [after]
    # evaluation.json holds the bins after it only; those before it come from the logits of predictions.parquet
    bins = calibration.reliability(predicted.logits, predicted.labels)
    return [_titled(tr("Before temperature: calibration error {error}"), bins), after]


def _titled(title: str, bins: tuple[Bin, ...]) -> Reliability:
    error = expected_calibration_error(bins) if any(each.num_images for each in bins) else 0.0
    return Reliability(title.format(error=percent(error, 2)), bins)
