"""The number that a reader came for, what it rests on, and what is questionable about that."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.console import count
from cifarlab.drawing.page import Section, facts, headline, paragraph, warning
from cifarlab.drawing.wording import duration, moment, percent, with_interval
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.statistics import wilson
from cifarlab.pages.report.material import Material
from cifarlab.runs.manifest import DIVERGED, TRAINING
from cifarlab.runs.metrics import median_images_per_second

SPLITS = {"test": "test", "val": "validation", "train": "training"}
SHOWN_OF_HASH = 16
"""Characters of a fingerprint that are shown; the manifest has all of them."""
SHOWN_OPENINGS = 5
"""Entries of the test split's ledger that are shown."""

Facts = list[tuple[str, str | Markup]]


def summary(material: Material) -> Section:
    """The accuracy with its interval, the other numbers, and what they rest on."""
    damages = list(material.damages)
    if damages:
        damages.insert(0, "Parts of this report are missing because these files cannot be used:")
    # warnings come before the number, so that nobody quotes it without having passed them
    parts = [warning(text) for text in (*damages, *_cautions(material))]
    if material.result is None:
        command = f"cifarlab evaluate {material.run.as_argument} --split val"
        parts.append(paragraph(f"No split has been evaluated yet. Evaluate one with: {command}"))
    else:
        evaluation = material.result.evaluation
        low, high = evaluation.accuracy_interval
        split, images = SPLITS.get(evaluation.split, evaluation.split), count(evaluation.num_images, "image")
        text = f"{split} accuracy on {images}, 95 % interval {100 * low:.1f} to {percent(high)}"
        parts.append(headline(percent(evaluation.accuracy), text))
    parts.append(facts([*_accuracies(material), *_data(material), *_training(material)]))
    return Section("Result", Markup().join(parts))


def data_quality(material: Material) -> Section | None:
    """The warnings about the images that the run stored; None for a run that did not check them."""
    data = material.facts.data
    if data.warnings is None:
        return None
    parts = [warning(each.text) for each in data.warnings]
    checked = ["training images", *(["validation images"] if data.num_val else [])]
    checked += ["test images"] if data.test_compared else []
    listed = f"{', '.join(checked[:-1])} and {checked[-1]}" if len(checked) > 1 else checked[0]
    if not parts:
        parts.append(
            paragraph("No image has a copy in another split or with another label, and no class is too small.")
        )
    if not data.test_compared:
        # a run that leaves the test split sealed does not read its pixels either, not even to look for copies
        source = "" if material.recipe is None else f" {material.recipe.data.source}"
        parts.append(paragraph(f"The test images were not checked. Check all splits: cifarlab data verify{source}"))
    return Section("Data quality", Markup().join(parts), f"The {listed} were checked pixel by pixel.")


def _cautions(material: Material) -> list[str]:
    """What makes the numbers mean less than they seem to."""
    run_facts, cautions = material.facts, []
    tested = None if material.result is None else material.result.evaluation.original
    if False in (run_facts.data.original, tested):
        note = f" ({run_facts.data.note})" if run_facts.data.original is False else ""
        cautions.append(
            f"The pixels are not the published ones{note}, so published accuracies cannot be compared with this one."
        )
    if len(material.openings) > 1:
        # the best of several measurements is too high on average, if it was picked for being the best
        cautions.append(
            f"The test split was opened {len(material.openings)} times. If any choice was based on what it showed, "
            "the test accuracy is too high."
        )
    if run_facts.status == TRAINING:
        cautions.append("The run has not ended, or it was interrupted: continue it with cifarlab train --resume.")
    if run_facts.status == DIVERGED:
        cautions.append("The training diverged; diverged.json says when. What is shown here is from before that.")
    if (result := material.result) is not None:
        counts = {each.class_name: each.support for each in result.evaluation.per_class}
        if text := guessing(result.evaluation.accuracy, counts, result.evaluation.split):
            cautions.append(text)
    if skipped := run_facts.data.skipped:
        cautions.append(f"{count(skipped, 'training image')} could not be read and had to be left out: see bad.jsonl.")
    return cautions


def _accuracies(material: Material) -> Facts:
    """The numbers beside the headline: best validation, other metrics of the result, what the source reports."""
    found: Facts = []
    run_facts, recipe = material.facts, material.recipe
    if run_facts.best_val_accuracy is not None and run_facts.data.num_val > 0:
        num_val = run_facts.data.num_val
        # Wilson's interval, because validation splits are small: for 99 of 100 right, the normal approximation would
        # reach beyond 100 %. A manifest that was edited may give a share outside 0..1.
        num_right = min(max(round(run_facts.best_val_accuracy * num_val), 0), num_val)
        text = f"{with_interval(run_facts.best_val_accuracy, wilson(num_right, num_val))}, epoch {run_facts.best_epoch}"
        chosen_by = run_facts.chosen_by_val_accuracy
        if chosen_by is not None and chosen_by != run_facts.best_val_accuracy:
            # the epoch is chosen in the precision of training and measured again in float32, as it will predict
            text += f", chosen by {percent(chosen_by, 2)} in {run_facts.runtime.precision}"
        found.append(("Best validation", text))
    if material.result is not None:
        found += _other_metrics(material.result.evaluation)
    if recipe is not None and recipe.reference is not None and recipe.reference.reported_accuracy is not None:
        reported = recipe.reference.reported_accuracy
        text = percent(reported)
        if reason := material.not_comparable:
            text += f"; not comparable: {reason}"
        elif material.result is not None and material.result.evaluation.split == "test":
            difference = material.result.evaluation.accuracy - reported
            text += f"; this run is {abs(100 * difference):.1f} points {'above' if difference >= 0 else 'below'}"
        found.append(("Reported by the source", text))
    return found


def _other_metrics(evaluation: Evaluation) -> Facts:
    found: Facts = []
    if evaluation.is_unbalanced:
        # with 75 % of the images in one class, always naming it has an accuracy of 75 % and a balanced one of 1 / C
        share = f"{percent(evaluation.majority_share)} of the images are {evaluation.largest_class}"
        balanced = with_interval(evaluation.balanced_accuracy, evaluation.balanced_interval)
        found.append(("Balanced accuracy", f"{balanced}, the mean over classes; {share}"))
    if len(evaluation.class_names) > 5:  # of five classes, the right one is always among the top 5
        found.append(("Top-5 accuracy", with_interval(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        # beside the headline and not in it: published accuracies are mostly without test-time augmentation
        accuracy = with_interval(evaluation.tta_accuracy, evaluation.tta_interval)
        found.append(("Test-time augmentation", f"{accuracy}, {evaluation.tta}"))
    found.append(("Loss", f"{evaluation.loss:.4f}"))
    found.append(("Calibration error", percent(evaluation.calibration_error, 2)))
    if evaluation.num_skipped:
        found.append(("Left out", f"{count(evaluation.num_skipped, 'image')} that could not be read"))
    return found


def _data(material: Material) -> Facts:
    """Which images, how validation was split off, how often the test split was opened, and their fingerprints."""
    data, recipe, openings = material.facts.data, material.recipe, material.openings
    if data.num_train == 0:  # the manifest is lost or damaged
        return []
    kind = {True: "the published pixels", False: "not the published pixels", None: "pixels as found"}[data.original]
    source = f"{recipe.data.source}, " if recipe is not None else ""
    found: Facts = [("Data", f"{source}{count(data.num_train, 'training image')}, {kind}")]
    if recipe is not None:
        val_images = count(data.num_val, "image")
        if data.num_val == 0:
            protocol = "none: trained on all training images, no epoch was selected, and the last weights were kept"
        elif data.val_from == "source":
            protocol = f"the data set's own validation split, {val_images}, selected the epoch"
        else:
            were = "was" if data.num_val == 1 else "were"
            protocol = (
                f"{val_images} of train, stratified by class (seed {recipe.validation.seed}), {were} held out to "
                "select the epoch"
            )
        found.append(("Validation split", f"{protocol}; training never saw the test split"))
    times = {0: "never", 1: "once: ", 2: "twice: "}.get(len(openings), f"{len(openings)} times: ")
    entries = [f"{moment(entry['time'])}, {entry['reason']}" for entry in openings[:SHOWN_OPENINGS]]
    found.append(("Test split opened", times + "; ".join(entries)))
    prints = [
        f"{name} {value[:SHOWN_OF_HASH]}…"
        for name in ("train", "val", "test")
        if (value := getattr(data, f"{name}_fingerprint"))
    ]
    if prints:  # two runs with the same fingerprints have seen the same pixels, whatever their sources are called
        found.append(("Fingerprints", f"SHA-256: {', '.join(prints)}"))
    return found


def _training(material: Material) -> Facts:
    run_facts, recipe = material.facts, material.recipe
    found: Facts = []
    if recipe is not None:
        parameters = f", {count(run_facts.num_parameters, 'parameter')}" if run_facts.num_parameters else ""
        found.append(("Network", f"{recipe.model.name}{parameters}"))
    if run_facts.elapsed_seconds is not None:
        epochs = count(len(material.rows), "epoch")
        images_per_second = median_images_per_second(material.rows)
        speed = "" if images_per_second is None else f", {images_per_second:,.0f} images/s"
        ending = f"; {run_facts.ending}" if run_facts.ending else ""
        found.append(("Training", f"{epochs} in {duration(run_facts.elapsed_seconds)}{speed}{ending}"))
    if run_facts.runtime.device_name:
        runtime = run_facts.runtime
        found.append(("Device", f"{runtime.device_name}, {runtime.precision}, {runtime.memory_format}"))
    return found
