"""The OpenMP that torch has loaded: its functions, for kernels that share torch's threads (cpp/threads.cpp).

A second OpenMP would start threads of its own, and these would compete with torch's for the cores.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch

from cifarlab.kernels.compiler import unavailable

FORKS = ("GOMP_parallel", "__kmpc_fork_call")
"""What starts work on all threads: GCC's OpenMP has the one, LLVM's and Intel's the other or both."""
NUMBERS = ("omp_get_max_threads", "omp_get_num_threads", "omp_get_thread_num")

# The files that torch brings for Linux, macOS and Windows, where a stub called libiompstubs5md.dll lies beside.
FILES = ("libgomp*", "libomp*", "libiomp5*")


def functions() -> list[ctypes.c_void_p]:
    """The addresses of FORKS, of which at most one is not null, and of NUMBERS.

    Raises NoKernelsError if torch has no OpenMP that is known here.
    """
    for library in _libraries():
        forks = [name for name in FORKS if hasattr(library, name)][:1]
        if forks and all(hasattr(library, name) for name in NUMBERS):
            names = [*(name if name in forks else "" for name in FORKS), *NUMBERS]
            return [ctypes.cast(getattr(library, name), ctypes.c_void_p) if name else ctypes.c_void_p() for name in names]
    raise unavailable("the OpenMP of torch is not found")


def _libraries() -> Iterator[ctypes.CDLL]:
    """What torch may have it from: a file that it brings, which is loaded already, or what is loaded for all."""
    folder = Path(torch.__file__).parent / "lib"
    for pattern in FILES:
        for file in sorted(folder.glob(pattern)):
            yield ctypes.CDLL(str(file))
    yield ctypes.CDLL(None)
