"""Options that several commands share: how data is read."""

from __future__ import annotations

from typing import Annotated

import typer

Layout = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="What folders mean: auto, splits, classes, class-first, leaves or lists. Same as --set data.layout=...",
    ),
]
SplitNames = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help='Folders or files that are splits under unusual names: "train=learn,test=check". '
        "Same as --set data.split_names=...",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help='Columns of a list or table under unusual names: "image=photo,label=kind". Same as --set data.columns=...',
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help='Names of the classes 0, 1, ... of data whose labels are numbers alone: "frog,truck". '
        "Same as --set data.class_names=...",
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(metavar="FIT", help="How images become square: crop, pad or stretch. Same as --set data.fit=..."),
]
WhiteLevel = Annotated[
    int | None,
    typer.Option(
        metavar="VALUE", help="White in 16-bit greys: 4095 for 12-bit data. Same as --set data.white_level=..."
    ),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow symbolic links that leave the data set's folder.")
]
Strict = Annotated[bool, typer.Option("--strict", help="End with exit code 3 if there is a warning about the data.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read.")]


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
    """The fields of `DataSpec` that these options set; those that were not given are left out."""
    names = {"split_names": split_names, "columns": columns, "class_names": class_names}
    switches = {"follow_links": follow_links, "skip_bad": skip_bad, "strict": strict}
    fields = {"layout": layout, **names, "fit": fit, "white_level": white_level, **switches}
    return {key: value for key, value in fields.items() if value not in (None, False)}
