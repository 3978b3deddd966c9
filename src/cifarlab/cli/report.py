"""`cifarlab report`: a run explained on one page."""

from __future__ import annotations

import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cifarlab.cli.output import echo
from cifarlab.runs.folder import Run


def report(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    humans: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answers of people to the test images: counts (N, C) as .npy, CIFAR-10H."),
    ] = None,
) -> None:
    """Write report.html, one page that needs nothing else, and figures/ as PNG into a run folder."""
    from cifarlab.pages.report.write import write_report

    opened = _open(run)
    with ExitStack() as stack:
        for each in (opened, *opened.seeds):
            stack.enter_context(each.locked_if_free())
        path = write_report(opened, humans=humans)
    echo(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        echo("No browser was found: open the file above.", err=True)


def _open(path: Path) -> Run:
    """A run whose recipe is lost can still be reported on, if it has a manifest."""
    return Run(path) if (path / "manifest.json").is_file() else Run.open(path)
