"""Run the command line: python -m cifarlab."""

from __future__ import annotations

import io
import os
import sys

from cifarlab.cli.main import run

SPIN_COUNT = "20000"
"""Rounds that a waiting OpenMP thread spins before it sleeps. GNU's default of 300,000 wastes whole time slices where
another program wants a core: with one such program beside it, a small network was seen to train at a third of the
speed; alone, there is no measurable difference."""


def main() -> None:
    """Run the command line and exit with its code."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read when torch is loaded, which is later
    if isinstance(sys.stdout, io.TextIOWrapper):  # a result is shown in escapes where the terminal lacks its letters
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run())


if __name__ == "__main__":
    main()
