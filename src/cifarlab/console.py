"""What a person sees while a command works: notes and progress, on stderr only.

Text goes through the logger `cifarlab`, so a program that uses the library decides for itself what it shows;
the command line installs a handler in `cli`. Bars are drawn on a terminal only.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")

log = logging.getLogger("cifarlab")


class Advance(Protocol):
    """Move a bar on."""

    def __call__(self, amount: float, text: str = "") -> None:
        """Add `amount` to the bar and show `text` beside it."""


@contextmanager
def progress(description: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show a bar for work of `total` units; without a terminal, or when quiet, show nothing."""
    if not is_interactive():
        yield lambda amount, text="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(description), total=total, text="")
        yield lambda amount, text="": bar.update(task, advance=amount, text=text)


def printable(text: str) -> str:
    """Show text from a file as one line of visible characters; everything else appears as an escape like `\\u202e`.

    Escaped are control characters, line breaks, marks that reverse the direction of text, invisible characters, and
    bytes of file names that are not UTF-8.
    """
    if text.isprintable():  # nearly always, and a hundred times as fast
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def some(items: Sequence[str], limit: int = 5) -> str:
    """The first few of many, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def ends(items: Sequence[T], limit: int = 20) -> tuple[Sequence[T], Sequence[T]]:
    """The first and the last `limit` of a long list; of a list that is short enough, everything and nothing."""
    return (items[:limit], items[-limit:]) if len(items) > 2 * limit else (items, ())


def printable_lines(text: str) -> str:
    """The same for text of several lines, whose line breaks are ours."""
    return "\n".join(map(printable, text.split("\n")))


def is_interactive() -> bool:
    """Whether bars may be drawn: stderr is a capable terminal and notes are shown at all."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and log.isEnabledFor(logging.INFO)
