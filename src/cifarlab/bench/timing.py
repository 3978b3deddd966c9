"""Measure times correctly: wait for the device before the clock is read, and leave the first rounds out."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cifarlab.console import count, log
from cifarlab.language import tr, translatable
from cifarlab.machine.process import num_cores
from cifarlab.machine.runtime import Runtime, onednn_version
from cifarlab.runs.manifest import Manifest
from cifarlab.version import VERSION

Clock = Callable[[], float]
"""Returns seconds that never go backwards, counted from anywhere."""

FEWEST_FOR_P99 = 100
"""With fewer values the 99th percentile would just be the slowest of them."""

WORDS = {
    "recipe": translatable("recipe"),
    "model": translatable("model"),
    "data": translatable("data"),
    "num_images": translatable("num images"),
    "batch_size": translatable("batch size"),
    "image_size": translatable("image size"),
    "steps": translatable("steps"),
    "size_bytes": translatable("size bytes"),
    "training": translatable("training"),
    "prediction": translatable("prediction"),
    "forward": translatable("forward"),
    "batches": translatable("batches"),
    "inputs": translatable("inputs"),
    "load": translatable("load"),
    "loading": translatable("loading"),
    "single": translatable("single"),
    "predict one image": translatable("predict one image"),
    "startup": translatable("startup"),
    "noise": translatable("noise"),
    "photographs": translatable("photographs"),
    "images/s": translatable("images/s"),
}
"""How people read what benchmarks measure and with which settings; all else is names, such as `import torch`."""


@dataclass(frozen=True)
class Timing:
    """One value per round, in order, and the number of warm-up rounds before them."""

    values: tuple[float, ...]
    unit: str
    warmup: int = 0

    @property
    def n(self) -> int:
        """The number of rounds that count."""
        return len(self.values)

    @property
    def median(self) -> float:
        """The median of the rounds, which one disturbed round does not move."""
        return statistics.median(self.values)

    @property
    def min(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def max(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def p99(self) -> float | None:
        """The 99th percentile by nearest rank; None for fewer than FEWEST_FOR_P99 values."""
        if self.n < FEWEST_FOR_P99:
            return None
        return sorted(self.values)[math.ceil(0.99 * self.n) - 1]  # a measured value, not one between two

    def times(self, factor: float, unit: str) -> Timing:
        """Convert to another unit: seconds.times(1000, "ms")."""
        return Timing(tuple(factor * value for value in self.values), unit, self.warmup)

    def rate(self, amount: float, unit: str) -> Timing:
        """Convert times to rates, for rounds that each did `amount`: seconds.rate(640, "images/s")."""
        return Timing(tuple(amount / value for value in self.values), unit, self.warmup)

    def to_dict(self) -> dict[str, Any]:
        """The summary and the values themselves, ready for JSON."""
        summary = {name: getattr(self, name) for name in ("n", "median", "min", "max", "p99", "unit", "warmup")}
        return {**summary, "values": list(self.values)}


@dataclass(frozen=True)
class Benchmark:
    """What was measured, with which settings, and on which machine."""

    subject: str
    settings: dict[str, Any]
    timings: dict[str, Timing]
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        timings = {name: timing.to_dict() for name, timing in self.timings.items()}
        return {"subject": self.subject, "settings": self.settings, "timings": timings, "machine": self.machine}


def word(name: str) -> str:
    """What was measured, or a setting, as people read it."""
    return tr(WORDS[name]) if name in WORDS else name


def subject_text(subject: str) -> str:
    """What a benchmark is about as people read it: "resnet18 on noise"."""
    model, on, data = subject.partition(" on ")
    return tr("{model} on {data}", model=model, data=word(data)) if on else word(subject)


def announce(subject: str, part: str, rounds: int, warmup: int, each: str = "") -> None:
    """Say what is measured now; each: what a round is, such as "10 steps"."""
    message = tr("{subject}: {part}, {rounds} of {each} after {warmup} to warm up")
    if not each:
        message = tr("{subject}: {part}, {rounds} after {warmup} to warm up")
    rounds_text = count(rounds, "round")
    log.info(message.format(subject=subject, part=word(part), rounds=rounds_text, each=each, warmup=warmup))


def measure(
    action: Callable[[], object],
    *,
    rounds: int,
    warmup: int,
    runtime: Runtime | None = None,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Measure the seconds of each of `rounds` calls, after `warmup` calls that do not count.

    Given a runtime, its device is waited for before each reading of the clock.
    Raises ValueError for fewer than one round or a negative warm-up.
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(f"need at least 1 round and no negative warm-up, not {rounds} and {warmup}")
    for _ in range(warmup):  # compiles kernels, allocates memory, fills caches
        action()
    return Timing(tuple(_seconds(action, runtime, clock) for _ in range(rounds)), "s", warmup)


def repeated(action: Callable[[], object], times: int) -> Callable[[], object]:
    """Make one action of `times` calls, for those that are too short to be timed alone."""

    def actions() -> None:
        for _ in range(times):
            action()

    return actions


def machine(runtime: Runtime) -> dict[str, Any]:
    """Describe what times depend on: device, precision, threads, system and versions."""
    # The package's version comes from its metadata: torch need not be imported for it.
    versions = {"cifarlab": VERSION, "python": platform.python_version(), "torch": version("torch")}
    system = {"system": platform.platform(), "cores": num_cores()}
    return {**runtime.describe(), **system, **versions, "onednn": onednn_version()}


def machine_of(facts: Manifest) -> dict[str, Any]:
    """Read the same facts about the machine that a run was trained on from its manifest."""
    system = {"system": facts.machine.system, "cores": facts.machine.cores}
    versions = {name: facts.versions[name] for name in ("python", "torch")}
    onednn = {"onednn": facts.versions.get("onednn", "")}  # older runs did not record it
    return {**facts.runtime.model_dump(), **system, "cifarlab": facts.cifarlab, **versions, **onednn}


def _seconds(action: Callable[[], object], runtime: Runtime | None, clock: Clock) -> float:
    # A GPU works through a queue: a call returns before its work is done, and the work of the warm-up may still run.
    _wait(runtime)
    start = clock()
    action()
    _wait(runtime)
    return clock() - start


def _wait(runtime: Runtime | None) -> None:
    if runtime is not None:
        runtime.synchronise()
