"""Run the command line: python -m cifarlab."""

from __future__ import annotations

import sys

from cifarlab.cli.main import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
