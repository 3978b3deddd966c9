"""Run the command line: python -m cifarlab."""

from __future__ import annotations

import codecs
import io
import sys

from cifarlab.cli.main import run
from cifarlab.machine import process

PLAIN = str.maketrans({"█": "#", "·": ".", "±": "+-", "×": "x", "−": "-", "–": "-", "…": "...", "→": "->"})
"""What stands for a character that a terminal's encoding lacks, as cp1252 lacks the bars."""


def main() -> None:
    """Run the command line and exit with its code."""
    process.take_over()  # settings of OpenMP and malloc that are ours to choose only in a process of our own
    codecs.register_error("plainly", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainly")
    sys.exit(run())


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks, instead of ending the command: a class called "café" becomes "caf\\xe9"."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


if __name__ == "__main__":
    main()
