"""Run the command line: python -m cifarlab."""

from __future__ import annotations

import io
import sys

from cifarlab.cli.main import run
from cifarlab.machine import process


def main() -> None:
    """Run the command line and exit with its code."""
    process.take_over()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a result is shown in escapes where the terminal lacks its letters
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run())


if __name__ == "__main__":
    main()
