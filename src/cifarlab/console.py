"""Notes and progress bars that a person sees while a command works, on stderr only.

Text goes through the logger `cifarlab`, so a program that uses the library decides for itself what it shows;
where it does not, `notes` shows them as the command does. Progress bars are drawn on a terminal only.
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
    """The function that `progress` yields."""

    def __call__(self, amount: float, text: str = "") -> None:
        """Add `amount` to the progress bar and show `text` beside it."""


@contextmanager
def progress(description: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show a progress bar for `total` units of work; without a terminal, or when quiet, show nothing."""
    if not is_interactive():
        yield lambda amount, text="": None
        return
    # Imported here, because every command imports this module and rich.progress adds about 25 ms to its start.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a folder named "[red]" is not a colour
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    # transient: a finished progress bar disappears, so a terminal keeps the same notes as a pipe.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(description), total=total, text="")
        yield lambda amount, text="": bar.update(task, advance=amount, text=text)


def printable(text: str) -> str:
    """Show text from a file as one line of visible characters; all others become escapes such as `\\u202e`.

    Escaped are control characters, line breaks, marks that reverse the direction of text, invisible characters, and
    bytes of file names that are not UTF-8 (which Python keeps as lone surrogates).
    """
    # File and class names come from strangers' archives: an escape sequence among them could rewrite the terminal,
    # and a right-to-left mark can make "gpj.exe" look like "exe.jpg".
    if text.isprintable():  # nearly always true, and a hundred times as fast as the loop
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def printable_lines(text: str) -> str:
    """Apply `printable` to each line of a text whose line breaks are ours."""
    return "\n".join(map(printable, text.split("\n")))


def some(items: Sequence[str], limit: int = 5) -> str:
    """Join the first `limit` items with commas and say how many more there are: "a, b and 12 more"."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def ends(items: Sequence[T], limit: int = 20) -> tuple[Sequence[T], Sequence[T]]:
    """Return the first and the last `limit` items of a long list; a list of up to twice as many whole, and ()."""
    return (items[:limit], items[-limit:]) if len(items) > 2 * limit else (items, ())


def is_interactive() -> bool:
    """Whether progress bars may be drawn: stderr is a capable terminal, and --quiet has not silenced notes."""
    # TERM=dumb: Emacs shells and some CI systems are terminals that cannot move the cursor back.
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and log.isEnabledFor(logging.INFO)
