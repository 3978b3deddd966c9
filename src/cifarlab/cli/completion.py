"""`cifarlab completion`: what makes a shell complete commands, options and recipes."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from cifarlab.cli.output import echo

VARIABLE = "_CIFARLAB_COMPLETE"
"""The environment variable in which a shell that completes says what it wants."""


class Shell(StrEnum):
    """The shells that can be told how to complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")]) -> None:
    """Print the lines with which a shell completes commands, options and recipes; nothing is installed."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    echo(get_completion_script(prog_name="cifarlab", complete_var=VARIABLE, shell=shell))


def prepare() -> None:
    """Let typer know the shells, where one of them asks what may follow."""
    if VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
