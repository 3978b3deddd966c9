"""What a notebook shows of an object: a small piece of HTML that needs nothing else and follows the notebook's theme.

Recipe, Run, Images and Evaluation are drawn here, since they lie below; what lies above draws itself with `cell`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from cifarlab.console import below_cell, count, is_notebook, printable, some
from cifarlab.drawing import page
from cifarlab.drawing.charts.description import LineChart, Mark, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Cell, Tile
from cifarlab.drawing.wording import duration, percent, with_ends, with_interval
from cifarlab.errors import CifarlabError
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.metrics import ClassMetrics
from cifarlab.evaluation.report_text import shown_classes
from cifarlab.evaluation.statistics import mean_and_sd
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.images.images import Images
from cifarlab.images.retold import retold
from cifarlab.language import listed, ntr, tr
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import to_toml
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DIVERGED, TRAINING, Manifest
from cifarlab.runs.metrics import Metrics
from cifarlab.runs.paths import SEEDS, STUDIES
from cifarlab.shown import Shown

SHOWN_IMAGES = 10
"""Pictures of a data set: one row."""


def to_html(shown: Shown) -> str:
    """Draw a recipe, a run, images or an evaluation."""
    match shown:
        case Recipe():
            return _recipe(shown)
        case Run():
            return _run(shown)
        case Images():
            return _images(shown)
        case Evaluation():
            return _evaluation(shown)
    raise TypeError(f"{type(shown).__name__} has no drawing")


def cell(kind: str, name: str, *parts: Markup) -> str:
    """Put parts below a line that says what is shown: its kind, and a name that is text whatever it contains."""
    html = Markup('<div class="cifarlab"><style>{}</style><p><b>{}</b> <code>{}</code></p>{}</div>').format(
        Markup(_style()), kind, printable(name), Markup().join(parts)
    )
    # a page that is not UTF-8 could not be sent to a notebook: file names may hold lone surrogates
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def classes_text(names: Sequence[str]) -> str:
    """The number of classes and some of their names."""
    return tr("{n}: {names}", n=len(names), names=some(names, 20))


def _recipe(recipe: Recipe) -> str:
    optimizer, training, size = recipe.optimizer, recipe.training, recipe.validation.size
    held_out = percent(size, 0) if isinstance(size, float) else count(size, "image")
    batches = tr("batches of {n}", n=training.batch_size)
    found = [
        (
            tr("Data"),
            tr("{source}, {amount} of train for validation", source=recipe.data.source, amount=held_out),
        ),
        (tr("Network"), recipe.model.name),
        (
            tr("Optimizer"),
            listed([optimizer.name, f"lr {optimizer.lr:g}", tr("schedule {name}", name=recipe.schedule.name)]),
        ),
        (tr("Epochs"), listed([f"{training.epochs:g}", batches, tr("seed {first}", first=training.seed)])),
    ]
    everything = page.details(tr("All values"), page.code(to_toml(recipe)))
    return cell(tr("Recipe"), recipe.name, page.paragraph(tr(recipe.description)), page.facts(found), everything)


def _images(images: Images) -> str:
    height, width = images.size
    found = [
        (
            tr("Images"),
            tr("{images} of {width} × {height} pixels", images=count(len(images), "image"), width=width, height=height),
        ),
        (tr("Classes"), classes_text(images.class_names)),
    ]
    if images.note:
        found.append((tr("Origin"), retold(images.note)))
    if num := len(images.skipped):
        text = ntr("{n:,} image that could not be read", "{n:,} images that could not be read", num, n=num)
        found.append((tr("Left out"), text))
    tiles = [
        Tile(_png(images.pixels[place]), images.class_names[images.labels[place]]) for place in _few_of_each(images)
    ]
    return cell(tr("Images"), "", page.facts(found), page.gallery(tiles) if tiles else Markup())


def _few_of_each(images: Images) -> list[int]:
    """Indices of some images, class after class, at equal distances over the classes and within each."""
    classes = _spread(np.flatnonzero(images.counts), SHOWN_IMAGES)
    each = SHOWN_IMAGES // max(1, len(classes))
    places = [_spread(np.flatnonzero(images.labels == label), each) for label in classes]
    return [int(place) for members in places for place in members]


def _spread(values: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    places = np.linspace(0, len(values) - 1, min(limit, len(values))).round().astype(np.int64)
    return values[places]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")  # Pillow wants (H, W, 3)
    return file.getvalue()


def _evaluation(evaluation: Evaluation) -> str:
    found: list[tuple[str, str | Markup]] = []
    if evaluation.is_unbalanced:
        found.append((tr("Balanced"), with_interval(evaluation.balanced_accuracy, evaluation.balanced_interval)))
    if len(evaluation.class_names) > 5:  # of five classes, the right one is always among the top 5
        found.append((tr("Top 5"), with_interval(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        text = with_interval(evaluation.tta_accuracy, evaluation.tta_interval)
        found.append((tr("Test-time augmentation"), listed([text, evaluation.tta or ""])))
    found.append((tr("Loss"), f"{evaluation.loss:.4f}"))
    found.append((tr("Calibration error"), percent(evaluation.calibration_error, 2)))
    classes, which = shown_classes(evaluation)
    header = [tr("class"), tr("accuracy, 95 % interval"), tr("precision"), "F1", tr("images")]
    parts = [_headline(evaluation), page.facts(found), page.table(header, [_class_row(each) for each in classes])]
    parts += [page.paragraph(tr("Shown are {which}.", which=which))] if which else []
    return cell(tr("Evaluation"), tr(evaluation.split), *parts)


def _class_row(each: ClassMetrics) -> list[Cell]:
    precision, f1 = (None if score is None else percent(score) for score in (each.precision, each.f1))
    recall = None if each.recall is None else with_ends(each.recall, each.recall_interval)
    return [each.class_name, recall, precision, f1, each.support]


def _headline(evaluation: Evaluation) -> Markup:
    low, high = evaluation.accuracy_interval
    text = tr(
        "{split} accuracy on {images}, 95 % interval {low:.1f} to {high}",
        split=tr(evaluation.split),
        images=count(evaluation.num_images, "image"),
        low=100 * low,
        high=percent(high),
    )
    return page.headline(percent(evaluation.accuracy), text)


def _run(run: Run) -> str:
    """The accuracy, the curves and where the report is."""
    try:
        Run.open(run.path)  # says what is wrong with a folder that is not a run
        draw = _seeds if run.study == SEEDS else _study if run.study else _training
        parts = draw(run)
    except CifarlabError as error:  # shown instead of raised: a notebook would print a traceback, and no path
        parts = [page.warning(" ".join(str(error).split()))]
    return cell(tr("Run"), str(run.path), *parts)


def _training(run: Run) -> list[Markup]:
    facts = run.facts if run.manifest_file.exists() else Manifest()
    metrics = run.metrics if run.metrics_file.exists() else Metrics()
    parts = []
    if facts.status == TRAINING:
        parts.append(page.warning(tr("The run has not ended, or it was interrupted: cifarlab.resume continues it.")))
    if facts.status == DIVERGED:
        parts.append(page.warning(tr("The training diverged. {what}", what=retold(facts.divergence))))
    result = next(filter(None, (read_evaluation(run, name) for name in ("test", "val"))), None)
    parts.append(page.paragraph(tr("No split has been evaluated yet.")) if result is None else _headline(result))
    parts.append(_curves(metrics, facts.best_epoch))
    return [*parts, page.facts([*_facts(run.recipe, metrics, facts), _report(run)])]


def _facts(recipe: Recipe, metrics: Metrics, facts: Manifest) -> list[tuple[str, str | Markup]]:
    parameters = [count(facts.num_parameters, "parameter")] if facts.num_parameters else []
    found: list[tuple[str, str | Markup]] = [(tr("Network"), listed([recipe.model.name, *parameters]))]
    source = recipe.data.source
    if num := facts.data.num_train:
        source = tr("{source}: {images}", source=source, images=count(num, "training image"))
    found.append((tr("Data"), source))
    if facts.elapsed_seconds is not None:
        epochs, time = count(len(metrics), "epoch"), duration(facts.elapsed_seconds)
        ending = [tr(facts.ending)] if facts.ending else []
        found.append((tr("Training"), tr("; ").join([tr("{epochs} in {time}", epochs=epochs, time=time), *ending])))
    return found


def _report(run: Run) -> tuple[str, str | Markup]:
    missing = tr("none yet: cifarlab.report(run) writes it")
    return tr("Report"), str(run.report_file) if run.report_file.exists() else missing


def _seeds(group: Run) -> list[Markup]:
    """Mean and deviation over the seeds of a group, and each seed's own accuracy and curve."""
    runs = group.seeds
    results = {run.name: read_evaluation(run, "test") for run in runs}
    accuracies = [each.accuracy for each in results.values() if each is not None]
    parts = [
        page.warning(tr("{run} diverged and does not count.", run=name)) for name in group.group.get("diverged", {})
    ]
    if len(accuracies) > 1:
        mean, sd = mean_and_sd(accuracies)
        text = tr("test accuracy, mean and standard deviation over {n} seeds", n=len(accuracies))
        parts.append(page.headline(f"{percent(mean)} ± {100 * sd:.1f}", text))
    lines = [Series(run.name, _points(run.metrics, "val/accuracy"), number) for number, run in enumerate(runs)]
    rows: list[list[Cell]] = [
        [name, None if each is None else with_ends(each.accuracy, each.accuracy_interval)]
        for name, each in results.items()
    ]
    chart = to_svg(LineChart(tr("Validation accuracy"), tr("epoch"), tr("accuracy"), lines, percent=True))
    numbers = page.table([tr("run"), tr("test accuracy, 95 % interval")], rows)
    return [*parts, page.side_by_side(chart, numbers), page.facts([_report(group)])]


def _study(study: Run) -> list[Markup]:
    names = some([run.name for run in study.inner_runs], 20)
    return [page.facts([(tr("Holds"), tr(STUDIES[study.study])), *([(tr("Runs"), names)] if names else [])])]


def live_curves() -> Callable[[Metrics], None]:
    """Draw curves below the cell of a notebook, anew for each call; elsewhere nothing."""
    if not is_notebook():
        return lambda metrics: None
    show = below_cell()
    return lambda metrics: show(f'<div class="cifarlab"><style>{_style()}</style>{_curves(metrics, None)}</div>')


def _curves(metrics: Metrics, best_epoch: int | None) -> Markup:
    if not metrics:
        return Markup()
    epochs = metrics["epoch"]
    marks = (
        [Mark(float(best_epoch), tr("best, epoch {n}", n=best_epoch))] if best_epoch in epochs and best_epoch else []
    )
    charts = []
    for title, label, name in ((tr("Accuracy"), tr("accuracy"), "accuracy"), (tr("Loss"), tr("loss"), "loss")):
        # dashed: measured on augmented images while the weights still changed
        lines = [
            Series(tr("train"), _points(metrics, f"train/{name}"), 0, dashed=True),
            Series(tr("validation"), _points(metrics, f"val/{name}"), 1),
        ]
        series = [line for line in lines if line.points]
        charts.append(to_svg(LineChart(title, tr("epoch"), label, series, marks, percent=name == "accuracy")))
    return page.side_by_side(*charts)


def _points(metrics: Metrics, column: str) -> list[tuple[float, float]]:
    pairs = zip(metrics["epoch"], metrics[column], strict=True)
    return [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]


@cache
def _style() -> str:
    """The rules without their comment, of which every output in a notebook has a copy."""
    return (Path(__file__).parent / "notebook.css").read_text("utf-8").partition("*/")[2].strip()
