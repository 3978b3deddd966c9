"""Compiling, checking, keeping and loading the kernels, and the reasons why that can fail."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.kernels import build, compiler

needs_compiler = pytest.mark.skipif(not any(map(shutil.which, compiler.COMPILERS)), reason="no C++ compiler")

SOURCE = """
#define EXPORTED extern "C" __attribute__((visibility("default")))
EXPORTED long lanes() { return 16; }
EXPORTED void use_openmp(void*, void*, void*, void*, void*) {}
"""


def unchecked() -> None:
    """A check that passes."""


@pytest.fixture(autouse=True)
def _nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build, "_library", None)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One short source, which is compiled in a moment, in the place of the kernels."""
    source = tmp_path / "small.cpp"
    source.write_text(SOURCE, "utf-8")
    monkeypatch.setattr(build, "SOURCES", (source,))


def only_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, *, name: str = "g++") -> None:
    """Put a compiler of our own, which knows its version, in the place of all programs."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1.0 && exit 0\n{script}\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def load_anew(*, compiles: bool = True, check: Callable[[], None] = unchecked) -> None:
    """Load as another process would."""
    build._library = None
    build.load(compiles=compiles, check=check)


def kept() -> list[Path]:
    return sorted(build.cache_folder().iterdir())


def never(*_: object) -> None:
    pytest.fail("compiled again")


@needs_compiler
def test_kernels_are_compiled_once_and_called_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not build.has("sums_float")
    assert build.fingerprint() == ""
    build.load(compiles=True, check=unchecked)
    assert build.has("sums_float")
    assert not build.has("sums_of_nothing")
    total = torch.zeros(2, 16, dtype=torch.float64)
    build.call("sums_float", torch.full((3, 16), 2.0), 3, 1, 16, total)
    assert total.tolist() == [[6.0] * 16, [12.0] * 16]
    (file,) = kept()
    assert file.stem.endswith(f"-{build.fingerprint()}")
    monkeypatch.setattr(build, "compile_library", never)
    load_anew(check=never)
    assert build.has("sums_float")


def test_predictions_do_not_compile() -> None:
    with pytest.raises(NoKernelsError, match="not compiled yet, which a training does"):
        build.load(compiles=False, check=never)
    assert not build.is_loaded()


@needs_compiler
@pytest.mark.usefixtures("small")
def test_predictions_start_no_program_and_check_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    load_anew()
    monkeypatch.setattr(compiler.subprocess, "run", never)
    load_anew(compiles=False, check=never)
    assert build.is_loaded()


@needs_compiler
@pytest.mark.usefixtures("small")
def test_without_a_compiler_a_library_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_anew()
    monkeypatch.setenv("PATH", str(tmp_path))
    load_anew(check=never)
    assert build.is_loaded()


def test_without_a_compiler_the_names_of_compilers_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoKernelsError, match=r"no C\+\+ compiler found \(CXX, g\+\+, c\+\+, clang\+\+\)"):
        build.load(compiles=True, check=never)


def test_without_wide_registers_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "tier", lambda: "none")
    with pytest.raises(NoKernelsError, match=r"AVX2 or NEON.*CIFARLAB_TIER"):
        build.load(compiles=True, check=never)


@needs_compiler
@pytest.mark.usefixtures("small")
def test_another_version_of_the_compiler_compiles_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = os.environ["PATH"], next(filter(None, map(shutil.which, compiler.COMPILERS)))
    for version in ("1", "2"):
        only_compiler(tmp_path / "bin", monkeypatch, f'PATH="{path}" exec {real} "$@"')
        program = tmp_path / "bin" / "g++"
        program.write_text(program.read_text("utf-8").replace("echo 1.0", f"echo {version}"), "utf-8")
        load_anew()
    assert len(kept()) == 2
    monkeypatch.setattr(build, "compile_library", never)
    load_anew()
    load_anew(compiles=False)


@needs_compiler
@pytest.mark.usefixtures("small")
def test_kernels_that_compute_wrong_values_are_not_kept() -> None:
    def wrong() -> None:
        assert build.is_loaded()
        raise NoKernelsError("wrong values")

    with pytest.raises(NoKernelsError, match="wrong values"):
        load_anew(check=wrong)
    assert not build.is_loaded()
    assert kept() == []


@needs_compiler
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damaged", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"no library"])
def test_a_damaged_library_is_compiled_again_by_a_training(damaged, caplog) -> None:
    load_anew()
    (file,) = kept()
    whole = file.read_bytes()
    file.unlink()  # another file, since this one is still mapped
    file.write_bytes(damaged(whole))
    file.chmod(0o700)
    with pytest.raises(NoKernelsError, match=f"{file.name} cannot be loaded .*a training compiles it again"):
        load_anew(compiles=False)
    caplog.set_level("INFO", logger="cifarlab")
    load_anew()
    assert [record.message for record in caplog.records] == [
        f"The CPU kernels cannot be loaded (the file is damaged) and are compiled again: {file}."
    ]
    assert build.is_loaded()
    assert file.read_bytes() == whole


@needs_compiler
@pytest.mark.usefixtures("small")
def test_a_whole_file_that_is_for_another_machine_is_compiled_again() -> None:
    load_anew()
    (file,) = kept()
    other = file.read_bytes().replace(b"\x7fELF", b"\x7fFLE", 1)
    file.unlink()
    strange = file.with_name(f"{file.stem.rpartition('-')[0]}-{build._hash(other)}.so")
    strange.write_bytes(other)
    strange.chmod(0o700)
    load_anew()
    assert kept() == [file]


@needs_compiler
@pytest.mark.usefixtures("small")
def test_two_processes_may_compile_at_the_same_time(tmp_path: Path) -> None:
    # The sources of another process are the kernels' own; here both get the small one.
    code = (
        "from pathlib import Path\n"
        "from cifarlab.kernels import build\n"
        f"build.SOURCES = (Path({str(tmp_path / 'small.cpp')!r}),)\n"
        "build.load(compiles=True, check=lambda: None)\n"
        "print(build.fingerprint())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ.copy())
        for _ in range(2)
    ]
    fingerprints = {process.communicate(timeout=300)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    load_anew(compiles=False)
    assert build.fingerprint() in fingerprints
    assert all(file.stem.rpartition("-")[2] in fingerprints for file in kept())


@needs_compiler
@pytest.mark.usefixtures("small")
def test_only_the_user_can_enter_the_folder_and_change_the_library() -> None:
    umask = os.umask(0o002)
    try:
        load_anew()
    finally:
        os.umask(umask)
    (file,) = kept()
    assert build.cache_folder().stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o077 == 0


@needs_compiler
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mode", [0o720, 0o702])
@pytest.mark.parametrize("which", ["folder", "file"])
def test_what_others_may_write_is_refused(which: str, mode: int) -> None:
    load_anew()
    (file,) = kept()
    path = file if which == "file" else file.parent
    path.chmod(mode)
    for compiles in (True, False):
        with pytest.raises(NoKernelsError, match=f"{path} may be written by other users .mode {mode:o}") as caught:
            load_anew(compiles=compiles, check=never)
        assert "Remove it, or set XDG_CACHE_HOME" in str(caught.value)
    assert not build.is_loaded()


@needs_compiler
@pytest.mark.usefixtures("small")
def test_what_belongs_to_someone_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    load_anew()
    me = os.getuid()
    monkeypatch.setattr(build.os, "getuid", lambda: me + 1)
    with pytest.raises(NoKernelsError, match=f"belongs to user {me}"):
        load_anew()


@needs_compiler
def test_a_folder_that_others_may_write_is_not_compiled_into() -> None:
    build.cache_folder().mkdir(parents=True)
    build.cache_folder().chmod(0o777)
    with pytest.raises(NoKernelsError, match="may be written by other users"):
        load_anew()
    assert kept() == []


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_compiler(tmp_path / "bin", monkeypatch, "exit 0")
    (tmp_path / "cifarlab").write_text("a file", "utf-8")
    with pytest.raises(MachineError, match="cifarlab"):
        build.load(compiles=True, check=never)


def test_other_sources_cpus_and_tiers_have_other_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "one.cpp"
    source.write_text("int one() { return 1; }", "utf-8")
    purposes = [build._purpose()]
    for name, value in (("_cpu", lambda: "another CPU"), ("SOURCES", (source,)), ("tier", lambda: "avx2")):
        monkeypatch.setattr(build, name, value)
        purposes.append(build._purpose())
    assert len(set(purposes)) == 4
    assert build._purpose() == purposes[-1]


@pytest.mark.parametrize(
    "line",
    ["flags\t\t: fpu avx2", "model name\t: EPYC", "Features\t: fp asimd", "CPU implementer: 0x41", "CPU part\t: 0xd40"],
)
def test_cpus_differ_by_model_and_instructions(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str) -> str:
        monkeypatch.setattr(Path, "read_text", lambda *_: text)
        return build._cpu()

    assert read(f"processor\t: 0\n{line}\ncpu MHz\t: 1\n") == read(f"processor\t: 1\n{line}\ncpu MHz\t: 2\n")
    assert read(f"{line}\n") != read(f"{line}x\n")


def test_a_full_disk_is_not_taken_for_a_machine_without_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    only_compiler(tmp_path / "bin", monkeypatch, "exit 0")
    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", full)
    with pytest.raises(MachineError, match="could not be compiled this time") as caught:
        build.load(compiles=True, check=never)
    assert not isinstance(caught.value, NoKernelsError)


@pytest.fixture
def wheel(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a wheel's libraries, with one for this CPU, and no compiler any more; returns that."""
    load_anew()
    (file,) = kept()
    folder = tmp_path / "compiled"
    folder.mkdir()
    library = folder / f"{'avx512bf16' if build.tier() == 'amx' else build.tier()}.so"
    shutil.move(file, library)
    monkeypatch.setattr(build, "BUNDLED", folder)
    monkeypatch.setattr(build, "compile_library", never)
    monkeypatch.setattr(compiler, "find", never)
    return library


@needs_compiler
@pytest.mark.parametrize("compiles", [True, False])
def test_a_library_of_the_wheel_needs_no_compiler_and_is_checked_once(wheel: Path, compiles: bool) -> None:
    checks: list[str] = []
    for _ in range(2):
        load_anew(compiles=compiles, check=lambda: checks.append(build.fingerprint()))
        assert build.is_loaded()
    assert checks == [build._hash(wheel.read_bytes())]
    other = wheel.read_bytes() + b"\0"  # of another release
    wheel.unlink()  # another file, since this one is still mapped
    wheel.write_bytes(other)
    load_anew(compiles=compiles, check=lambda: checks.append(build.fingerprint()))
    assert len(set(checks)) == 2


@needs_compiler
@pytest.mark.usefixtures("wheel")
def test_a_library_of_the_wheel_that_computes_wrong_values_is_not_used() -> None:
    def wrong() -> None:
        raise NoKernelsError("wrong values")

    for _ in range(2):
        with pytest.raises(NoKernelsError, match="wrong values"):
            load_anew(check=wrong)
        assert not build.is_loaded()


@needs_compiler
def test_a_library_of_the_wheel_that_is_damaged_is_named(wheel: Path) -> None:
    wheel.unlink()  # another file, since this one is still mapped
    wheel.write_bytes(b"no library")
    with pytest.raises(NoKernelsError, match=f"{wheel.name} cannot be loaded"):
        load_anew(check=never)


def test_a_wheel_has_one_library_for_both_tiers_that_multiply_bf16(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(build, "BUNDLED", tmp_path)
    assert build.bundled() is None
    for name in ("avx2.dll", "avx512.dll", "avx512bf16.dll"):
        (tmp_path / name).touch()
    found = {}
    for tier in ("avx2", "avx512", "avx512bf16", "amx", "neon"):
        monkeypatch.setattr(build, "tier", lambda tier=tier: tier)
        found[tier] = getattr(build.bundled(), "name", None)
    one = "avx512bf16.dll"
    assert found == {"avx2": "avx2.dll", "avx512": "avx512.dll", "avx512bf16": one, "amx": one, "neon": None}
