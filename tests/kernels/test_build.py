"""Compiling, keeping and loading the kernels, and the reasons why that can fail."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import torch

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.kernels import build

HAS_COMPILER = any(map(shutil.which, build.COMPILERS))


@pytest.fixture(autouse=True)
def _nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_library", None)


def only_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a g++ of our own in the place of all programs."""
    folder.mkdir()
    program = folder / "g++"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_kernels_are_compiled_once_and_called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not build.has("sums_float")
    assert build.fingerprint() == ""
    build.load(compiles=True)
    assert build.has("sums_float")
    assert not build.has("sums_of_nothing")
    assert len(build.fingerprint()) == 16
    assert [file.name for file in build.cached_path().parent.iterdir()] == [build.cached_path().name]
    total = torch.zeros(2, 16, dtype=torch.float64)
    build.call("sums_float", torch.full((3, 16), 2.0), 3, 1, 16, total)
    assert total.tolist() == [[6.0] * 16, [12.0] * 16]
    monkeypatch.setattr(build, "_library", None)
    monkeypatch.setattr(build, "compile_library", lambda file: pytest.fail("compiled twice"))
    build.load(compiles=True)
    assert build.has("sums_float")


def test_predictions_do_not_compile() -> None:
    with pytest.raises(MachineError, match="not compiled yet, which a training does"):
        build.load(compiles=False)
    assert not build.has("sums_float")


def test_without_a_compiler_the_names_of_compilers_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoKernelsError, match=r"no C\+\+ compiler found \(g\+\+ or c\+\+\)"):
        build.load(compiles=True)


def test_what_a_compiler_complains_of_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_compiler(tmp_path / "bin", monkeypatch, "printf '\\264\\355 error: no -march=native here' >&2; exit 1")  # GBK
    with pytest.raises(NoKernelsError, match="no -march=native here"):
        build.load(compiles=True)
    assert list(build.cached_path().parent.iterdir()) == []


def test_a_compiler_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_compiler(tmp_path / "bin", monkeypatch, "exec /bin/sleep 60")
    monkeypatch.setattr(build, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(MachineError, match=r"took longer than 0.2 seconds") as caught:
        build.load(compiles=True)
    assert not isinstance(caught.value, NoKernelsError)


@pytest.mark.parametrize(
    "script",
    [
        "kill -9 $$",
        "echo 'g++: fatal error: Killed signal terminated program cc1plus' >&2; exit 1",
        "echo 'cc1plus: out of memory allocating 65536 bytes' >&2; exit 1",
        "echo 'as: fatal error: error writing to a.s: No space left on device' >&2; exit 1",
    ],
)
def test_n30_a_shortage_is_not_taken_for_a_machine_without_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    only_compiler(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(MachineError, match="could not be compiled this time") as caught:
        build.load(compiles=True)
    assert not isinstance(caught.value, NoKernelsError)
    assert len(str(caught.value).splitlines()) == 2


def test_n30_a_full_disk_is_not_taken_for_a_machine_without_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    only_compiler(tmp_path / "bin", monkeypatch, "exit 0")
    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", full)
    with pytest.raises(MachineError, match="could not be compiled this time") as caught:
        build.load(compiles=True)
    assert not isinstance(caught.value, NoKernelsError)


def test_a_damaged_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    build.cached_path().parent.mkdir(parents=True)
    build.cached_path().write_bytes(b"not a library")
    with pytest.raises(MachineError, match=build.cached_path().name):
        build.load(compiles=True)


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_compiler(tmp_path / "bin", monkeypatch, "exit 0")
    (tmp_path / "cifarlab").write_text("a file", "utf-8")
    with pytest.raises(MachineError, match="cifarlab"):
        build.load(compiles=True)


def test_other_sources_and_other_cpus_have_other_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "one.cpp"
    source.write_text("int one() { return 1; }", "utf-8")
    places = [build.cached_path()]
    monkeypatch.setattr(build, "_cpu", lambda: "another CPU")
    places.append(build.cached_path())
    monkeypatch.setattr(build, "SOURCES", (source,))
    places.append(build.cached_path())
    assert len(set(places)) == 3
    assert build.cached_path() == places[-1]
