"""Whether other programs hold the cores that a training computes on, from what Linux counts in /proc.

Threads that share the work of a layer wait for each other at its end, so one busy core delays all of them: such a
training can be several times slower than one with fewer threads. docs/speed.md has figures.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cifarlab.console import log
from cifarlab.language import tr
from cifarlab.machine.process import num_cores

WINDOW_SECONDS = 5.0
"""The time over which waiting is measured, so that a short burst of another program is no reason for a warning."""

MOST_WAITED, LEAST_OTHERS = 0.2, 0.25
"""A warning needs both: more waiting than this share of the time, and other programs on at least this many cores.

Waiting alone may be of our own making, with more threads than cores.
"""


@dataclass(frozen=True)
class Usage:
    """Seconds of cores since some moment in the past: only the difference between two readings means anything."""

    waited: float
    """That this process's threads were ready to compute and waited for a core."""
    own: float
    """That this process computed."""
    all: float
    """That any program computed on the cores which this process may use."""


@dataclass(frozen=True)
class Contention:
    """What happened to a process between two readings."""

    waited: float
    """The share of its threads' time for which they waited for a core."""
    others: float
    """How many cores other programs used."""


class Watch:
    """Warns, once, when a training with this many threads waits for cores that other programs hold."""

    def __init__(self, threads: int, now: float) -> None:
        self._threads = threads
        self._begun = now
        self._before = read()  # None where nothing can be read, and once the warning was given

    def look(self, now: float) -> None:
        """Measure what happened since the last time, if that is long enough ago; now: seconds of time.monotonic."""
        seconds = now - self._begun
        if self._before is None or seconds < WINDOW_SECONDS:
            return
        before, after = self._before, read()
        self._begun, self._before = now, after
        found = contention(before, after, seconds, self._threads) if after else None
        if found and found.waited > MOST_WAITED and found.others >= LEAST_OTHERS:
            log.warning(warning(found, self._threads, num_cores(), os.getloadavg()[0]))
            self._before = None  # said once


def contention(before: Usage, after: Usage, seconds: float, threads: int) -> Contention:
    """What happened in the `seconds` between two readings of a process with this many threads."""
    # Threads that have ended are no longer counted and the clocks tick differently: a little below 0 is 0.
    waited = max(0.0, after.waited - before.waited)
    others = max(0.0, (after.all - before.all) - (after.own - before.own))
    return Contention(waited / (seconds * threads), others / seconds)


def fewer_threads(others: float, cores: int) -> int:
    """How many threads find a core of their own beside programs that use this many cores; at least one."""
    # Rounded up, because a program that shares a core with us would use more of it; but not for a trifle.
    return max(1, cores - math.ceil(others - LEAST_OTHERS))


def warning(found: Contention, threads: int, cores: int, load: float) -> str:
    """Say what a training waits for and what would be faster; load: the system's load average."""
    text = tr(
        "Other programs use {others:.1f} of the {cores} cores (load average {load:.1f}): "
        "the threads of this training wait for a core {waited:.0%} of the time.",
        others=found.others,
        cores=cores,
        load=load,
        waited=found.waited,
    )
    if (better := fewer_threads(found.others, cores)) >= threads:
        return text
    advice = tr(
        "While they run, a new training is probably faster with --threads {better}. This one keeps its {threads}, "
        "also when it is resumed: another number of threads rounds differently.",
        better=better,
        threads=threads,
    )
    return f"{text}\n{advice}"


def read() -> Usage | None:
    """Read what has been counted so far; None where the system does not count it."""
    try:
        schedstats = [read_or_empty(task / "schedstat") for task in Path("/proc/self/task").iterdir()]
        stat = Path("/proc/stat").read_text("ascii")
    except OSError:
        return None
    if not any(schedstats):  # a kernel that was built without them
        return None
    computed = seconds_computed(stat, os.sched_getaffinity(0), os.sysconf("SC_CLK_TCK"))
    return Usage(seconds_waited(schedstats), time.process_time(), computed)


def read_or_empty(file: Path) -> str:
    """The text of a file, empty if it has gone: a thread may end while the threads are listed."""
    try:
        return file.read_text("ascii")
    except OSError:
        return ""


def seconds_waited(schedstats: Iterable[str]) -> float:
    """The sum over threads, from their `schedstat`: nanoseconds computed, nanoseconds waited, and a count."""
    return sum(int(text.split()[1]) for text in schedstats if text) / 1e9


def seconds_computed(stat: str, cores: Iterable[int], ticks_per_second: int) -> float:
    """The sum over these cores, from /proc/stat: user, nice, system, idle, iowait, irq, softirq, ... in ticks."""
    wanted = {f"cpu{core}" for core in cores}
    rows = [line.split() for line in stat.splitlines()]
    # without idle, iowait, and steal, which is what a hypervisor gave to another machine
    return sum(int(row[field]) for row in rows if row[0] in wanted for field in (1, 2, 3, 6, 7)) / ticks_per_second
