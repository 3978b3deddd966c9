"""The tier of a CPU, and a lower one that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch  # noqa: F401  the tests of a wish that comes too late need it imported

from cifarlab.errors import MachineError
from cifarlab.machine import tier as tier_module
from cifarlab.machine.tier import VARIABLE, X86, limit_torch, tier


@pytest.fixture(autouse=True)
def _forget_tier() -> Iterator[None]:
    tier.cache_clear()
    yield
    tier.cache_clear()


@pytest.mark.parametrize("own", X86)
def test_a_lower_tier_can_be_asked_for_and_a_higher_one_cannot(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_module, "_own", lambda: own)
    for place, wanted in enumerate(X86):
        tier.cache_clear()
        monkeypatch.setenv(VARIABLE, wanted)
        for variable, limit in tier_module._wanted_limits():
            monkeypatch.setenv(variable, limit)
        if place <= X86.index(own):
            assert tier() == wanted
        else:
            with pytest.raises(MachineError, match=f"{wanted} is not possible on this CPU. It has: none"):
                tier()


def test_without_a_wish_it_is_the_cpus_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(tier_module, "_own", lambda: "neon")
    assert tier() == "neon"


def test_a_word_that_is_no_tier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_module, "_own", lambda: "neon")
    monkeypatch.setenv(VARIABLE, "avx3")
    with pytest.raises(MachineError, match="It has: none, neon"):
        tier()


def test_torch_is_limited_before_it_is_imported() -> None:
    names = ("ONEDNN_MAX_CPU_ISA", "TORCHINDUCTOR_CACHE_DIR")
    code = f"import os, sys, cifarlab; print('torch' in sys.modules, *map(os.environ.get, {names}))"
    clean = {name: value for name, value in os.environ.items() if name not in (*tier_module._LIMITED, *names)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, VARIABLE: "avx2"}, check=True, capture_output=True, text=True
    )
    imported, limit, cache = done.stdout.split()
    assert (imported, limit) == ("False", "AVX2") and cache.endswith("_avx2")


def test_a_wish_that_comes_too_late_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_module, "_own", lambda: "avx512")
    for variable in tier_module._LIMITED:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(VARIABLE, "avx2")
    assert "torch" in sys.modules
    limit_torch()
    assert "ONEDNN_MAX_CPU_ISA" not in os.environ
    with pytest.raises(MachineError, match=r"torch was imported before cifarlab\.\nSet it before Python starts"):
        tier()


def test_other_limits_are_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier_module, "_own", lambda: "avx512")
    monkeypatch.setenv(VARIABLE, "avx2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    limit_torch()  # does nothing here, since torch is imported
    with pytest.raises(MachineError, match="ONEDNN_MAX_CPU_ISA is already SSE41"):
        tier()
