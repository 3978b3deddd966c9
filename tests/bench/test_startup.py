from __future__ import annotations

from collections.abc import Sequence

import pytest

from cifarlab.bench import startup as module
from cifarlab.bench.startup import COMMANDS, run_python, startup
from cifarlab.errors import MachineError, UsageError


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(MachineError, match=r"ended with 1: .*no such luck"):
        run_python(["-c", "raise SystemExit('no such luck')"])


def test_a_process_finds_this_very_package() -> None:
    run_python(
        [
            "-c",
            f"import cifarlab, sys; sys.exit(cifarlab.__file__ != {str(module.PACKAGE)!r} + '/cifarlab/__init__.py')",
        ]
    )


def test_every_command_runs_in_each_round_and_only_the_last_gets_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def record(words: Sequence[str]) -> None:
        calls.append(tuple(words))

    monkeypatch.setattr(module, "run_python", record)
    found = startup("simple-cnn", rounds=2, warmup=1)
    assert list(found.timings) == list(COMMANDS) and all(each.n == 2 for each in found.timings.values())
    assert [words[: len(known)] for words, known in zip(calls[::3], COMMANDS.values(), strict=True)] == list(
        COMMANDS.values()
    )
    assert [len(words) - len(known) for words, known in zip(calls[::3], COMMANDS.values(), strict=True)] == [0] * 4 + [
        2
    ]
    assert found.settings["size_bytes"] > 100_000


def test_an_unknown_model_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_python", lambda words: pytest.fail("started"))
    with pytest.raises(UsageError, match=r"Did you mean .*speednet"):
        startup("spednet")
