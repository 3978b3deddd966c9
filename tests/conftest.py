"""What every test starts with: no data, no cache and no settings of the person who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, override_all

pytest_plugins = ("compared_runs",)

REAL_DATA = os.environ.get("CIFARLAB_DATA")

settings.register_profile("timeless", deadline=None)  # a busy machine is no fault of the code
settings.register_profile("long", deadline=None, max_examples=2000)  # pytest --hypothesis-profile=long
settings.load_profile("timeless")


@pytest.fixture(autouse=True)
def _nobodys_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def tiny() -> Recipe:
    """simple-cnn on the bundled sample, in fp32 on the CPU: 5 steps of 540 images per epoch, two epochs."""
    return override_all(
        load_recipe("simple-cnn"),
        [
            "data.source=sample",
            "training.batch_size=540",
            "training.epochs=2",
            "runtime.device=cpu",
            "runtime.precision=fp32",
            "runtime.tensorboard=false",
            "evaluation.test=false",
        ],
    )


@pytest.fixture
def kernels() -> None:
    """The CPU kernels, compiled once; where there is no compiler, a skip that says so."""
    from cifarlab.errors import MachineError
    from cifarlab.kernels import build

    try:
        build.load(compiles=True, check=lambda: None)  # the tests themselves are the check
    except MachineError as error:
        pytest.skip(str(error))


@pytest.fixture
def bf16_kernels(kernels: None) -> None:
    """Those of them that multiply bf16."""
    from cifarlab.kernels import build

    if not build.has("winograd_bf16"):
        pytest.skip("this CPU, or the tier that CIFARLAB_TIER asks for, does not multiply bf16")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that CIFARLAB_DATA names; tests that need it are skipped, and counted, without it."""
    if REAL_DATA is None:
        pytest.skip("CIFARLAB_DATA does not name a folder with CIFAR-10")
    return Path(REAL_DATA)
