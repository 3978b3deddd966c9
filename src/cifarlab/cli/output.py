"""How text reaches the terminal: class names, paths and messages are data, never markup and never control codes."""

from __future__ import annotations

import logging
import sys

from rich.console import Console, HighlighterType, JustifyMethod, OverflowMethod
from rich.style import StyleType
from rich.text import Text

from cifarlab.console import printable_lines


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or several, on stdout or stderr."""
    print(printable_lines(text), file=sys.stderr if err else sys.stdout, flush=True)


class Output(Console):
    """The rich console for results on stdout. Whatever it is given as a string is shown character by character."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

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
        """Rich sends every string through here, those in the cells and titles of tables too; there is no markup."""
        return Text(printable_lines(text), style=style, justify=justify, overflow=overflow)


class Once(logging.Filter):
    """Lets a warning pass once: a command may read the same data several times, and says so once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is news."""
        text = record.getMessage()
        is_news = record.levelno < logging.WARNING or text not in self.said
        self.said.add(text)
        return is_news


class NoteFormatter(logging.Formatter):
    """Notes and warnings, as they are shown on stderr."""

    def format(self, record: logging.LogRecord) -> str:
        """The message alone, for a terminal."""
        return printable_lines(super().format(record))
