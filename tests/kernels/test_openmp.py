"""Threads from torch's OpenMP: which functions are found, and that every kind of OpenMP gives the same bits."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from cifarlab.errors import NoKernelsError
from cifarlab.kernels import build, openmp
from cifarlab.kernels.ops import conv3x3

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
KMPC_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Imitated:
    """An OpenMP that gives `given` of `wanted` threads and lets them work one after the other, the last one first."""

    def __init__(self, wanted: int, given: int) -> None:
        self.number, self.given = 0, given
        number = ctypes.CFUNCTYPE(ctypes.c_int)
        self.omp_get_max_threads = number(lambda: wanted)
        self.omp_get_num_threads = number(lambda: given)
        self.omp_get_thread_num = number(lambda: self.number)

    def run(self, work: Callable[[], Any]) -> None:
        for number in reversed(range(self.given)):
            self.number = number
            work()


class Gcc(Imitated):
    def __init__(self, *threads: int) -> None:
        super().__init__(*threads)
        parallel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        self.GOMP_parallel = parallel(lambda task, data, *_: self.run(lambda: TASK(task)(data)))


class Llvm(Imitated):
    def __init__(self, *threads: int) -> None:
        super().__init__(*threads)
        fork = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        work = KMPC_TASK
        self.__dict__["__kmpc_fork_call"] = fork(
            lambda _, num, task, data: self.run(lambda: work(task)(None, None, data) if num == 1 else pytest.fail())
        )


@contextmanager
def used(library: Imitated, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels with this OpenMP, and afterwards with torch's again."""
    assert build._library is not None
    with monkeypatch.context() as patch:
        patch.setattr(openmp, "_libraries", lambda: [library])
        build._library.functions.use_openmp(*openmp.functions())
    yield
    build._library.functions.use_openmp(*openmp.functions())


def weight_gradient(side: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(7, 32, side, side, generator=random).to(memory_format=torch.channels_last) for _ in range(2)]
    return conv3x3.weight_gradient(maps[0], maps[1], 1)


def sums(num: int) -> torch.Tensor:
    total = torch.zeros(2, 16, dtype=torch.float64)
    build.call("sums_float", torch.randn(num, 16, generator=torch.Generator().manual_seed(0)), num, 1, 16, total)
    return total


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", [Gcc, Llvm])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_decides_the_bits_and_nothing_else(kind, threads, monkeypatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = sums(1000), weight_gradient(9), weight_gradient(2)
    finally:
        torch.set_num_threads(before)
    with used(kind(threads, threads), monkeypatch):
        found = sums(1000), weight_gradient(9), weight_gradient(2)
    assert all(map(torch.equal, found, expected))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", [Gcc, Llvm])
def test_fewer_threads_than_were_asked_for_do_all_work(kind, monkeypatch) -> None:
    expected = sums(1000), weight_gradient(9), weight_gradient(2)
    with used(kind(5, 2), monkeypatch):
        found = sums(1000), weight_gradient(9), weight_gradient(2)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("kernels")
def test_threads_are_those_of_torch() -> None:
    """Not of another OpenMP that the process has loaded."""
    get_max_threads = ctypes.CFUNCTYPE(ctypes.c_int)(openmp.functions()[2].value or 0)
    before = torch.get_num_threads()
    for number in (1, 5, before):
        torch.set_num_threads(number)
        assert get_max_threads() == number


def test_a_torch_without_openmp_has_no_kernels(monkeypatch) -> None:
    monkeypatch.setattr(openmp, "_libraries", lambda: [object()])
    with pytest.raises(NoKernelsError, match="the OpenMP of torch is not found"):
        openmp.functions()
