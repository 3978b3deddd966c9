"""Which compiler is used, and what its failures mean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.kernels import build, compiler
from cifarlab.language import speak


@pytest.fixture(autouse=True)
def _no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build, "_library", None)


def program(path: Path, script: str = "exit 0") -> str:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1.0 && exit 0\n{script}\n', "utf-8")
    path.chmod(0o755)
    return str(path)


def load() -> None:
    build.load(compiles=True, check=lambda: None)


def test_compilers_have_an_order_and_cxx_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler.find() == []
    for name in ("clang++", "c++", "g++"):
        path = program(tmp_path / name)
        assert compiler.find() == [path]
    monkeypatch.setenv("CXX", "clang++ -stdlib='lib c++'")
    assert compiler.find() == [str(tmp_path / "clang++"), "-stdlib=lib c++"]


def test_cxx_may_be_relative_to_the_folder_where_the_command_was_given(tmp_path: Path, monkeypatch) -> None:
    path = program(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXX", "./mine")
    assert compiler.find() == [path]


@pytest.mark.parametrize(("value", "reason"), [("icpx -O1", "names no program"), ("g++ '-O1", "cannot be read")])
def test_cxx_that_is_no_compiler_is_told_and_not_replaced(tmp_path, monkeypatch, value, reason) -> None:
    program(tmp_path / "g++")
    monkeypatch.setenv("CXX", value)
    with pytest.raises(NoKernelsError, match=f"CXX={re.escape(value)} {reason}"):
        load()


def test_versions_differ_by_place_arguments_and_text(tmp_path: Path) -> None:
    first, second = program(tmp_path / "g++"), program(tmp_path / "c++")
    texts = [compiler.version(command) for command in ([first], [second], [first, "-m64"])]
    (tmp_path / "g++").write_text("#!/bin/sh\necho 2.0\n", "utf-8")
    assert len({*texts, compiler.version([first])}) == 4


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        ("error: bad value (x86-64-v3) for -march= switch", "too old for this CPU: it takes GCC 11, clang 12"),
        ("error: unknown target CPU x86-64-v4", "too old for this CPU"),
    ],
)
def test_what_a_compiler_complains_of_is_explained_and_passed_on(tmp_path: Path, said: str, explained: str) -> None:
    program(tmp_path / "g++", f"echo '{said}' >&2; exit 1")
    with pytest.raises(NoKernelsError) as caught:
        load()
    first, *rest = str(caught.value).splitlines()
    assert "g++ failed" in first
    assert rest == [said]
    assert explained in first
    assert list(build.cache_folder().iterdir()) == []


def test_people_are_told_in_their_language_and_the_manifest_in_english(tmp_path: Path) -> None:
    speak("zh")
    with pytest.raises(NoKernelsError) as caught:
        load()
    assert str(caught.value) == "没有可用的 CPU 内核：找不到 C++ 编译器（CXX, g++, c++, clang++）。"
    assert caught.value.english == "The CPU kernels are not there: no C++ compiler found (CXX, g++, c++, clang++)."
    gcc = program(tmp_path / "g++", "echo 'no x86-64-v4' >&2; exit 1")
    with pytest.raises(NoKernelsError) as caught:
        load()
    reason = f"{gcc} 运行失败。编译器太旧，不支持这个 CPU：需要 GCC 11、clang 12 或更高版本。"
    assert str(caught.value) == f"没有可用的 CPU 内核：{reason}\nno x86-64-v4"
    assert caught.value.english.startswith(f"The CPU kernels are not there: {gcc} failed. The compiler is too old")


def test_what_is_not_english_is_passed_on(tmp_path: Path) -> None:
    program(tmp_path / "g++", "printf '\\264\\355 error: no -march=native here' >&2; exit 1")  # GBK
    with pytest.raises(NoKernelsError, match="no -march=native here"):
        load()


def test_a_compiler_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "g++", "exec /bin/sleep 60")
    monkeypatch.setattr(compiler, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(MachineError, match=r"took longer than 0.5 seconds") as caught:
        load()
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
def test_a_shortage_is_not_taken_for_a_machine_without_kernels(tmp_path: Path, script: str) -> None:
    program(tmp_path / "g++", script)
    with pytest.raises(MachineError, match="could not be compiled this time") as caught:
        load()
    assert not isinstance(caught.value, NoKernelsError)
    assert len(str(caught.value).splitlines()) == 2
