"""What every test starts with: no data, no cache and no settings of the person who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from cifarlab.language import ENGLISH, VARIABLES, speak
from cifarlab.machine.process import num_cores
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe

pytest_plugins = ("compared_runs",)

REAL_DATA = os.environ.get("CIFARLAB_DATA")

# Workers of pytest-xdist share the cores: if each took all of them, their threads would wait for each other. Set before
# torch is loaded, which reads it, and so for the processes that tests start, too.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // int(workers))))

settings.register_profile("timeless", deadline=None)  # a busy machine is no fault of the code
settings.register_profile("long", deadline=None, max_examples=2000)  # pytest --hypothesis-profile=long
settings.load_profile("timeless")


@pytest.fixture(autouse=True)
def _nobodys_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    for name in VARIABLES:  # tests compare with what is said in English
        monkeypatch.delenv(name, raising=False)
    speak(ENGLISH)  # whatever a test before has chosen, or the environment when cifarlab was imported
    for name in ("XDG_CACHE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(name, str(tmp_path_factory.getbasetemp() / "cache"))
    # whether the machine is busy while the tests run changes nothing that they see
    monkeypatch.setattr("cifarlab.machine.contention.read", lambda: None)


@pytest.fixture
def tiny() -> Recipe:
    """simple-cnn on the bundled sample, in fp32 on the CPU: 5 steps of 540 images per epoch, two epochs."""
    return load_recipe("simple-cnn").set(
        "data.source=sample",
        "training.batch_size=540",
        "training.epochs=2",
        "runtime.device=cpu",
        "runtime.precision=fp32",
        "runtime.tensorboard=false",
        "evaluation.test=false",
    )


@pytest.fixture
def kernels() -> None:
    """The CPU kernels, compiled once; where there is no compiler, a skip that says so."""
    from cifarlab.kernels import build, compiler

    if not compiler.find():
        pytest.skip("no C++ compiler was found")
    build.load(compiles=True, check=lambda: None)  # the tests themselves are the check


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that CIFARLAB_DATA names; tests that need it are skipped, and counted, without it."""
    if REAL_DATA is None:
        pytest.skip("CIFARLAB_DATA does not name a folder with CIFAR-10")
    return Path(REAL_DATA)
