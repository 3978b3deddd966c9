"""Whether kernels are used, and what is said where they are not."""

from __future__ import annotations

import pytest

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.kernels import build
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.recipe.schema import RuntimeSpec


def no_kernels(**_: object) -> None:
    raise NoKernelsError("No compiler.\nInstall one.")


def test_n30_kernels_that_failed_this_time_are_not_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise MachineError("Out of memory.")

    monkeypatch.setattr(build, "load", fail)
    with pytest.raises(MachineError, match="Out of memory"):
        choose_runtime(RuntimeSpec(device="cpu", precision="fp32"))


def test_kernels_that_cannot_be_had_are_done_without_and_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "load", no_kernels)
    assert choose_runtime(RuntimeSpec(device="cpu", precision="fp32")).describe()["kernels"] == "No compiler."
    with pytest.raises(MachineError, match="Install one"):
        choose_runtime(RuntimeSpec(device="cpu", precision="fp32", kernels="on"))


def test_kernels_are_used_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(build, "load", lambda *, compiles, check: asked.append(compiles))
    monkeypatch.setattr(build, "fingerprint", lambda: "f")
    spec = RuntimeSpec(device="cpu", precision="fp32")
    assert choose_runtime(spec).kernels == choose_runtime(spec, compiles=False).kernels == "on"
    assert choose_runtime(spec.model_copy(update={"kernels": "off"})).kernels == "off"
    assert choose_runtime(spec.model_copy(update={"compile": "on"})).kernels == "off"
    assert asked == [True, False]
