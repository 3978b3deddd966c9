"""A training with the CPU kernels, and without them wherever they cannot be had: it goes on, and says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from cifarlab.kernels import build, check, compiler
from cifarlab.training.train import train

pytestmark = pytest.mark.skipif(not any(map(shutil.which, compiler.COMPILERS)), reason="no C++ compiler")

DO_WITHOUT = "Torch's own operations take their place"

# So that the sources are compiled once for all tests of this file.
REMEMBERING_COMPILER = """#!/bin/sh
for last; do :; done
case "$last" in *.cpp) ;; *) exec {compiler} "$@" ;; esac
name=$(basename "$last" .cpp)
[ -f {memory}/$name.o ] || {{ {compiler} "$@" -o {memory}/$$.o && mv {memory}/$$.o {memory}/$name.o; }} || exit 1
cp {memory}/$name.o .
"""


@pytest.fixture(scope="module")
def remembering_compiler(tmp_path_factory):
    memory = tmp_path_factory.mktemp("objects")
    real = next(filter(None, map(shutil.which, compiler.COMPILERS)))
    program = memory / "compiler"
    program.write_text(REMEMBERING_COMPILER.format(compiler=real, memory=memory), "utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch, remembering_compiler):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", remembering_compiler)


@pytest.fixture
def trained(tiny, tmp_path, monkeypatch, caplog):
    """Train for one step, as a new process would; returns the run's `kernels` and what was said."""
    # First set here, so that what other tests have loaded comes back at the end.
    monkeypatch.setattr(build, "_library", None)
    caplog.set_level("INFO", logger="cifarlab")

    def make(**runtime: str) -> tuple[str, str]:
        monkeypatch.setattr(build, "_library", None)
        caplog.clear()
        settings = [f"runtime.{name}={value}" for name, value in runtime.items()]
        run = train(tiny.set("training.epochs=0.2", *settings), out=tmp_path / "runs")
        return run.manifest["runtime"]["kernels"], caplog.text

    return make


def test_kernels_are_compiled_again_when_the_cache_was_removed(trained, tmp_path):
    assert trained()[0] == "on"
    shutil.rmtree(tmp_path / "cache")
    kernels, said = trained()
    assert (kernels, DO_WITHOUT in said) == ("on", False)
    assert len(list(build.cache_folder().iterdir())) == 1


def test_a_truncated_library_is_compiled_again(trained):
    trained()
    (file,) = build.cache_folder().iterdir()
    whole = file.read_bytes()
    file.unlink()  # the process still has the old one in memory
    file.write_bytes(whole[: len(whole) // 2])
    file.chmod(0o700)
    kernels, said = trained()
    assert kernels == "on"
    assert "the file is damaged) and are compiled again" in said
    assert file.read_bytes() == whole


def test_without_a_compiler_a_training_does_without_kernels(trained, tmp_path, monkeypatch):
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    kernels, said = trained()
    assert kernels == "The CPU kernels are not there: no C++ compiler found (CXX, g++, c++, clang++)."
    assert f"{kernels} {DO_WITHOUT}" in said


def test_kernels_that_are_switched_off_are_not_compiled(trained):
    assert trained(kernels="off")[0] == "off"
    assert not build.cache_folder().exists()


def test_kernels_that_compute_wrong_values_are_done_without(trained, monkeypatch):
    monkeypatch.setattr(check, "TOLERANCES", dict.fromkeys(check.TOLERANCES, 0.0))
    kernels, said = trained()
    assert kernels.startswith("The CPU kernels compute wrong values on this CPU: a convolution in float by ")
    assert f"{kernels} {DO_WITHOUT}" in said
    assert list(build.cache_folder().iterdir()) == []


def test_a_cache_that_others_may_write_is_not_used(trained):
    build.cache_folder().mkdir(parents=True)
    build.cache_folder().chmod(0o777)
    kernels, said = trained()
    assert "may be written by other users (mode 777)" in kernels
    assert f"{kernels} {DO_WITHOUT}" in said


def test_two_trainings_that_compile_at_the_same_time_both_use_kernels(tiny, tmp_path):
    recipe = tiny.set("training.epochs=0.2")
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from cifarlab.recipe.schema import Recipe\n"
        "from cifarlab.training.train import train\n"
        "run = train(Recipe.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]))\n"
        "print(json.dumps(run.manifest['runtime']))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, recipe.model_dump_json(), str(tmp_path / name)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        for name in ("one", "two")
    ]
    runtimes = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    assert [runtime["kernels"] for runtime in runtimes] == ["on", "on"]
    assert len({runtime["kernels_fingerprint"] for runtime in runtimes}) == 1
