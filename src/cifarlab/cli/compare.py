"""`cifarlab compare`: runs side by side, with statistics instead of hope."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cifarlab import api
from cifarlab.cli.output import Output, echo

if TYPE_CHECKING:
    from cifarlab.studies.compare.compare import Comparison


class JudgedSplit(StrEnum):
    """Splits that a run can be compared on."""

    VAL = "val"
    TEST = "test"


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders, or folders of several seeds.")],
    split: Annotated[JudgedSplit, typer.Option(help="The split that the runs were judged on.")] = JudgedSplit.TEST,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with curves and examples.")] = None,
) -> None:
    """Compare runs that were trained and judged on the same images."""
    found = api.compare(runs, split=split.value, html=html)
    if as_json:
        echo(json.dumps(found.to_dict(), indent=2))
        return
    _print(Output(), found)
    if html is not None:
        echo(f"\nThe page is {html}.")


def _print(console: Output, comparison: Comparison) -> None:
    console.print(_numbers(comparison))
    if comparison.differences:
        console.print()
        console.print(_differences(comparison))
    for pair in comparison.pairs:
        console.print()
        console.print(comparison.conclusion(pair))


def _numbers(comparison: Comparison) -> Table:
    """One column per run, so that names and numbers stand below each other."""
    from cifarlab.studies.compare.conclusions import COLUMNS, headings

    table = _table("", comparison)
    rows = [comparison.numbers(entry) for entry in comparison.entries]
    if any(entry.is_group for entry in comparison.entries):
        table.add_row("seeds", *(str(len(entry.members)) for entry in comparison.entries))
    titles = headings(comparison.split)
    for key, (_, write) in COLUMNS.items():
        table.add_row(titles[key], *(write(row[key]).replace(" (", "\n(") for row in rows))
    return table


def _differences(comparison: Comparison) -> Table:
    table = _table("what differs", comparison)
    for key, texts in comparison.differences.items():
        table.add_row(key, *texts)
    return table


def _table(title: str, comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(title, no_wrap=True)
    for entry in comparison.entries:
        table.add_column(entry.label, overflow="fold")
    return table
