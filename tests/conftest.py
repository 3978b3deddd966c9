"""What every test starts with: no data, no cache and no settings of the person who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = os.environ.get("CIFARLAB_DATA")


@pytest.fixture(autouse=True)
def _nobodys_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that CIFARLAB_DATA names; tests that need it are skipped, and counted, without it."""
    if REAL_DATA is None:
        pytest.skip("CIFARLAB_DATA does not name a folder with CIFAR-10")
    return Path(REAL_DATA)
