"""The shipped recipes as a reader chooses among them: in groups, each with its augmentation in a few words."""

from __future__ import annotations

from cifarlab.console import quoted
from cifarlab.recipe.schema import AugmentationSpec, DataSpec

CLASSICS = {
    "small networks": (
        "basic-cnn",
        "simple-cnn",
        "simple-cnn-early-stopping",
        "inception-basic",
        "residual-basic",
    ),
    "large networks": ("resnet18-imagenet-stem", "googlenet", "resnet18-finetune"),
    "five depths, trained alike": (
        "resnet18-plain",
        "resnet34-plain",
        "resnet50-plain",
        "resnet101-plain",
        "resnet152-plain",
    ),
    "one depth, trained better step by step": (
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
    "Start here": ("quick",),
    "Fast": ("speed", "speed-plus"),
    "Strong": ("resnet18", "resnet34", "resnet50"),
    **{f"Classics: {title}": names for title, names in CLASSICS.items()},
}
"""Every shipped recipe, by what it is for; the last of the classics begins with one of the group before."""

WORDS = {
    "crop_padding": "crops",
    "flip": "flips",
    "rotation": "rotations",
    "translation": "shifts",
    "brightness": "colour",
    "contrast": "colour",
    "saturation": "colour",
    "hue": "colour",
    "policy": "TrivialAugment",
    "cutout": "cutout",
    "erasing": "erasing",
    "mixup": "mixup",
    "cutmix": "CutMix",
}
"""What a list calls each augmentation; fields that only say how another one works have no word."""


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
