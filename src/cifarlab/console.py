"""Notes and progress bars that a person sees while a command works, on stderr only.

Text goes through the logger `cifarlab`, so a program that uses the library decides for itself what it shows;
where it does not, `notes` shows them as the command does. Progress bars are drawn on a terminal only.
"""

from __future__ import annotations

import html
import logging
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from cifarlab.language import listed, ntr, tr

T = TypeVar("T")

Fact = tuple[int, str]
"""A short text and how soon it is left out where room is short: 0 never, the highest number first."""

SHORTEST_BAR, TIME_LEFT = 8, 11
"""Characters, with the gaps around them."""
LABEL_WIDTH = 9
SECONDS_BETWEEN_BARS = 0.25
"""In a notebook, where each bar is a message to the browser."""

_displays: list[None] = []
"""One entry for each thing that moves on the terminal now."""

log = logging.getLogger("cifarlab")


class Advance(Protocol):
    """The function that `progress` yields."""

    def __call__(self, amount: float, *facts: Fact, what: str = "") -> None:
        """Move the progress bar on by `amount` and show facts beside it; `what` replaces the description."""


@contextmanager
def progress(description: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Show a progress bar for `total` units of work, with the number done where they have a name.

    In a notebook the bar stands below the cell. Without a terminal, or when quiet, shows nothing.
    """
    if is_notebook() and log.isEnabledFor(logging.INFO):
        yield from _bar_below_cell(description, total, unit)
        return
    if not is_interactive() or _displays:
        yield lambda amount, *facts, what="": None
        return
    # Imported here, because every command imports this module and rich.progress adds about 25 ms to its start.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a folder named "[red]" is not a colour
        BarColumn(None),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    # transient: a finished progress bar disappears, so a terminal keeps the same notes as a pipe.
    with (
        _displayed(),
        Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar,
    ):
        task = bar.add_task(printable(description), total=total, facts="")

        def advance(amount: float, *facts: Fact, what: str = "") -> None:
            done = f"{bar.tasks[0].completed + amount:,.0f}/{total:,.0f} {unit}" if unit else ""
            title = printable(what or description)
            room = bar.console.width - len(title) - SHORTEST_BAR - TIME_LEFT
            bar.update(task, advance=amount, description=title, facts=fitting([(0, done), *facts], room))

        yield advance


def _bar_below_cell(description: str, total: float, unit: str) -> Iterator[Advance]:
    show, done, shown_at = below_cell(), 0.0, 0.0

    def advance(amount: float, *facts: Fact, what: str = "") -> None:
        nonlocal done, shown_at
        done += amount
        if (now := time.monotonic()) - shown_at > SECONDS_BETWEEN_BARS:
            shown_at = now
            number = f"{done:,.0f}/{total:,.0f} {unit}" if unit else ""
            text = fitting([(0, printable(what or description)), (0, number), *facts], sys.maxsize)
            show(f'<progress value="{done:g}" max="{total:g}"></progress> {html.escape(text)}')

    try:
        yield advance
    finally:
        show("")  # leaves nothing behind, as on a terminal


def below_cell() -> Callable[[str], None]:
    """Make a place below the cell of a notebook that runs; the HTML that the function is given replaces what is there.

    Outside of a notebook, or when quiet, nothing is shown.
    """
    if not (is_notebook() and log.isEnabledFor(logging.INFO)):
        return lambda html: None
    from IPython.display import HTML, display  # a kernel has it

    place: Any = display(HTML(""), display_id=True)  # type: ignore[no-untyped-call]
    return lambda html: place.update(HTML(html))  # type: ignore[no-untyped-call]


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what takes a while: on a terminal for as long as it does, else as a note."""
    if not is_interactive():
        log.info(what)
        yield
        return
    if _displays:
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    spinner = "line" if console.options.ascii_only else "dots"  # of braille characters, which cp936 lacks
    with _displayed(), console.status(printable(what), spinner=spinner):
        yield


@contextmanager
def _displayed() -> Iterator[None]:
    """Note that something moves on the terminal: a second thing inside of it would leave its remains on the screen."""
    _displays.append(None)
    try:
        yield
    finally:
        _displays.pop()


def fitting(facts: Sequence[Fact], width: int | None = None) -> str:
    """Join facts to a line of at most `width` characters; those with the highest numbers are left out first.

    width: unset, that of the terminal, or where there is none, wide enough for all.
    """
    shown = [(rank, text) for rank, text in facts if text]
    width = columns() if width is None else width
    while len(line := "  ".join(text for _, text in shown)) > width and len(shown) > 1:
        shown.remove(max(shown, key=lambda fact: fact[0]))
    return line


def labelled(label: str, text: str) -> str:
    """A label and a text beside it, which goes on below itself where the terminal is too narrow for one line."""
    from rich.cells import cell_len  # the characters of some scripts are two columns wide

    gap = " " * max(1, LABEL_WIDTH - cell_len(label))
    lines = in_lines(text, columns() - LABEL_WIDTH)
    return f"{label}{gap}{(chr(10) + ' ' * LABEL_WIDTH).join(lines)}"


def in_lines(text: str, width: int) -> list[str]:
    """Divide a text into lines of so many columns, between words where there are any."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    if cell_len(text) <= width:
        return [text]
    return [line.plain.rstrip() for line in Text(text).wrap(Console(), max(width, 20))]


def columns() -> int:
    """Characters in a line of the terminal; without a terminal, enough for anything."""
    return shutil.get_terminal_size().columns if is_interactive() else sys.maxsize


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


def quoted(word: str) -> str:
    """A word of a command as the shells of this system take it, for commands that are shown to be pasted."""
    if sys.platform == "win32":
        return _quoted_on_windows(word)
    return shlex.quote(word)


def _quoted_on_windows(word: str) -> str:
    # cmd.exe knows double quotes only, and PowerShell takes them too; a comma would make a list there
    if re.fullmatch(r"[\w.:/\\=+~-]+", word):
        return word
    # how programs on Windows read their arguments: backslashes before a quote count twice
    word = re.sub(r'(\\*)"', r'\1\1\\"', word)
    word = re.sub(r"(\\+)$", r"\1\1", word)
    return f'"{word}"'


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: "1 image", "2,000 images"; plural: of a noun that takes more than an s.

    Nouns are literals, since catalogues have a translation of each with its number.
    """
    return ntr(*counted(noun, plural), number, n=f"{number:,}")


def counted(noun: str, plural: str = "") -> tuple[str, str]:
    """The messages by which catalogues know a number of things: "{n} image" and "{n} images"."""
    return f"{{n}} {noun}", f"{{n}} {plural or f'{noun}s'}"


def some(items: Sequence[str], limit: int = 5) -> str:
    """Join the first `limit` items with commas and say how many more there are: "a, b and 12 more"."""
    shown = listed(items[:limit])
    return tr("{items} and {n} more", items=shown, n=len(items) - limit) if len(items) > limit else shown


def ends(items: Sequence[T], limit: int = 20) -> tuple[Sequence[T], Sequence[T]]:
    """Return the first and the last `limit` items of a long list; a list of up to twice as many whole, and ()."""
    return (items[:limit], items[-limit:]) if len(items) > 2 * limit else (items, ())


def is_notebook() -> bool:
    """Whether output goes to a notebook: its kernel has replaced stdout."""
    return type(sys.stdout).__module__.startswith("ipykernel.")


def is_interactive() -> bool:
    """Whether progress bars may be drawn: stderr is a capable terminal, and --quiet has not silenced notes."""
    if sys.stderr is None or not sys.stderr.isatty():  # None: pythonw on Windows has no stderr
        return False
    # TERM=dumb: Emacs shells and some CI systems are terminals that cannot move the cursor back.
    return os.environ.get("TERM") != "dumb" and log.isEnabledFor(logging.INFO)
