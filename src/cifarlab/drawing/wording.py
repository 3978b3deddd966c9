"""Numbers and names as a reader wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from cifarlab.console import printable
from cifarlab.language import tr

if TYPE_CHECKING:
    from cifarlab.evaluation.statistics import Interval

NAME_LIMIT = 18
"""Letters of a name that fit beside an axis; those of East Asian scripts count twice."""


def percent(share: float, digits: int = 1) -> str:
    """Write a fraction in 0..1 as "85.2 %"."""
    return f"{100 * share:.{digits}f} %"


def with_interval(share: float, interval: Interval, digits: int = 1) -> str:
    """Write an accuracy with its interval: "85.2 % (95 % interval 84.5 to 85.9)"."""
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return tr("{accuracy} (95 % interval {low} to {high})", accuracy=percent(share, digits), low=low, high=high)


def with_ends(share: float, interval: Interval | Sequence[float] | None, digits: int = 1) -> str:
    """Write the same in short, where a heading explains the brackets: "85.2 % (84.5 to 85.9)"."""
    if interval is None:
        return percent(share, digits)
    low, high = (f"{100 * end:.{digits}f}" for end in interval)
    return tr("{accuracy} ({low} to {high})", accuracy=percent(share, digits), low=low, high=high)


def duration(seconds: float) -> str:
    """Write seconds as "42.0 s", "3 min 20 s" or "2 h 5 min"."""
    # Rounded first, or 59.96 s would become "60.0 s" and 119.7 s "1 min 60 s".
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return tr("{hours} h {minutes} min", hours=hours, minutes=minutes_left)
    if minutes:
        return tr("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return tr("{n:.1f} s", n=seconds)


def roughly(seconds: float) -> str:
    """Write an estimate no finer than it can be: "40 s", "12 min", "3.5 h"."""
    if seconds < 115:
        return tr("{n:.0f} s", n=max(10, round(seconds, -1)))
    if seconds < 2 * 3600:
        return tr("{n:.0f} min", n=seconds / 60)
    return tr("{n:.1f} h", n=seconds / 3600) if seconds < 36_000 else tr("{n:.0f} h", n=seconds / 3600)


def moment(time: str) -> str:
    """Write a stored time, 2026-01-31T12:30:00+00:00, without seconds: "2026-01-31 12:30 UTC"."""
    return f"{time[:10]} {time[11:16]} UTC" if time.endswith("+00:00") else time


def short(name: str, limit: int = NAME_LIMIT) -> str:
    """A name from the data, printable and cut with an ellipsis to the room beside an axis."""
    text = printable(name)
    if cell_len(text) <= limit:
        return text
    text = text[:limit]
    while cell_len(text) >= limit:
        text = text[:-1]
    return f"{text}…"
