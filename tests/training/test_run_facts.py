"""What makes a machine another one for a run that is to be continued."""

from __future__ import annotations

import pytest

from cifarlab.language import speak, tr
from cifarlab.runs.manifest import Manifest, Resumption, RuntimeFacts
from cifarlab.training.run_facts import machine_differences

SAME = {
    "device": "cpu",
    "device_name": "Abacus",
    "tier": "avx2",
    "kernels": "on",
    "kernels_fingerprint": "0a",
    "threads": 2,
}


def differences(then: dict[str, object], here: dict[str, object], torch: str = "2.11.0") -> list[str]:
    before = Manifest.model_validate({"runtime": {**SAME, **then}, "versions": {"torch": "2.11.0"}})
    return machine_differences(before, RuntimeFacts.model_validate({**SAME, **here}), torch)


def test_the_same_machine_has_no_differences() -> None:
    assert differences({}, {}) == []


@pytest.mark.parametrize(
    ("then", "here", "line"),
    [
        ({}, {"device_name": "Slide rule"}, "device: recorded Abacus, found Slide rule"),
        ({}, {"tier": "avx512"}, "CPU tier: recorded avx2, found avx512"),
        ({}, {"kernels": "No compiler.", "kernels_fingerprint": ""}, "kernels: recorded on, found No compiler."),
        ({"kernels": "off", "kernels_fingerprint": ""}, {}, "kernels: recorded off, found on"),
        ({}, {"kernels_fingerprint": "0b"}, "compiled kernels: recorded 0a, found 0b"),
    ],
)
def test_each_difference_is_one_line_with_both_values(
    then: dict[str, object], here: dict[str, object], line: str
) -> None:
    assert differences(then, here) == [line]


def test_people_are_told_in_their_language() -> None:
    speak("zh")
    before = Manifest.model_validate({"runtime": SAME, "versions": {"torch": "2.11.0"}})
    here = RuntimeFacts.model_validate({**SAME, "tier": "neon"})
    found = ["CPU 级别：记录的是 avx2，这里是 neon", "torch：记录的是 2.11.0，这里是 2.12.0"]
    assert machine_differences(before, here, "2.12.0", tr) == found
    assert machine_differences(before, here, "2.11.0") == ["CPU tier: recorded avx2, found neon"]


def test_another_torch_is_a_difference() -> None:
    assert differences({}, {}, torch="2.12.0") == ["torch: recorded 2.11.0, found 2.12.0"]


@pytest.mark.parametrize(
    ("then", "here"),
    [
        ({"tier": ""}, {}),  # written before there were tiers
        ({"kernels": "", "kernels_fingerprint": ""}, {}),
        ({"kernels": "off", "kernels_fingerprint": ""}, {"kernels": "No compiler.", "kernels_fingerprint": ""}),
        ({"threads": 64}, {"threads": 64}),  # more threads than cores give the same bits, only slowly
    ],
)
def test_what_was_not_recorded_and_what_keeps_the_bits_is_no_difference(
    then: dict[str, object], here: dict[str, object]
) -> None:
    assert differences(then, here) == []


def test_a_run_is_compared_with_where_it_was_trained_last() -> None:
    moved = Resumption.model_validate({"runtime": {**SAME, "tier": "neon"}, "versions": {"torch": "2.12.0"}})
    run = Manifest.model_validate({"runtime": SAME, "versions": {"torch": "2.11.0"}, "resumed": [moved]})
    assert machine_differences(run.latest, moved.runtime, "2.12.0") == []
