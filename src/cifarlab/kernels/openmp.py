"""The OpenMP that torch has loaded: its functions, for kernels that share torch's threads (cpp/threads.cpp).

A second OpenMP would start threads of its own, and these would compete with torch's for the cores.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from cifarlab.kernels.compiler import unavailable
from cifarlab.language import translatable

FORKS = ("__kmpc_fork_call", "GOMP_parallel")
"""What starts work on all threads: LLVM's and Intel's OpenMP have the one, GCC's has the other."""
NUMBERS = ("omp_get_max_threads", "omp_get_num_threads", "omp_get_thread_num")

# The files that torch brings for Linux, macOS and Windows, where a stub called libiompstubs5md.dll lies beside.
FILES = ("libgomp*", "libomp*", "libiomp5*")


def functions() -> list[ctypes.c_void_p]:
    """The addresses of FORKS, of which one may be null, and of NUMBERS.

    Raises NoKernelsError if torch has no OpenMP that is known here.
    """
    for library in _libraries():
        forks = [getattr(library, name, None) for name in FORKS]
        numbers = [getattr(library, name, None) for name in NUMBERS]
        if any(forks) and all(numbers):
            return [ctypes.cast(function or 0, ctypes.c_void_p) for function in forks + numbers]
    raise unavailable(translatable("the OpenMP of torch is not found"))


def _libraries() -> Iterator[ctypes.CDLL]:
    """What torch may have it from: a file that it brings, which is loaded already, or what is loaded for all."""
    folder = Path(torch.__file__).parent / "lib"
    for pattern in FILES:
        for file in sorted(folder.glob(pattern)):
            yield ctypes.CDLL(str(file))
    if sys.platform != "win32":  # where there is no such thing
        yield ctypes.CDLL(None)
