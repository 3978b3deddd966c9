"""`cifarlab compare`: runs side by side, with statistics instead of hope."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.fitted import GAP, Column, Row, fitted, wrapped
from cifarlab.cli.options import AsJson, HeldOutSplit
from cifarlab.cli.output import Output, echo, echo_json
from cifarlab.errors import UsageError
from cifarlab.language import listed, tr

if TYPE_CHECKING:
    from rich.text import Text

    from cifarlab.studies.compare.compare import Comparison

RANKS = {
    "accuracy": 1,
    "train_accuracy": 2,
    "seconds": 3,
    "num_parameters": 4,
    "val_accuracy": 6,
    "epochs": 7,
    "images_per_second": 8,
    "calibration_error": 9,
}
"""The order in which the numbers get room beside the names of the runs."""
SEEDS_RANK = 5

SETTING_WIDTH, NARROWEST_VALUE = 24, 10
"""Characters for the name of a setting that differs, and the fewest for its value in each run."""


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Two or more run folders, or folders of several seeds.")
    ],
    split: Annotated[HeldOutSplit, typer.Option(help="The split that the runs were evaluated on.")] = HeldOutSplit.TEST,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Best first, by name, parameters, epochs, time, speed, train, val, accuracy or calibration; "
            "unset: as given.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a row of numbers per run, as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables and conclusions as Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with curves and examples.")] = None,
) -> None:
    """Compare runs that were trained and evaluated on the same images."""
    if as_json + as_csv + as_markdown > 1:
        raise UsageError(tr("--json, --csv and --markdown each print the whole comparison: give one of them."))
    found = api.compare(runs, split=split.value, sort=sort, html=html)
    if as_json:
        echo_json(found.to_dict())
    elif as_csv or as_markdown:
        from cifarlab.studies.compare.export import to_csv, to_markdown

        echo((to_csv(found) if as_csv else to_markdown(found)).rstrip("\n"))
    else:
        _print(found)
        if html is not None:  # not with the others, whose output has to stay one document
            echo("\n" + tr("The page is {path}.", path=html))


def _print(comparison: Comparison) -> None:
    console = Output()
    for line in _numbers(comparison, console.width):
        console.print(line)
    if comparison.differences:
        console.print()
        for line in _differences(comparison, console.width):
            console.print(line)
    console.print()
    for pair in comparison.pairs:
        first, *rest = wrapped(comparison.claim(pair), console.width - 2)
        console.print("\n".join([f"• {first}", *(f"  {line}" for line in rest)]))
    console.print()
    console.print("\n".join(wrapped(comparison.basis, console.width)))


def _numbers(comparison: Comparison, width: int) -> list[Text]:
    """A row per run."""
    from cifarlab.studies.compare.conclusions import COLUMNS, headings

    columns = [Column(tr("run"))]
    are_groups = any(entry.is_group for entry in comparison.entries)
    if are_groups:
        columns.append(Column(tr("seeds"), SEEDS_RANK, tr("{} seeds"), right=True))
    for key, title in headings(comparison.split).items():
        columns.append(Column(title, RANKS[key], f"{title} {{}}", right="accuracy" not in key))
    rows: list[Row] = []
    for entry in comparison.entries:
        numbers = comparison.numbers(entry)
        # an interval goes below its number, so that two of them fit beside the names in 80 columns
        texts = [re.sub(r" ?([(（])", r"\n\1", write(numbers[key])) for key, (_, write) in COLUMNS.items()]
        rows.append([entry.label, *([str(len(entry.members))] if are_groups else []), *texts])
    return fitted(columns, {"": rows}, width)


def _differences(comparison: Comparison, width: int) -> list[Text]:
    """The settings that differ, by section, each with its value in every run."""
    names = [entry.label for entry in comparison.entries]
    room = (width - SETTING_WIDTH) // len(names) - GAP
    side_by_side = room >= NARROWEST_VALUE
    groups: dict[str, list[Row]] = {
        section: [[key, *(texts if side_by_side else [_by_value(names, texts)])] for key, texts in settings.items()]
        for section, settings in comparison.settings.items()
    }
    titles = names if side_by_side else [tr("runs")]
    most = room if side_by_side else max(width - SETTING_WIDTH - GAP, 1)
    columns = [Column(tr("what differs"), most=SETTING_WIDTH)]
    columns += [Column(title, number, "{}", most) for number, title in enumerate(titles)]
    return fitted(columns, groups, width)


def _by_value(names: list[str], texts: list[str]) -> str:
    """Each value with the runs that have it: "0.1: a, c; 0.2: b"."""
    runs = {text: [name for name, each in zip(names, texts, strict=True) if each == text] for text in texts}
    return "\n".join(tr("{value}: {runs}", value=text, runs=listed(having)) for text, having in runs.items())
