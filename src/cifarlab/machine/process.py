"""Settings for a process that is ours alone, made once at its start; a program that uses the library makes its own."""

from __future__ import annotations

import ctypes
import os

# Rounds that a waiting OpenMP thread spins before it sleeps. GNU's default of 300,000 wastes whole time slices when
# another program wants a core: beside one such program a small network trained at a third of its speed. Alone it makes
# no measurable difference.
SPIN_COUNT = "20000"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # the parameters' numbers in malloc.h, see mallopt(3)


def take_over() -> None:
    """Set up a process that is ours alone; has to be called before torch is imported, which loads OpenMP."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    os.environ.setdefault("OMP_NUM_THREADS", str(num_cores()))  # torch's own choice leaves out hyper-threads
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let the C library keep large buffers that are freed, so that the next step does not fault their pages in again.

    By default glibc returns them to the kernel, which costs thousands of page faults per step: a small network's step
    took 39 ms, and 31 to 34 with this. Returns whether there is a glibc to tell.
    """
    name = "CS_GNU_LIBC_VERSION"
    if name not in getattr(os, "confstr_names", {}) or not (os.confstr(name) or "").startswith("glibc"):
        return False
    libc = ctypes.CDLL("libc.so.6")
    # Buffers up to 1 GiB come from the heap instead of mmap; -1 switches off trimming, however much is free at its top.
    return bool(libc.mallopt(M_MMAP_THRESHOLD, 2**30) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def memory_bytes() -> int | None:
    """The memory of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, and some systems lack one of the names
        return None


def num_threads() -> int:
    """One thread per core, or as many as OMP_NUM_THREADS says, which the schedulers of shared machines set."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else num_cores()


def num_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    # Only Linux has sched_getaffinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
