"""SIGINT, SIGTERM and Windows' SIGBREAK as a request to stop after the current step, when nothing is half-done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """Remembers the first signal; the second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        # whoever presses Ctrl-C twice does not want to wait for the step and the checkpoint
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


@contextmanager
def listen() -> Iterator[Signals]:
    """Listen within the block and restore the old handlers after it; outside the main thread no signal arrives."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield signals
        return
    # SIGBREAK is Ctrl-Break, and what a program on Windows can send to one that it has started
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = [signal.signal(number, signals.handle) for number in numbers]
    try:
        yield signals
    finally:
        # the process belongs to its caller: a notebook keeps its own Ctrl-C
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
