"""Options that several commands share, each declared once, and how they change a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cifarlab.language import translatable
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_names


class Split(StrEnum):
    """The parts of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class HeldOutSplit(StrEnum):
    """The parts that training does not learn from."""

    VAL = "val"
    TEST = "test"


# What a command works on

RECIPE_HELP = "A recipe's name or the path of a TOML file."


def _recipes_that_begin_with(text: str) -> list[str]:
    """What a shell offers to complete."""
    return [name for name in recipe_names() if name.startswith(text)]


RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help=RECIPE_HELP, autocompletion=_recipes_that_begin_with)]
OptionalRecipeName = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help=RECIPE_HELP, autocompletion=_recipes_that_begin_with)
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
RunOrModel = Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder or a model file.")]
Pictures = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Files of any format that training reads, or folders.")
]

# What changes a recipe; the long way is named in each help text, because recipe.toml records it under that name

Data = Annotated[str | None, typer.Option(help="Images: a name or a path. Same as --set data.source=...")]
Epochs = Annotated[float | None, typer.Option(help="Same as --set training.epochs=...")]
RecipeDevice = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps; unset: as the recipe says.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads. Same as --set runtime.threads=...")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.")
]

# Where and how a command works; the recipe stays as it is

DataDir = Annotated[Path | None, typer.Option(help="Where to look for named data first.")]
# a run folder is never overwritten: if runs/resnet18 exists, the next run is runs/resnet18-2
Out = Annotated[Path, typer.Option(help="Folder in which the new run folder is created.")]
Seed = Annotated[int | None, typer.Option(help="Same as --set training.seed=...")]
Seeds = Annotated[
    int, typer.Option(min=1, metavar="N", help="Train with this many seeds and report mean and deviation.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

# How data is read. Texts instead of enumerations: the recipe's own check knows which values are allowed, lists them in
# its message, and applies to --set and to TOML files as well

READING = translatable("How the images are read")
"""The heading of these options in the help."""

Layout = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="LAYOUT",
        help="What folders mean: auto, splits, classes, class-first, leaves or lists. Same as --set data.layout=...",
    ),
]
SplitNames = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="NAMES",
        help='Folders or files that are splits under unusual names: "train=learn,test=check". '
        "Same as --set data.split_names=...",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="NAMES",
        help='Columns of a list or table under unusual names: "image=photo,label=kind". Same as --set data.columns=...',
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="NAMES",
        help='Names of the classes 0, 1, ... of data whose labels are only numbers: "frog,truck". '
        "Same as --set data.class_names=...",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="FIT",
        help="How images become square: crop, pad or stretch. Same as --set data.fit=...",
    ),
]
WhiteLevel = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=READING,
        metavar="VALUE",
        help="White in 16-bit greyscale images: 4095 for 12-bit data. Same as --set data.white_level=...",
    ),
]
# off by default: a link may lead out of the data set into other data, or around in a circle
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links", rich_help_panel=READING, help="Follow symbolic links that leave the data set's folder."
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", rich_help_panel=READING, help="End with exit code 3 if there is a warning about the data."
    ),
]
# off by default, so that nobody trains on half of the data without having noticed
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", rich_help_panel=READING, help="Leave out images that cannot be read."),
]


def data_fields(
    layout: str | None = None,
    split_names: str | None = None,
    columns: str | None = None,
    class_names: str | None = None,
    fit: str | None = None,
    white_level: int | None = None,
    follow_links: bool = False,
    skip_bad: bool = False,
    strict: bool = False,
) -> dict[str, object]:
    """The fields of `DataSpec` that these options set; options that were not given are left out."""
    names = {"split_names": split_names, "columns": columns, "class_names": class_names}
    switches = {"follow_links": follow_links, "skip_bad": skip_bad, "strict": strict}
    fields = {"layout": layout, **names, "fit": fit, "white_level": white_level, **switches}
    # a switch can only turn something on: False means not given, and a recipe that says true keeps it
    return {key: value for key, value in fields.items() if value not in (None, False)}


def training_fields(
    data: str | None, seed: int | None, device: str | None, threads: int | None, skip_bad: bool
) -> dict[str, object]:
    """The values of a recipe that these options set, None where one was not given."""
    return {
        "data.source": data,
        "data.skip_bad": skip_bad or None,  # a switch that is not given leaves the recipe's value
        "training.seed": seed,
        "runtime.device": device,
        "runtime.threads": threads,
    }


def changed(recipe: Recipe, assignments: list[str] | None, options: Mapping[str, object]) -> Recipe:
    """Apply the --set assignments in order, then the other options; the later one wins.

    options: values by their path in the recipe, such as {"training.epochs": 5.0}; None means not given.
    Raises RecipeError for a path or a value that a recipe cannot have.
    """
    chosen = recipe.set(*(assignments or []))
    for path, value in options.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)  # TOML writes true, not True
            chosen = override(chosen, path, text)
    return chosen
