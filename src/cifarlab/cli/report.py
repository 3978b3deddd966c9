"""`cifarlab report`: a run explained on one page."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import RunFolder
from cifarlab.cli.output import echo
from cifarlab.language import tr


def report(
    run: RunFolder,
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    humans: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Human labels of the test images: counts (N, C) as .npy, such as CIFAR-10H."),
    ] = None,
) -> None:
    """Write report.html, one page that needs nothing else, and figures/ as PNG into a run folder."""
    path = api.report(run, humans=humans)
    echo(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)")
    # not a failure on a server without a browser: the page is written, and its path is on stdout
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        echo(tr("No browser was found: open the file above."), err=True)
