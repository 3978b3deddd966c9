"""One recipe trained with several seeds: how much of the result is luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cifarlab.console import count
from cifarlab.drawing.charts.description import Bar, BarChart, LineChart, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Section, facts, headline, paragraph, side_by_side, table, warning
from cifarlab.drawing.wording import duration, percent, with_ends
from cifarlab.evaluation.statistics import mean_and_sd, wilson
from cifarlab.images.sentences import split_name
from cifarlab.language import tr
from cifarlab.pages.report.learning import points
from cifarlab.pages.report.material import Material


def group_sections(materials: Sequence[Material], diverged: Mapping[str, str]) -> list[Section]:
    """Mean and deviation over seeds, the single runs, and their curves on one chart.

    diverged: seeds without a result, with the reason.
    """
    # a mean over the seeds that went well flatters the recipe, so the others are named above it
    left_out = [
        tr("{run} diverged and does not count: {reason}", run=name, reason=reason) for name, reason in diverged.items()
    ]
    damages = [text for material in materials for text in material.damages]
    warnings = Markup().join(map(warning, [*left_out, *damages]))
    return [Section(tr("Result"), warnings + _result(materials)), _runs(materials), _curves(materials)]


def _result(materials: Sequence[Material]) -> Markup:
    accuracies = [each.result.evaluation.accuracy for each in materials if each.result is not None]
    if len(accuracies) < 2:
        return paragraph(tr("Fewer than two seeds have been evaluated, so nothing can be said about their spread."))
    mean, sd = mean_and_sd(accuracies)  # n - 1: a sample of all seeds that could have been taken
    # normally one; both when the test of one seed is damaged, and then the heading has to say so
    splits = {each.result.evaluation.split for each in materials if each.result is not None}
    split = tr(" and ").join(map(split_name, sorted(splits)))
    text = tr("{split} accuracy, mean over {n} seeds", split=split, n=len(accuracies))
    spread = tr("{n:.2f} points (n - 1)", n=100 * sd)
    ends = tr("{low} to {high}", low=percent(min(accuracies), 2), high=percent(max(accuracies), 2))
    found = [(tr("Standard deviation"), spread), (tr("Lowest to highest"), ends)]
    return headline(percent(mean, 2), text) + facts(found)


def _runs(materials: Sequence[Material]) -> Section:
    evaluated = [(each, each.result.evaluation) for each in materials if each.result is not None]
    bars = [Bar(each.run.name, evaluation.accuracy, evaluation.accuracy_interval) for each, evaluation in evaluated]
    low = min((evaluation.accuracy_interval.low for _, evaluation in evaluated), default=0.0)
    chart = to_svg(BarChart(tr("Accuracy"), tr("accuracy, 95 % interval"), bars, value_name=tr("accuracy")))
    rows = [_row(material) for material in materials]
    head = [
        tr("run"),
        tr("validation, 95 % interval"),
        tr("test, 95 % interval"),
        tr("epochs"),
        tr("time"),
        tr("ending"),
    ]
    body = chart + table(head, rows)
    # so nobody concludes from whiskers that overlap that the seeds do not differ, or the other way round
    note = tr(
        "Whiskers are 95 % intervals for the number of images; they do not include luck in training. The lowest end is "
        "{low}.",
        low=percent(low),
    )
    return Section(tr("Runs"), body, note if evaluated else "")


def _row(material: Material) -> list[str | int | Markup | None]:
    run_facts, evaluation = material.facts, None if material.result is None else material.result.evaluation
    best, num_val, seconds = run_facts.best_val_accuracy, run_facts.data.num_val, run_facts.elapsed_seconds
    # Wilson's interval needs the number of images, which a damaged manifest no longer tells
    interval = wilson(round(best * num_val), num_val) if best is not None and num_val else None
    return [
        # relative, so that the folder can be moved or served; the runs are inside it
        Markup('<a href="{}/report.html">{}</a>').format(material.run.name, material.run.name),
        None if best is None else with_ends(best, interval, 2),
        None if evaluation is None else with_ends(evaluation.accuracy, evaluation.accuracy_interval, 2),
        len(material.rows),
        None if seconds is None else duration(seconds),
        run_facts.ending_text,
    ]


def _curves(materials: Sequence[Material]) -> Section:
    charts = []
    for column, title, label, is_share in (
        ("val/accuracy", tr("Validation accuracy"), tr("validation accuracy"), True),
        ("val/loss", tr("Validation loss"), tr("validation loss"), False),
    ):
        series = [Series(each.run.name, points(each, column), index) for index, each in enumerate(materials)]
        charts.append(to_svg(LineChart(title, tr("epoch"), label, series, percent=is_share)))
    note = tr("All {seeds} on one chart.", seeds=count(len(materials), "seed"))
    return Section(tr("Learning curves"), side_by_side(*charts), note)
