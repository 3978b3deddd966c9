"""What to try next, from the run's own numbers; each suggestion says which number it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from cifarlab.console import count, quoted
from cifarlab.drawing.page import Section, code, heading, paragraph
from cifarlab.drawing.wording import percent, with_interval
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.statistics import Interval, wilson
from cifarlab.language import in_a_row, tr
from cifarlab.pages.report.learning import is_still_improving, points
from cifarlab.pages.report.material import Material
from cifarlab.recipe.catalogue import FEW_IMAGES, FINE_TUNING, data_options
from cifarlab.recipe.schema import Recipe

NAMED_PAIRS = 3
"""Confusions that are named."""
FEWEST_CONFUSED = 3
"""A pair with fewer images may be one by chance."""
REGULARISATION = (
    ("augmentation.flip", "none", "random"),
    ("augmentation.crop_padding", 0, "4"),
    ("augmentation.cutout", 0, "8"),
    ("optimizer.weight_decay", 0.0, "5e-4"),
    ("augmentation.cutmix", 0.0, "1"),
)
"""What makes over-fitting harder: the value that switches it off, and one to begin with; the mildest first."""

Suggestion = tuple[str, str, Sequence[str]]
"""A title, the reason, and commands."""


def advice(material: Material) -> Section | None:
    """What the numbers suggest, or that they suggest nothing; None where there are no numbers or no recipe."""
    recipe = material.recipe
    if recipe is None or material.result is None or not material.rows:
        return None
    found = [
        few_images(material, recipe),
        over_fitting(material, recipe),
        too_short(material, recipe),
        confusions(material.result.evaluation),
    ]
    parts = [
        heading(title) + paragraph(reason) + Markup().join(map(code, commands))
        for title, reason, commands in filter(None, found)
    ]
    nothing = paragraph(tr("The numbers of this run suggest nothing in particular."))
    note = tr("From the numbers of this run alone; whether it helps is told by the validation accuracy of a new run.")
    return Section(tr("What to try next"), Markup().join(parts) or nothing, note)


def few_images(material: Material, recipe: Recipe) -> Suggestion | None:
    """With few training images: start from weights that were learned on many."""
    num_train = material.facts.data.num_train
    if not 0 < num_train < FEW_IMAGES or recipe.model.pretrained or recipe.model.weights is not None:
        return None
    reason = tr(
        "There are {images}, fewer than {limit:,}: a network that has learned from many others first often does "
        'better. The first command fetches weights and needs the extra "vision"; the second takes them from a '
        "safetensors file on this computer.",
        images=count(num_train, "training image"),
        limit=FEW_IMAGES,
    )
    command = f"cifarlab train {FINE_TUNING} {data_options(recipe.data)}"
    local = f"{command} --set model.pretrained=false --set model.weights=resnet18.safetensors"
    return tr("Fine-tune instead of training from scratch"), reason, [command, local]


def over_fitting(material: Material, recipe: Recipe) -> Suggestion | None:
    """With a train accuracy that is certainly above the validation accuracy: augment or regularise more."""
    gap = accuracies(material)
    if gap is None:
        return None
    (train, train_interval), (val, val_interval) = gap
    if train_interval.low <= val_interval.high:
        return None
    reasons = [
        tr(
            "In the selected epoch {train} of the training images and {val} of the validation images were classified "
            "correctly. More training images help most.",
            train=with_interval(train, train_interval),
            val=with_interval(val, val_interval),
        )
    ]
    commands = []
    if recipe.data.source == "sample":
        reasons.append(tr("The sample is a small part of CIFAR-10, which has 50,000."))
        commands.append(f"{_again(material)} --data cifar10")
    if off := [(key, value) for key, none, value in REGULARISATION if _value(recipe, key) == none][:2]:
        fields = tr(" and ").join(key for key, _ in off)
        reasons.append(tr("Without more of them: {fields}, which this recipe does not use.", fields=fields))
        commands.append(" ".join([_again(material), *(f"--set {key}={value}" for key, value in off)]))
    return tr("Narrow the gap between training and validation"), in_a_row(reasons), commands


def too_short(material: Material, recipe: Recipe) -> Suggestion | None:
    """With a validation loss that is lowest at the very end: train longer."""
    if not is_still_improving(material):
        return None
    epochs = recipe.training.epochs
    reason = tr(
        "The validation loss was still falling when training ended after {epochs}. Train anew with twice as many, so "
        "that the schedule of the learning rate is stretched too.",
        epochs=count(len(material.rows), "epoch"),
    )
    return tr("Train longer"), reason, [f"{_again(material)} --epochs {2 * epochs:g}"]


def confusions(evaluation: Evaluation) -> Suggestion | None:
    """The pairs of classes that most mistakes are about."""
    pairs = [each for each in evaluation.most_confused if each.count >= FEWEST_CONFUSED][:NAMED_PAIRS]
    if not pairs:
        return None
    num_mistakes = round((1 - evaluation.accuracy) * evaluation.num_images)
    named = [
        tr(
            "{label} predicted as {prediction}, {images}",
            label=each.label,
            prediction=each.prediction,
            images=count(each.count, "image"),
        )
        for each in pairs
    ]
    reason = tr(
        "{share} of the {mistakes} are of {kinds}: {pairs}. Look at these images in the confusion matrix: where the "
        "labels are right, more training images of these classes help most; where they are wrong, correct them.",
        share=percent(sum(each.count for each in pairs) / num_mistakes, 0),
        mistakes=count(num_mistakes, "mistake"),
        kinds=count(len(pairs), "kind"),
        pairs=tr("; ").join(named),
    )
    return tr("Look at the most confused pairs"), reason, []


def accuracies(material: Material) -> tuple[tuple[float, Interval], tuple[float, Interval]] | None:
    """The accuracies on train and validation in the selected epoch, each with its interval; None where one is missing.

    That of train is measured on augmented images, and so rather too low.
    """
    best, num_val = material.facts.best_epoch, material.facts.data.num_val
    train, val, images = (dict(points(material, name)) for name in ("train/accuracy", "val/accuracy", "train/images"))
    if best is None or not {best} <= train.keys() & val.keys() or not num_val or not images.get(best):
        return None
    return _with_interval(train[best], round(images[best])), _with_interval(val[best], num_val)


def _with_interval(share: float, num_images: int) -> tuple[float, Interval]:
    # a file that was edited may give a share outside 0..1
    return share, wilson(min(max(round(share * num_images), 0), num_images), num_images)


def _value(recipe: Recipe, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _again(material: Material) -> str:
    return f"cifarlab train {quoted(str(material.run.recipe_file))}"
