"""How text reaches the terminal: class names, paths and messages are data, never markup and never control codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from cifarlab.cli.wrapping import teach_rich
from cifarlab.console import printable, printable_lines
from cifarlab.errors import DataError, PartialError
from cifarlab.language import tr

teach_rich()  # here, because whatever a command shows comes through this module

NARROW = 72
"""Columns below which a terminal shows the main numbers only."""
SHOWN_FAILURES = 20
"""Unreadable images that a message lists; --json lists all of them."""


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or several, on stdout or stderr."""
    # stdout is a buffer when it is piped: without the flush, its lines would come after later ones on stderr
    print(printable_lines(text), file=sys.stderr if err else sys.stdout, flush=True)


def echo_json(result: object) -> None:
    """Print a result on stdout as indented JSON."""
    echo(json.dumps(result, indent=2))


class Output(Console):
    """The rich console for results on stdout; it shows every string it is given character by character."""

    def __init__(self) -> None:
        # highlight: rich would colour numbers and paths by its own guesses
        # soft_wrap: a long path stays on one line, so that it can be copied, and `grep` finds it in a pipe
        super().__init__(highlight=False, soft_wrap=True)

    @property
    def is_narrow(self) -> bool:
        """Whether it is a terminal with too few columns for more than the main numbers."""
        return self.is_terminal and self.width < NARROW

    def render_str(
        self,
        text: str,
        *,
        style: StyleType = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        emoji: bool | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        highlighter: HighlighterType | None = None,
    ) -> Text:
        """Render a string as it is, without markup or emoji codes."""
        # rich sends every string through here, those in the cells and titles of tables too, so that this is the one
        # place where a class named "[bold]cat" keeps its brackets and an escape sequence in a path does nothing
        return Text(printable_lines(text), style=style, justify=justify, overflow=overflow)


def plain_table(title: str | None = None, *, show_header: bool = True) -> Table:
    """A table without lines, three spaces between its columns."""
    return Table(
        title=title, title_justify="left", show_header=show_header, header_style="bold", box=None, padding=(0, 3, 0, 0)
    )


def with_purposes(commands: Mapping[str, str], width: int, indent: str = "  ") -> list[str]:
    """Command lines, each with what it does: behind it, or above all of them where lines are short."""
    longest = max(map(len, commands))
    beside = [f"{indent}{line:{longest}}  # {purpose}" for line, purpose in commands.items()]
    if max(map(cell_len, beside)) <= width:
        return beside
    return [f"{indent}{text}" for line, purpose in commands.items() for text in (f"# {purpose}", line)]


def raise_unreadable(failures: Sequence[str], *, any_read: bool) -> None:
    """Raise for images that could not be read: PartialError if others were, DataError if none was."""
    shown = [f"  {printable(text)}" for text in failures[:SHOWN_FAILURES]]
    rest = len(failures) - len(shown)
    lines = "\n".join([*shown, *(["  " + tr("and {n} more", n=rest)] if rest else [])])
    if not any_read:
        raise DataError(tr("None of the images could be read:") + "\n" + lines)
    # the results are printed by now; exit code 8 tells a script that they are good, but not all of them
    raise PartialError(tr("{n} of the images could not be read:", n=len(failures)) + "\n" + lines)
