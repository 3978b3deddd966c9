"""The number that a reader came for, what it rests on, and what is questionable about that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cifarlab.console import count
from cifarlab.drawing.page import Section, facts, headline, paragraph, warning
from cifarlab.drawing.wording import duration, moment, percent, with_interval
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.statistics import wilson
from cifarlab.images.retold import retold
from cifarlab.images.sentences import said, split_name, split_word
from cifarlab.language import listed, ntr, tr, translatable
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.manifest import DIVERGED, TRAINING, DataFacts
from cifarlab.runs.metrics import median_images_per_second

SHOWN_OF_HASH = 16
"""Characters of a fingerprint that are shown; the manifest has all of them."""
SHOWN_OPENINGS = 5
"""Entries of the test split's ledger that are shown."""
REASONS = (translatable("end of training"), translatable("asked for in Python"), translatable("ablation"))
"""Why the test split is opened, as the ledger says; others are commands, or somebody's own words."""

Facts = list[tuple[str, str | Markup]]


def summary(material: Material) -> Section:
    """The accuracy with its interval, the other numbers, and what they rest on."""
    damages = list(material.damages)
    if damages:
        damages.insert(0, tr("Parts of this report are missing because these files cannot be used:"))
    # warnings come before the number, so that nobody quotes it without having passed them
    parts = [warning(text) for text in (*damages, *_cautions(material))]
    if material.result is None:
        command = f"cifarlab evaluate {material.run.as_argument} --split val"
        parts.append(paragraph(tr("No split has been evaluated yet. Evaluate one with: {command}", command=command)))
    else:
        evaluation = material.result.evaluation
        low, high = evaluation.accuracy_interval
        text = tr(
            "{split} accuracy on {images}, 95 % interval {low:.1f} to {high}",
            split=split_word(evaluation.split),
            images=count(evaluation.num_images, "image"),
            low=100 * low,
            high=percent(high),
        )
        parts.append(headline(percent(evaluation.accuracy), text))
    parts.append(facts([*_accuracies(material), *_data(material), *_training(material)]))
    return Section(tr("Result"), Markup().join(parts))


def data_quality(material: Material) -> Section | None:
    """The warnings about the images that the run stored; None for a run that did not check them."""
    data = material.facts.data
    if data.warnings is None:
        return None
    parts = [warning(said(each.model_dump())) for each in data.warnings]
    if not parts:
        parts.append(
            paragraph(tr("No image has a copy in another split or with another label, and no class is too small."))
        )
    if not data.test_compared:
        # a run that leaves the test split sealed does not read its pixels either, not even to look for copies
        source = "" if material.recipe is None else f" {material.recipe.data.source}"
        command = f"cifarlab data verify{source}"
        parts.append(paragraph(tr("The test images were not checked. Check all splits: {command}", command=command)))
    return Section(tr("Data quality"), Markup().join(parts), _checked(data))


def _checked(data: DataFacts) -> str:
    match bool(data.num_val), data.test_compared:
        case True, True:
            return tr("The training images, validation images and test images were checked pixel by pixel.")
        case True, False:
            return tr("The training images and validation images were checked pixel by pixel.")
        case False, True:
            return tr("The training images and test images were checked pixel by pixel.")
    return tr("The training images were checked pixel by pixel.")


def _cautions(material: Material) -> list[str]:
    """What makes the numbers mean less than they seem to."""
    run_facts, cautions = material.facts, []
    tested = None if material.result is None else material.result.evaluation.original
    if False in (run_facts.data.original, tested):
        text = (
            tr(
                "The pixels are not the published ones ({note}), so published accuracies cannot be compared with this "
                "one."
            )
            if run_facts.data.original is False
            else tr("The pixels are not the published ones, so published accuracies cannot be compared with this one.")
        )
        cautions.append(text.format(note=retold(run_facts.data.note)))
    if len(material.openings) > 1:
        # the best of several measurements is too high on average, if it was picked for being the best
        text = tr(
            "The test split was opened {n} times. If any choice was based on what it showed, the test accuracy is too "
            "high.",
            n=len(material.openings),
        )
        cautions.append(text)
    if run_facts.status == TRAINING:
        cautions.append(tr("The run has not ended, or it was interrupted: continue it with cifarlab train --resume."))
    if run_facts.status == DIVERGED:
        cautions.append(tr("The training diverged; diverged.json says when. What is shown here is from before that."))
    if (result := material.result) is not None:
        counts = {each.class_name: each.support for each in result.evaluation.per_class}
        if no_better := guessing(result.evaluation.accuracy, counts, result.evaluation.split):
            cautions.append(no_better)
    if skipped := run_facts.data.skipped:
        images = count(skipped, "training image")
        cautions.append(tr("{images} could not be read and had to be left out: see bad.jsonl.", images=images))
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
        chosen_by = run_facts.chosen_by_val_accuracy
        text = tr("{accuracy}, epoch {n}")
        if chosen_by is not None and chosen_by != run_facts.best_val_accuracy:
            # the epoch is chosen in the precision of training and measured again in float32, as it will predict
            text = tr("{accuracy}, epoch {n}, chosen by {chosen_by} in {precision}")
        text = text.format(
            accuracy=with_interval(run_facts.best_val_accuracy, wilson(num_right, num_val)),
            n=run_facts.best_epoch,
            chosen_by=percent(chosen_by or 0, 2),
            precision=run_facts.runtime.precision,
        )
        found.append((tr("Best validation"), text))
    if material.result is not None:
        found += _other_metrics(material.result.evaluation)
    if recipe is not None and recipe.reference is not None and recipe.reference.reported_accuracy is not None:
        found.append((tr("Reported by the source"), _reported(material, recipe.reference.reported_accuracy)))
    return found


def _reported(material: Material, accuracy: float) -> str:
    """What the source reports, and how that compares with this run."""
    if reason := material.not_comparable:
        return tr("{accuracy}; not comparable: {reason}", accuracy=percent(accuracy), reason=reason)
    if material.result is None or material.result.evaluation.split != "test":
        return percent(accuracy)
    difference = material.result.evaluation.accuracy - accuracy
    text = (
        tr("{accuracy}; this run is {points:.1f} points above")
        if difference >= 0
        else tr("{accuracy}; this run is {points:.1f} points below")
    )
    return text.format(accuracy=percent(accuracy), points=abs(100 * difference))


def _other_metrics(evaluation: Evaluation) -> Facts:
    found: Facts = []
    if evaluation.is_unbalanced:
        # with 75 % of the images in one class, always naming it has an accuracy of 75 % and a balanced one of 1 / C
        text = tr(
            "{accuracy}, the mean over classes; {share} of the images are {name}",
            accuracy=with_interval(evaluation.balanced_accuracy, evaluation.balanced_interval),
            share=percent(evaluation.majority_share),
            name=evaluation.largest_class,
        )
        found.append((tr("Balanced accuracy"), text))
    if len(evaluation.class_names) > 5:  # of five classes, the right one is always among the top 5
        found.append((tr("Top-5 accuracy"), with_interval(evaluation.top5_accuracy, evaluation.top5_interval)))
    if evaluation.tta_accuracy is not None and evaluation.tta_interval is not None:
        # beside the headline and not in it: published accuracies are mostly without test-time augmentation
        accuracy = with_interval(evaluation.tta_accuracy, evaluation.tta_interval)
        found.append((tr("Test-time augmentation"), listed([accuracy, evaluation.tta or ""])))
    found.append((tr("Loss"), f"{evaluation.loss:.4f}"))
    found.append((tr("Calibration error"), percent(evaluation.calibration_error, 2)))
    if evaluation.num_skipped:
        images = count(evaluation.num_skipped, "image")
        found.append((tr("Left out"), tr("{images} that could not be read", images=images)))
    return found


def _data(material: Material) -> Facts:
    """Which images, how validation was split off, how often the test split was opened, and their fingerprints."""
    data, recipe, openings = material.facts.data, material.recipe, material.openings
    if data.num_train == 0:  # the manifest is lost or damaged
        return []
    kind = {
        True: tr("the published pixels"),
        False: tr("not the published pixels"),
        None: tr("pixels as found"),
    }[data.original]
    source = [recipe.data.source] if recipe is not None else []
    found: Facts = [(tr("Data"), listed([*source, count(data.num_train, "training image"), kind]))]
    if recipe is not None:
        found.append((tr("Validation split"), _protocol(data, recipe)))
    found.append((tr("Test split opened"), _openings(openings)))
    prints = [
        f"{split_name(name)} {value[:SHOWN_OF_HASH]}…"
        for name in ("train", "val", "test")
        if (value := getattr(data, f"{name}_fingerprint"))
    ]
    if prints:  # two runs with the same fingerprints have seen the same pixels, whatever their sources are called
        found.append((tr("Fingerprints"), tr("SHA-256: {hashes}", hashes=listed(prints))))
    return found


def _protocol(data: DataFacts, recipe: Recipe) -> str:
    """Which images chose the epoch."""
    images = count(data.num_val, "image")
    if data.num_val == 0:
        return tr(
            "none: trained on all training images, no epoch was selected, and the last weights were kept; training "
            "never saw the test split"
        )
    if data.val_from == "source":
        return tr(
            "the data set's own validation split, {images}, selected the epoch; training never saw the test split",
            images=images,
        )
    return ntr(
        "{images} of train, stratified by class (seed {seed}), was held out to select the epoch; training never saw "
        "the test split",
        "{images} of train, stratified by class (seed {seed}), were held out to select the epoch; training never saw "
        "the test split",
        data.num_val,
        images=images,
        seed=recipe.validation.seed,
    )


def _openings(openings: Sequence[Mapping[str, str]]) -> str:
    """How often the test split was opened, when and why."""
    times = {
        0: tr("never"),
        1: tr("once: {openings}"),
        2: tr("twice: {openings}"),
    }.get(len(openings), tr("{n} times: {openings}"))
    reasons = {reason: tr(reason) for reason in REASONS}
    shown = [
        listed([moment(entry["time"]), reasons.get(entry["reason"], entry["reason"])])
        for entry in openings[:SHOWN_OPENINGS]
    ]
    return times.format(n=len(openings), openings=tr("; ").join(shown))


def _training(material: Material) -> Facts:
    run_facts, recipe = material.facts, material.recipe
    found: Facts = []
    if recipe is not None:
        parameters = [count(run_facts.num_parameters, "parameter")] if run_facts.num_parameters else []
        found.append((tr("Network"), listed([recipe.model.name, *parameters])))
    if run_facts.elapsed_seconds is not None:
        epochs, time = count(len(material.rows), "epoch"), duration(run_facts.elapsed_seconds)
        images_per_second = median_images_per_second(material.rows)
        speed = [] if images_per_second is None else [tr("{n:,.0f} images/s", n=images_per_second)]
        training = listed([tr("{epochs} in {duration}", epochs=epochs, duration=time), *speed])
        found.append((tr("Training"), tr("; ").join(filter(None, [training, run_facts.ending_text]))))
    if run_facts.runtime.device_name:
        runtime = run_facts.runtime
        found.append((tr("Device"), listed([runtime.device_name, runtime.precision, runtime.memory_format])))
    return found
