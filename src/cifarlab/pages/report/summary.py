"""The number that a reader came for, and what it rests on."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.drawing.page import Section, facts, headline, paragraph, warning
from cifarlab.drawing.wording import count, duration, moment, percent, with_interval
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.statistics import wilson
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.manifest import DIVERGED, TRAINING, DataFacts

SPLITS = {"test": "test", "val": "validation", "train": "training"}
SHOWN_OF_HASH = 16
"""Characters of a fingerprint that are shown."""


def summary(material: Material) -> Section:
    """Accuracy with its interval, other numbers, and what they rest on."""
    parts = [warning(text) for text in (*_damages(material), *_cautions(material))]
    if material.result is None:
        parts.append(paragraph(_unjudged(material)))
    else:
        parts.append(_headline(material.result.evaluation))
    parts.append(facts([*_numbers(material), *_data(material), *_training(material)]))
    return Section("Result", Markup().join(parts))


def _damages(material: Material) -> list[str]:
    if not material.damages:
        return []
    return ["Parts of this report are missing, because these files cannot be used.", *material.damages]


def _cautions(material: Material) -> list[str]:
    """What makes the numbers mean less than they seem to."""
    cautions = []
    if material.facts.data.original is False:
        cautions.append(
            f"The pixels are not the published ones ({material.facts.data.note}), so accuracies that others published "
            "are no comparison."
        )
    if len(material.openings) > 1:
        cautions.append(
            f"The test split was opened {len(material.openings)} times. If anything was chosen by what it showed, "
            "the test accuracy is too high."
        )
    if material.facts.status == TRAINING:
        cautions.append("The run has not ended, or was interrupted: continue it with cifarlab train --resume.")
    if material.facts.status == DIVERGED:
        cautions.append("The training diverged: diverged.json says when. What is shown here is from before.")
    if (result := material.result) is not None:
        counts = {each.class_name: each.support for each in result.evaluation.per_class}
        if text := guessing(result.evaluation.accuracy, counts, result.evaluation.split):
            cautions.append(text)
    skipped = material.facts.data.skipped
    if skipped:
        cautions.append(f"{count(skipped, 'training image')} could not be read and was left out: see bad.jsonl.")
    return cautions


def _unjudged(material: Material) -> str:
    return f"No split has been judged yet. Do it with: cifarlab evaluate {material.run.as_argument} --split val"


def _headline(evaluation: Evaluation) -> Markup:
    low, high = evaluation.accuracy_interval
    text = f"{SPLITS.get(evaluation.split, evaluation.split)} accuracy on {count(evaluation.num_images, 'image')}, "
    return headline(percent(evaluation.accuracy), f"{text}95 % interval {100 * low:.1f} to {percent(high)}")


def _numbers(material: Material) -> list[tuple[str, str | Markup]]:
    found: list[tuple[str, str | Markup]] = []
    run_facts, recipe = material.facts, material.recipe
    if run_facts.best_val_accuracy is not None and run_facts.data.num_val > 0:
        num_val = run_facts.data.num_val
        num_right = min(max(round(run_facts.best_val_accuracy * num_val), 0), num_val)
        text = f"{with_interval(run_facts.best_val_accuracy, wilson(num_right, num_val))}, epoch {run_facts.best_epoch}"
        chosen_by = run_facts.chosen_by_val_accuracy
        if chosen_by is not None and chosen_by != run_facts.best_val_accuracy:
            text += f", chosen by {percent(chosen_by, 2)} in {run_facts.runtime.precision}"
        found.append(("Best validation", text))
    if material.result is not None:
        found += _evaluated(material.result.evaluation)
    if recipe is not None and (reported := _reported(material, recipe)):
        found.append(("Reported by the source", reported))
    return found


def _evaluated(evaluation: Evaluation) -> list[tuple[str, str | Markup]]:
    found: list[tuple[str, str | Markup]] = []
    if evaluation.is_unbalanced:
        share = f"{percent(evaluation.majority_share)} of the images are {evaluation.largest_class}"
        balanced = with_interval(evaluation.balanced_accuracy, evaluation.balanced_interval)
        found.append(("Balanced accuracy", f"{balanced}, the mean over classes; {share}"))
    if len(evaluation.class_names) > 5:
        found.append(("Top-5 accuracy", with_interval(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        found.append((f"With {evaluation.tta}", with_interval(evaluation.tta_accuracy, evaluation.tta_interval)))
    found.append(("Loss", f"{evaluation.loss:.4f}"))
    found.append(("Calibration error", percent(evaluation.calibration_error, 2)))
    if evaluation.num_skipped:
        found.append(("Left out", f"{count(evaluation.num_skipped, 'image')} that could not be read"))
    return found


def _reported(material: Material, recipe: Recipe) -> str:
    if recipe.reference is None or recipe.reference.reported_accuracy is None:
        return ""
    text = percent(recipe.reference.reported_accuracy)
    if reason := material.not_comparable:
        return f"{text}; no comparison, since {reason}"
    if material.result is not None and material.result.evaluation.split == "test":
        difference = material.result.evaluation.accuracy - recipe.reference.reported_accuracy
        text += f"; this run is {abs(100 * difference):.1f} points {'above' if difference >= 0 else 'below'}"
    return text


def _data(material: Material) -> list[tuple[str, str | Markup]]:
    data, recipe = material.facts.data, material.recipe
    if data.num_train == 0:
        return []
    kind = {True: "the published pixels", False: "not the published pixels", None: "pixels as found"}[data.original]
    source = f"{recipe.data.source}, " if recipe is not None else ""
    found: list[tuple[str, str | Markup]] = [("Data", f"{source}{count(data.num_train, 'training image')}, {kind}")]
    if recipe is not None:
        found.append(("Split protocol", _protocol(data, recipe)))
    found.append(("Test split opened", _openings(material.openings)))
    prints = [
        f"{name} {value[:SHOWN_OF_HASH]}…"
        for name in ("train", "val", "test")
        if (value := getattr(data, f"{name}_fingerprint"))
    ]
    return [*found, ("Fingerprints", f"SHA-256: {', '.join(prints)}")] if prints else found


def _protocol(data: DataFacts, recipe: Recipe) -> str:
    if data.num_val == 0:
        return "trained on all training images; nothing was chosen, the last weights count"
    images = count(data.num_val, "image")
    if data.val_from == "source":
        chosen = f"the data set's own validation split, {images}, chose the epoch"
    else:
        were = "was" if data.num_val == 1 else "were"
        share = f"of train, by each class's share (seed {recipe.validation.seed})"
        chosen = f"{images} {share}, {were} held out to choose the epoch"
    return f"{chosen}; training never saw the test split"


def _openings(openings: list[dict[str, str]]) -> str:
    if not openings:
        return "never"
    times = {1: "once", 2: "twice"}.get(len(openings), f"{len(openings)} times")
    entries = [f"{moment(entry['time'])}, {entry['reason']}" for entry in openings[:5]]
    return f"{times}: {'; '.join(entries)}"


def _training(material: Material) -> list[tuple[str, str | Markup]]:
    run_facts, recipe = material.facts, material.recipe
    found: list[tuple[str, str | Markup]] = []
    if recipe is not None:
        parameters = f", {count(run_facts.num_parameters, 'parameter')}" if run_facts.num_parameters else ""
        found.append(("Network", f"{recipe.model.name}{parameters}"))
    if run_facts.elapsed_seconds is not None:
        epochs = count(len(material.rows), "epoch")
        ending = f"; {run_facts.ending}" if run_facts.ending else ""
        found.append(("Training", f"{epochs} in {duration(run_facts.elapsed_seconds)}{_speed(material)}{ending}"))
    if run_facts.runtime.device_name:
        runtime = run_facts.runtime
        found.append(("On", f"{runtime.device_name}, {runtime.precision}, {runtime.memory_format}"))
    return found


def _speed(material: Material) -> str:
    speeds = sorted(speed for row in material.rows if (speed := row["images_per_second"]))
    return f", {speeds[len(speeds) // 2]:,.0f} images/s" if speeds else ""
