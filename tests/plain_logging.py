from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unconfigured() -> Iterator[None]:
    """Logging as in a program that has not configured it: pytest has, and so have commands that ran before.

    For the body of a test: pytest installs its handlers after the fixtures.
    """
    loggers = (logging.getLogger("cifarlab"), logging.NOTSET), (logging.getLogger(), logging.WARNING)
    before = [(logger.handlers, logger.level, logger.propagate) for logger, _ in loggers]
    for logger, level in loggers:
        logger.handlers, logger.propagate = [], True
        logger.setLevel(level)
    try:
        yield
    finally:
        for (logger, _), (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
