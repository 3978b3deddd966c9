"""A terminal of any width in which a test runs a command, to see what a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pyte

ROWS = 200
"""More than any test prints, so that nothing scrolls away."""


def screen_after(arguments: Sequence[str], columns: int, folder: Path, exit_code: int = 0) -> list[str]:
    """The lines on the screen when `cifarlab ARGUMENTS`, started in `folder`, has ended, as it must, with this code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "cifarlab", *arguments],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    while content := _read(ours):
        stream.feed(content)
    os.close(ours)
    text = "\n".join(line.rstrip() for line in screen.display).rstrip()
    assert process.wait() == exit_code, text
    return text.split("\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""
