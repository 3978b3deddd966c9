"""What our own processes ask of the system for good; a program that uses the library decides this for itself."""

from __future__ import annotations

import ctypes
import os

SPIN_COUNT = "20000"
"""Rounds that a waiting OpenMP thread spins before it sleeps. GNU's default of 300,000 wastes whole time slices where
another program wants a core: with one such program beside it, a small network was seen to train at a third of the
speed; alone, there is no measurable difference."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


def take_over() -> None:
    """Set up a process that is ours alone, before torch is loaded."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    os.environ.setdefault("OMP_NUM_THREADS", str(num_cores()))  # torch's own choice leaves hyper-threads out
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let the C library keep large buffers that are freed, so that the next step need not fault them in anew.

    glibc gives them back to the kernel by default, which costs thousands of page faults per step. Returns whether
    there is a glibc to tell. -1 is no trimming at all, whatever lies free at the top of the heap.
    """
    name = "CS_GNU_LIBC_VERSION"
    if name not in getattr(os, "confstr_names", {}) or not (os.confstr(name) or "").startswith("glibc"):
        return False
    libc = ctypes.CDLL("libc.so.6")
    return bool(libc.mallopt(M_MMAP_THRESHOLD, 2**30) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def num_threads() -> int:
    """One per core, or what OMP_NUM_THREADS asks for, as schedulers of shared machines do."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else num_cores()


def num_cores() -> int:
    """The cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
