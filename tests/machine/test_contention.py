"""When a training is told that other programs hold its cores; all readings here are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cifarlab.machine import contention
from cifarlab.machine.contention import (
    WINDOW_SECONDS,
    Contention,
    Usage,
    Watch,
    fewer_threads,
    read,
    seconds_computed,
    seconds_waited,
    warning,
)

STAT = """\
cpu  700 0 300 9000 0 0 0 0 0 0
cpu0 100 20 3 9999 9999 4 5 9999 0 0
cpu1 200 0 0 0 0 0 0 0 0 0
cpu10 50000 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


def test_waiting_is_the_second_number_of_each_thread() -> None:
    assert seconds_waited(["5 1500000000 7", "", "9 250000000 1"]) == 1.75


def test_computing_is_counted_on_the_cores_that_the_process_may_use() -> None:
    assert seconds_computed(STAT, {0}, 100) == 1.32
    assert seconds_computed(STAT, {0, 1, 7}, 100) == 3.32


def test_others_use_what_the_process_itself_does_not() -> None:
    before, after = Usage(waited=1, own=10, all=100), Usage(waited=9, own=18, all=120)
    assert contention.contention(before, after, seconds=10, threads=2) == Contention(waited=0.4, others=1.2)


def test_clocks_that_disagree_a_little_leave_nothing_below_zero() -> None:
    before, after = Usage(waited=1, own=10, all=100), Usage(waited=0.9, own=20.01, all=110)
    assert contention.contention(before, after, seconds=5, threads=2) == Contention(waited=0, others=0)


@pytest.mark.parametrize(
    ("others", "cores", "threads"),
    [(0.0, 2, 2), (0.6, 2, 1), (1.1, 2, 1), (2.0, 2, 1), (0.6, 16, 15), (1.1, 16, 15), (5.8, 16, 10), (16.0, 16, 1)],
)
def test_fewer_threads_leave_whole_cores_to_the_others(others: float, cores: int, threads: int) -> None:
    assert fewer_threads(others, cores) == threads


def test_the_warning_names_a_number_of_threads_only_if_it_is_lower() -> None:
    found = Contention(waited=0.45, others=1.1)
    assert "1.1 of the 16 cores (load average 3.3)" in warning(found, 16, 16, 3.3)
    assert "45% of the time" in warning(found, 16, 16, 3.3)
    assert "--threads 15." in warning(found, 16, 16, 3.3) and "keeps its 16" in warning(found, 16, 16, 3.3)
    assert "--threads" not in warning(found, 1, 2, 3.3)


class Machine:
    """Readings that go on as if the time since the last one had been shared out like this."""

    def __init__(self) -> None:
        self.now, self.usage, self.num_read = 100.0, Usage(0, 0, 0), 0

    def read(self) -> Usage:
        self.num_read += 1
        return self.usage

    def pass_time(self, seconds: float, *, waited: float, others: float, threads: int = 2) -> float:
        """`waited`: share of the threads' time; `others`: cores. Returns the time."""
        waited_seconds, own = seconds * threads * waited, seconds * threads * (1 - waited)
        before = self.usage
        self.usage = Usage(before.waited + waited_seconds, before.own + own, before.all + own + seconds * others)
        self.now += seconds
        return self.now


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(contention, "read", made.read)
    monkeypatch.setattr(contention, "num_cores", lambda: 2)
    return made


def test_a_training_that_waits_for_others_says_so_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(2, machine.now)
    for _ in range(4):
        watch.look(machine.pass_time(WINDOW_SECONDS, waited=0.4, others=1.0))
    [record] = caplog.records
    assert record.levelname == "WARNING" and "wait for a core 40% of the time" in record.message


@pytest.mark.parametrize(
    ("waited", "others"),
    [
        (0.0, 0.0),
        (0.4, 0.1),  # more threads than cores: we wait for ourselves
        (0.1, 1.0),  # others compute beside us, on cores that we leave free
    ],
)
def test_a_training_that_does_not_wait_for_others_says_nothing(
    machine: Machine, caplog: pytest.LogCaptureFixture, waited: float, others: float
) -> None:
    watch = Watch(2, machine.now)
    for _ in range(4):
        watch.look(machine.pass_time(WINDOW_SECONDS, waited=waited, others=others))
    assert not caplog.records


def test_a_burst_is_averaged_over_a_window_and_forgotten_after_it(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(2, machine.now)
    for _ in range(5):
        watch.look(machine.pass_time(0.1 * WINDOW_SECONDS, waited=0.9, others=2.0))
        watch.look(machine.pass_time(0.9 * WINDOW_SECONDS, waited=0.0, others=0.0))
    assert not caplog.records


def test_between_windows_nothing_is_read(machine: Machine) -> None:
    watch = Watch(2, machine.now)
    for _ in range(80):
        watch.look(machine.pass_time(WINDOW_SECONDS / 16, waited=0.0, others=0.0))
    assert machine.num_read == 1 + 5


def test_where_nothing_can_be_read_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(contention, "read", lambda: None)
    watch = Watch(2, 0.0)
    watch.look(100.0)
    assert not caplog.records


def test_a_system_without_proc_has_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([self / "1"]))
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: (_ for _ in ()).throw(FileNotFoundError(self)))
    assert read() is None


@pytest.mark.parametrize("schedstat", ["", "5000000000 1500000000 7\n"])
def test_a_thread_that_ends_while_it_is_read_is_left_out(monkeypatch: pytest.MonkeyPatch, schedstat: str) -> None:
    """All of them are empty only where the kernel does not count."""
    files = {Path("/proc/self/task/2/schedstat"): schedstat, Path("/proc/stat"): STAT}

    def text(self: Path, encoding: str) -> str:
        if self not in files:
            raise ProcessLookupError(self)
        return files[self]

    monkeypatch.setattr(Path, "iterdir", lambda self: iter([self / "1", self / "2"]))
    monkeypatch.setattr(Path, "read_text", text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    monkeypatch.setattr(contention.time, "process_time", lambda: 4.0)
    assert read() == (Usage(waited=1.5, own=4.0, all=1.32) if schedstat else None)
