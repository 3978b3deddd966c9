"""What every test starts with: no data, no cache and no settings of the person who runs it."""

from __future__ import annotations

import os

import pytest

REAL_DATA = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REAL_DATA] = os.environ.pop("CIFARLAB_DATA", None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> str:
    """The folder that CIFARLAB_DATA names; tests that need it are skipped, and counted, without it."""
    folder = request.config.stash[REAL_DATA]
    if folder is None:
        pytest.skip("CIFARLAB_DATA does not name a folder with CIFAR-10")
    return folder
