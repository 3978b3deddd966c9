"""How commands show themselves: help with examples, and an answer to options that are values of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from cifarlab.cli.output import Output, with_purposes
from cifarlab.errors import either
from cifarlab.language import tr, translatable
from cifarlab.recipe.mistakes import paths_of
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.section import OF_PYDANTIC

EXAMPLES: dict[str, dict[str, str]] = {
    "train": {
        "cifarlab train quick": "the bundled sample, in a minute",
        "cifarlab train speed": "CIFAR-10, in minutes on two CPU cores",
        "cifarlab train quick --data photos": "a folder of your own: one folder per class",
        "cifarlab train resnet18 --set optimizer.lr=0.2 --epochs 10": "other values",
        "cifarlab train quick --seeds 5": "mean and deviation over five seeds",
        "cifarlab train --resume runs/quick": "go on after Ctrl-C",
    },
    "evaluate": {
        "cifarlab evaluate runs/quick": "on the validation images",
        "cifarlab evaluate runs/quick --split test --tta mirror": "on the test split, once more",
        "cifarlab evaluate runs/quick --data photos": "on other images of the same classes",
    },
    "compare": {
        "cifarlab compare runs/quick runs/quick-2": "which is better, and is it luck?",
        "cifarlab compare runs/* --sort accuracy": "all of them, the best first",
        "cifarlab compare runs/* --markdown > runs.md": "a table for a text",
    },
    "ablate": {
        "cifarlab ablate quick": "the parts that can be dropped",
        "cifarlab ablate quick --drop augmentation.flip,augmentation.cutout --seeds 3": "what two of them give",
    },
    "lr-find": {
        "cifarlab lr-find quick": "a learning rate for the bundled sample",
        "cifarlab lr-find quick --data photos --steps 200": "for images of your own",
    },
    "board": {"cifarlab board runs/quick": "its curves in TensorBoard"},
    "predict": {
        "cifarlab predict runs/quick cat.jpg": "one picture",
        "cifarlab predict runs/quick photos --top 3 --json": "a folder, three classes each",
    },
    "explain": {
        "cifarlab explain runs/quick cat.jpg": "what decides",
        "cifarlab explain runs/quick cat.jpg --class dog": "what speaks for another class",
    },
    "report": {
        "cifarlab report runs/quick --open": "draw it again and show it",
    },
    "models": {
        "cifarlab models": "all networks, with their sizes",
        "cifarlab models resnet18 --image-size 64": "the layers of one",
    },
    "recipes": {
        "cifarlab recipes": "all of them, with what they reached",
        "cifarlab recipes speed > my.toml": "one to start a recipe of your own from",
    },
    "completion": {
        'eval "$(cifarlab completion bash)"': "in ~/.bashrc; zsh alike",
        "cifarlab completion fish > ~/.config/fish/completions/cifarlab.fish": "fish",
    },
    "data cache": {
        "cifarlab data cache": "what is kept, and how large it is",
        "cifarlab data cache --clear --older-than 30": "what was not used for 30 days",
    },
    "data list": {"cifarlab data list": "which data sets are here"},
    "data fetch": {"cifarlab data fetch cifar10": "download it, or check that it is here"},
    "data verify": {"cifarlab data verify photos": "counts, hashes, images that occur twice"},
    "data show": {"cifarlab data show photos --out photos.png": "how a folder is understood, and examples"},
    "bench time-to-accuracy": {
        "cifarlab bench time-to-accuracy speed --target 0.93 --seeds 3": "how long until 93 %",
    },
    "bench throughput": {"cifarlab bench throughput resnet18 --batch-size 256": "training images per second"},
    "bench loader": {"cifarlab bench loader quick": "what the data path alone can do"},
    "bench predict": {"cifarlab bench predict speednet": "predictions per second"},
    "bench startup": {"cifarlab bench startup": "how long imports and loading take"},
    "bench kernels": {"cifarlab bench kernels": "the CPU kernels against torch"},
}
"""What each command is used for, by its words after "cifarlab": a command line -> what it does."""

OF_TYPER = {
    "ARGUMENTS_PANEL_TITLE": translatable("Arguments"),
    "OPTIONS_PANEL_TITLE": translatable("Options"),
    "COMMANDS_PANEL_TITLE": translatable("Commands"),
    "DEFAULT_STRING": translatable("[default: {}]"),
    "REQUIRED_LONG_STRING": translatable("[required]"),
}
"""What typer writes around our texts -> its constants for it."""

OF_CLICK = (
    translatable("Missing argument '{name}'."),
    translatable("Missing argument '{name}'. Choose from: {values}"),
    translatable("Missing option '{name}'."),
    translatable("Missing option '{name}'. Choose from: {values}"),
    translatable("Missing command."),
    translatable("No such command '{name}'. Did you mean {names}?"),
    translatable("No such command '{name}'."),
    translatable("No such option: {name} (Possible options: {names})"),
    translatable("No such option: {name} Did you mean {names}?"),
    translatable("No such option: {name}"),
    translatable("Option '{name}' requires an argument."),
    translatable("Option '{name}' does not take a value."),
    translatable("Got unexpected extra argument(s) ({words})"),
    translatable("Got unexpected extra argument ({words})"),
    translatable("Got unexpected extra arguments ({words})"),
    translatable("Invalid value for {name}: {reason}"),
    translatable("{value} is not one of {values}."),
    translatable("{value} is not a valid {kind}."),
    translatable("{value} is not in the range {range}."),
    *OF_PYDANTIC,
)
"""What click, or what typer has made of it, says of a command line."""

OTHER_NAMES = {"learning_rate": "lr", "rate": "lr", "batch": "batch_size", "bs": "batch_size", "wd": "weight_decay"}
"""What people call values of a recipe -> what they are called."""


class _Shown:
    """Says all around our own texts in the chosen language, and no "<bool>" beside an option that is a switch."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and options, --help included."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            if parameter.name == "help":  # click makes it anew for every command, after `translate`
                parameter.help = tr("Show this message and exit.")
        return parameters

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line "Usage: ..."."""
        pieces = self.collect_usage_pieces(ctx)  # type: ignore[attr-defined]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=tr("Usage: "))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        from typer import rich_utils

        for name, text in OF_TYPER.items():
            setattr(rich_utils, name, tr(text))
        super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(_Shown, TyperCommand):
    """A command whose help ends with examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, then the examples."""
        super().format_help(ctx, formatter)
        console = Output()
        console.print("\n".join(example_lines(ctx.command_path.partition(" ")[2], console.width)) + "\n")


class Group(_Shown, TyperGroup):
    """Commands under one word."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; the language has been chosen by now, and help can be asked for at any place."""
        for item in texts(self):
            item.help = tr(item.help)
            if panel := getattr(item, "rich_help_panel", None):
                item.rich_help_panel = tr(panel)
        return super().main(*args, **kwargs)


def texts(command: Any) -> Iterator[Any]:
    """A command, the commands below it and their parameters: everything that has a help text."""
    yield from (item for item in (command, *command.params) if item.help)
    for inner in getattr(command, "commands", {}).values():
        yield from texts(inner)


def example_lines(command: str, width: int) -> list[str]:
    """The examples of a command under their heading."""
    purposes = {line: tr(purpose) for line, purpose in EXAMPLES[command].items()}
    return [" " + tr("Examples"), *with_purposes(purposes, width, indent="   ")]


def recipe_value(option: str, words: list[str]) -> str:
    """How to give a value of a recipe that was given as an option: "--set optimizer.lr=0.1"; "" if it is none.

    words: the command line, to repeat the value that was given.
    """
    key = option.lstrip("-").replace("-", "_")
    given = next((word for word in words if word.partition("=")[0] == option), option)
    after = words[words.index(given) + 1 :][:1] if given in words else []
    value = given.partition("=")[2] or next((word for word in after if not word.startswith("--")), "...")
    paths = paths_of(Recipe, OTHER_NAMES.get(key, key))
    return either(f"--set {path}={value}" for path in paths)
