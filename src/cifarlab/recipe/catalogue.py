"""The shipped recipes as a reader chooses among them: in groups, each with its augmentation in a few words."""

from __future__ import annotations

from cifarlab.console import quoted
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import AugmentationSpec, DataSpec

CLASSICS = {
    translatable("small networks"): (
        "basic-cnn",
        "simple-cnn",
        "simple-cnn-early-stopping",
        "inception-basic",
        "residual-basic",
    ),
    translatable("large networks"): ("resnet18-imagenet-stem", "googlenet", "resnet18-finetune"),
    translatable("five depths, trained alike"): (
        "resnet18-plain",
        "resnet34-plain",
        "resnet50-plain",
        "resnet101-plain",
        "resnet152-plain",
    ),
    translatable("one depth, trained better step by step"): (
        "resnet34-plain",
        "resnet34-cosine",
        "resnet34-augmented",
        "resnet34-mix",
    ),
}
"""What course projects train, in the order in which one leads to the next."""

FINE_TUNING = "resnet18-finetune"
"""The recipe that begins with weights that were learned on many other images."""
FEW_IMAGES = 1000
"""With fewer training images, that recipe is suggested."""

GROUPS = {
    translatable("Start here"): ("quick",),
    translatable("Fast"): ("speed", "speed-plus"),
    translatable("Strong"): ("resnet18", "resnet34", "resnet50"),
    **{f"Classics: {title}": names for title, names in CLASSICS.items()},
}
"""Every shipped recipe, by what it is for; the last of the classics begins with one of the group before."""

WORDS = {
    "crop_padding": translatable("crops"),
    "flip": translatable("flips"),
    "rotation": translatable("rotations"),
    "translation": translatable("shifts"),
    "brightness": translatable("colour"),
    "contrast": translatable("colour"),
    "saturation": translatable("colour"),
    "hue": translatable("colour"),
    "policy": "TrivialAugment",
    "cutout": "cutout",
    "erasing": translatable("erasing"),
    "mixup": "mixup",
    "cutmix": "CutMix",
}
"""What a list calls each augmentation; fields that only say how another one works have no word."""


def group_title(name: str) -> str:
    """The heading of a group in the language that is spoken."""
    kind, _, title = name.rpartition(": ")
    return tr("Classics: {title}", title=tr(title)) if kind else tr(title)


def augmentation_words(augmentation: AugmentationSpec) -> list[str]:
    """The augmentations that are on, each word once: ["crops", "flips", "colour"]."""
    off = AugmentationSpec()
    return list(dict.fromkeys(word for key, word in WORDS.items() if getattr(augmentation, key) != getattr(off, key)))


def data_options(data: DataSpec) -> str:
    """The options that read a run's images as it read them; their size and normalisation are those of the weights."""
    options = [f"--data {quoted(data.source)}"]
    others = data.model_dump(exclude_defaults=True, exclude={"source", "image_size", "normalisation"})
    for name, value in others.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        options.append(f"--set {quoted(f'data.{name}={text}')}")
    return " ".join(options)
