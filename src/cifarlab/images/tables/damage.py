"""Report files that cannot be read in one way, whichever library noticed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarlab.errors import DataError, cause
from cifarlab.language import tr


@contextmanager
def damage_errors(origin: object, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what a library raises for damaged content into a DataError that names `origin`."""
    try:
        yield
    except kinds as error:
        # The first line of what may be several; some exceptions have no text at all.
        reason = next(iter(cause(error).splitlines()), "") or type(error).__name__
        raise DataError(tr("Cannot read {file}: {cause}.", file=origin, cause=reason.rstrip("."))) from error


def require_file(path: Path) -> None:
    """Raise DataError for anything but a regular file: opening a pipe would wait for a writer."""
    if not path.is_file():
        raise DataError(tr("{path} is not a regular file, or a link that leads nowhere.", path=path))
