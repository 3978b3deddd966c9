"""Where notes and warnings appear: what the command shows, a script and a notebook show too, unless they decide.

While a public function works, the logger `cifarlab` has a handler for stderr and the level INFO, and loses both when it
returns: importing cifarlab changes nothing. A program decides for itself, and gets nothing of ours, when it has

- given the logger `cifarlab` a handler (`logging.NullHandler()` for silence), or
- given the root logger a handler or a level, as `logging.basicConfig(level=...)` does.

A level of the logger `cifarlab` alone is kept: `logging.getLogger("cifarlab").setLevel("ERROR")` leaves only errors.
In a notebook notes go to stdout, since notebooks show stderr as if it were an error; and a handler of the root logger
decides only together with a level, since some kernels, as Colab's, install one before the first cell has run.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from cifarlab.console import columns, in_lines, is_notebook, log, printable_lines


@contextmanager
def notes_shown() -> Iterator[None]:
    """Show notes while the block runs, unless the program has configured logging; `@notes_shown()` for a function."""
    in_notebook = is_notebook()
    root = logging.getLogger()
    program_decides = log.handlers or root.level != logging.WARNING or (root.handlers and not in_notebook)
    if program_decides:
        yield
        return
    level, propagate = log.level, log.propagate
    handler = note_handler(sys.stdout if in_notebook else sys.stderr)
    log.addHandler(handler)
    log.setLevel(level or logging.INFO)
    log.propagate = False  # a kernel's own handler would show every warning twice
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


def note_handler(stream: TextIO) -> logging.Handler:
    """Make the handler that writes notes as a person reads them: the text alone, each warning once."""
    handler = _ToCurrent() if stream is sys.stderr else logging.StreamHandler(stream)
    handler.setFormatter(NoteFormatter("%(message)s"))
    handler.addFilter(Once())
    return handler


class _ToCurrent(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is now: a progress bar puts a stream in its place that writes above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one note."""
        self.stream = sys.stderr
        super().emit(record)


class Once(logging.Filter):
    """Lets a warning pass once: a command may read the same data several times, but should warn about it only once."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is news; notes such as the line of an epoch always are."""
        text = record.getMessage()
        is_news = record.levelno < logging.WARNING or text not in self.said
        self.said.add(text)
        return is_news


class NoteFormatter(logging.Formatter):
    """Notes and warnings as they are shown on stderr."""

    def format(self, record: logging.LogRecord) -> str:
        """The message alone, safe for a terminal and, on one, with lines that end between words."""
        return "\n".join(map(_between_words, printable_lines(super().format(record)).split("\n")))


def _between_words(line: str) -> str:
    """Break a line where the terminal ends; not one that is indented, since commands stand so, to be copied."""
    return line if line.startswith(" ") else "\n".join(in_lines(line, columns()))
