"""`cifarlab board`: TensorBoard on runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cifarlab.cli.output import echo
from cifarlab.language import tr


def board(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="Run folders; unset: all below --root.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Unset: 6006, or the next that is free.")] = None,
) -> None:
    """Start TensorBoard on runs, print its address, and serve until Ctrl-C."""
    from cifarlab.pages import board as boards

    with boards.board(runs or [], root=root, port=port) as address:
        echo(tr("TensorBoard is at {address}  (stop it with Ctrl-C)", address=address))
        try:
            while True:  # TensorBoard serves from a thread of its own that ends with this process
                time.sleep(3600)  # which Ctrl-C ends on Windows, too, where it ends no wait for a lock or an event
        except KeyboardInterrupt:
            return  # the way to stop it, so exit code 0 and no "Interrupted."
