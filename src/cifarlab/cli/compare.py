"""`cifarlab compare`: runs side by side, with statistics instead of hope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import AsJson, HeldOutSplit
from cifarlab.cli.output import Output, echo, echo_json, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from cifarlab.studies.compare.compare import Comparison


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Two or more run folders, or folders of several seeds.")
    ],
    split: Annotated[HeldOutSplit, typer.Option(help="The split that the runs were evaluated on.")] = HeldOutSplit.TEST,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with curves and examples.")] = None,
) -> None:
    """Compare runs that were trained and evaluated on the same images."""
    found = api.compare(runs, split=split.value, html=html)
    if as_json:
        echo_json(found.to_dict())
        return
    _print(found)
    if html is not None:  # not with --json, whose output has to stay one document
        echo(f"\nThe page is {html}.")


def _print(comparison: Comparison) -> None:
    from cifarlab.studies.compare.conclusions import COLUMNS, headings

    console = Output()
    table = _table("", comparison)
    if any(entry.is_group for entry in comparison.entries):
        table.add_row("seeds", *(str(len(entry.members)) for entry in comparison.entries))
    rows = [comparison.numbers(entry) for entry in comparison.entries]
    titles = headings(comparison.split)
    for key, (_, write) in COLUMNS.items():
        # an interval goes below its number: three runs then fit into the 80 columns of a terminal
        table.add_row(titles[key], *(write(row[key]).replace(" (", "\n(") for row in rows))
    console.print(table)
    if comparison.differences:
        console.print()
        table = _table("what differs", comparison)
        for key, texts in comparison.differences.items():
            table.add_row(key, *texts)
        console.print(table)
    for pair in comparison.pairs:
        console.print()
        console.print(comparison.conclusion(pair))


def _table(title: str, comparison: Comparison) -> Table:
    """A table with one column per run, so that names and numbers of a kind are next to each other."""
    table = plain_table()
    table.add_column(title, no_wrap=True)
    for entry in comparison.entries:
        table.add_column(entry.label, overflow="fold")  # "ellipsis" would cut what distinguishes long names, their ends
    return table
