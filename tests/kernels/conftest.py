"""Which kernels the tests of this folder call, and in which types.

CIFARLAB_TIER=avx2 python -m pytest tests/kernels          those of a lower tier
CIFARLAB_EMULATE=aarch64 python -m pytest tests/kernels    those of ARM, by qemu-user
"""

from __future__ import annotations

from collections.abc import Iterator

import emulated_kernels as emulated
import pytest
import torch

from cifarlab.kernels import build, tiers
from cifarlab.machine.runtime import MULTIPLIES_BF16
from cifarlab.machine.tier import tier


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests with a `product_dtype` each type that this CPU multiplies: what it does not have is not a skip."""
    if "product_dtype" in metafunc.fixturenames:
        has_bf16 = tier() in MULTIPLIES_BF16 and not emulated.is_asked_for()
        dtypes = [torch.float32, torch.bfloat16] if has_bf16 else [torch.float32]
        metafunc.parametrize("product_dtype", dtypes, ids=lambda dtype: str(dtype)[6:])


@pytest.fixture(scope="session")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulated.Driver | None]:
    if not emulated.is_asked_for():
        yield None
        return
    driver = emulated.Driver(tmp_path_factory.mktemp("driver"))
    yield driver
    print(f"\n{driver.num_calls:,} calls of emulated kernels")
    driver.close()


@pytest.fixture
def kernels(kernels: None, _driver: emulated.Driver | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of this CPU or, where that is asked for, of an emulated one."""
    if _driver is not None:
        monkeypatch.setattr(build, "call", _driver.call)
        monkeypatch.setattr(build, "number", _driver.number)
        monkeypatch.setattr(build, "has", _driver.names.__contains__)
        monkeypatch.setattr(tiers, "tier", lambda: "neon")
