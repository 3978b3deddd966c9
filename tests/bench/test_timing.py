"""What is counted, when the clock is read, and the arithmetic, with a clock that only moves when told to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import torch

from cifarlab.bench.timing import Benchmark, Timing, machine, machine_of, measure, repeated
from cifarlab.machine.runtime import Runtime
from cifarlab.runs.manifest import Manifest


@dataclass
class Stage:
    """A clock, a device whose queue takes time to empty, and a list of everything that happened."""

    now: float = 100.0
    queued: float = 0.0
    events: list[str] = field(default_factory=list)

    def clock(self) -> float:
        self.events.append("clock")
        return self.now

    def work(self, seconds: float) -> None:
        """Queue work on the device and return at once."""
        self.events.append("work")
        self.queued += seconds

    def synchronise(self) -> None:
        self.events.append("wait")
        self.now += self.queued
        self.queued = 0.0


class FakeRuntime(Runtime):
    def __init__(self, stage: Stage) -> None:
        super().__init__(torch.device("cpu"), "fp32", True, False, 1)
        object.__setattr__(self, "stage", stage)

    def synchronise(self) -> None:
        self.stage.synchronise()


def test_the_device_is_waited_for_before_each_reading_and_the_warm_up_does_not_count() -> None:
    stage = Stage()
    seconds = iter([50.0, 3.0, 1.0, 2.0])
    found = measure(
        lambda: stage.work(next(seconds)), rounds=3, warmup=1, runtime=FakeRuntime(stage), clock=stage.clock
    )
    assert found == Timing((3.0, 1.0, 2.0), "s", warmup=1)
    assert stage.events == ["work", *["wait", "clock", "work", "wait", "clock"] * 3]


def test_without_a_runtime_nothing_is_waited_for() -> None:
    stage = Stage()

    def action() -> None:
        stage.now += 0.25

    assert measure(action, rounds=2, warmup=0, clock=stage.clock).values == (0.25, 0.25)
    assert stage.events == ["clock"] * 4


def test_the_summary_of_an_odd_and_an_even_number_of_rounds() -> None:
    odd, even = Timing((5.0, 1.0, 2.0), "s"), Timing((4.0, 1.0, 2.0, 3.0), "s")
    assert (odd.n, odd.median, odd.min, odd.max) == (3, 2.0, 1.0, 5.0)
    assert (even.n, even.median, even.min, even.max) == (4, 2.5, 1.0, 4.0)


def test_the_99th_percentile_is_a_value_that_was_measured_and_needs_a_hundred_of_them() -> None:
    values = tuple(float(value) for value in range(200, 0, -1))
    assert Timing(values, "s").p99 == 198.0  # two of 200 are slower
    assert Timing(values[:100], "s").p99 == 199.0
    assert Timing(values[:99], "s").p99 is None


def test_a_rate_turns_slowest_into_lowest() -> None:
    rate = Timing((0.5, 2.0), "s", warmup=3).rate(100, "images/s")
    assert rate == Timing((200.0, 50.0), "images/s", warmup=3)
    assert Timing((0.5,), "s", 1).times(1000, "ms") == Timing((500.0,), "ms", 1)


def test_repeated_makes_one_action_of_many() -> None:
    calls: list[int] = []
    repeated(lambda: calls.append(1), 7)()
    assert len(calls) == 7


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 0), (-1, 0), (1, -1)])
def test_no_rounds_are_refused_before_anything_is_called(rounds: int, warmup: int) -> None:
    with pytest.raises(ValueError, match="at least 1 round"):
        measure(lambda: pytest.fail("called"), rounds=rounds, warmup=warmup)


def test_a_benchmark_as_json_names_unit_warm_up_and_values() -> None:
    found = Benchmark("r", {"steps": 2}, {"training": Timing((3.0, 1.0), "images/s", 4)}, {"device": "cpu"})
    assert json.loads(json.dumps(found.to_dict())) == {
        "subject": "r",
        "settings": {"steps": 2},
        "timings": {
            "training": {
                "n": 2,
                "median": 2.0,
                "min": 1.0,
                "max": 3.0,
                "p99": None,
                "unit": "images/s",
                "warmup": 4,
                "values": [3.0, 1.0],
            }
        },
        "machine": {"device": "cpu"},
    }


def test_the_facts_of_this_machine_and_those_of_a_run_have_the_same_names() -> None:
    facts = machine(Runtime(torch.device("cpu"), "bf16", True, False, 2))
    assert facts["device"] == "cpu" and facts["threads"] == 2 and facts["precision"] == "bf16"
    manifest = {
        "runtime": {"device": "cuda", "device_name": "X", "precision": "fp16"}
        | {
            "memory_format": "channels_last",
            "compile": True,
            "threads": 3,
            "tier": "",
            "kernels": "off",
            "kernels_fingerprint": "",
        },
        "machine": {"system": "Linux", "cores": 4, "memory_bytes": 5},
        "versions": {"python": "3.11.1", "torch": "2.11.0", "numpy": "2"},
        "cifarlab": "0.0.1",
    }
    stored = machine_of(Manifest.model_validate(manifest))
    assert set(stored) == set(facts)
    assert stored["device_name"] == "X" and stored["torch"] == "2.11.0" and stored["cores"] == 4
