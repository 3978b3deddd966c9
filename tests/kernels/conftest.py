"""The kernels, compiled once, or a skip that says why they are not there."""

from __future__ import annotations

import pytest

from cifarlab.errors import MachineError
from cifarlab.kernels import library


@pytest.fixture
def kernels() -> None:
    try:
        library.load(build=True)
    except MachineError as error:
        pytest.skip(str(error))
