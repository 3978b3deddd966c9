"""Run the command line: python -m cifarlab."""

from __future__ import annotations

import io
import sys

from cifarlab.cli.main import run
from cifarlab.machine import process


def main() -> None:
    """Run the command line and exit with its code."""
    process.take_over()  # settings of OpenMP and malloc that are ours to choose only in a process of our own
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a class called "café" is printed as "caf\xe9" on a terminal that has no é, instead of ending the command
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run())


if __name__ == "__main__":
    main()
