"""Compile the C++ files of `cpp` for the CPU at hand, once, and load them.

Code that is compiled on the spot may use every instruction of this CPU, which a wheel for all CPUs may not. The library
is kept in the user's cache folder, under a name that is a hash of the sources, the flags and the CPU.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import torch

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.machine.tier import tier

SOURCES, HEADERS = (tuple(sorted((Path(__file__).parent / "cpp").glob(pattern))) for pattern in ("*.cpp", "*.h"))
COMPILERS = ("g++", "c++")
# -ffp-contract=fast lets a multiplication and an addition become one instruction, rounded once. Not -ffast-math, which
# assumes that there are no NaNs: those of a training that has diverged have to come through.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fopenmp", "-fPIC")
# A tier that is forced on a CPU that can do more is compiled for what all CPUs of that tier have.
MARCH = {
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4",),
    "avx512bf16": ("-march=native",),
    "amx": ("-march=native",),
    "neon": ("-march=native",),
}
TIMEOUT_SECONDS = 600  # for one compilation; the longest takes about five seconds on an idle machine

SHORTAGES = ("Killed", "out of memory", "memory exhausted", "Cannot allocate", "No space left", "Too many open files")
"""What compilers and the system say, in English, when they run out of something that may be there again later."""
# The same as numbers: full disk or quota, memory, processes, open files, and a disk that fails.
SHORTAGE_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO}

_library: ctypes.CDLL | None = None  # loaded once for the process


def load(*, compiles: bool) -> None:
    """Make the kernels available to `call`: from the cache or, with `compiles`, by compiling them.

    Raises NoKernelsError with the reason if that is impossible on this machine, and MachineError if it failed for a
    passing reason. The difference matters: a training goes on without kernels only if every training on this machine
    would, because the weights come out differently with and without them.
    """
    global _library
    if _library is not None:
        return
    file = cached_path()
    if compiles and not file.exists():
        compile_library(file)
    try:
        # Looks up OpenMP among what torch has loaded; see compile_library.
        _library = ctypes.CDLL(str(file))
    except OSError as error:
        reason = "not compiled yet, which a training does" if not file.exists() else str(error)
        raise NoKernelsError(f"The CPU kernels are not there: {reason}.") from error


def is_loaded() -> bool:
    """Whether the kernels are loaded."""
    return _library is not None


def fingerprint() -> str:
    """A hash of the loaded library, which differs between compilers; empty if none is loaded."""
    return hashlib.sha256(Path(_library._name).read_bytes()).hexdigest()[:16] if _library is not None else ""


def call(name: str, *arguments: torch.Tensor | float | None) -> None:
    """Run a kernel. It gets the bare addresses of tensors, so their layout and dtype have to be what it expects.

    None becomes a null pointer, an integer a C long, a float a double.
    """
    function = getattr(_library, name)
    function.restype = None  # void; ctypes would otherwise read an int
    # Declaring argtypes beforehand would save next to nothing: 2.5 instead of 2.7 µs per call.
    function(*map(_argument, arguments))


def has(name: str) -> bool:
    """Whether the kernels are loaded and `name` is among them; those for bf16 are built for some CPUs only."""
    return _library is not None and hasattr(_library, name)


def number(name: str) -> int:
    """Return what a function of the library without arguments says, such as the number of lanes."""
    return int(getattr(_library, name)())


def cached_path() -> Path:
    """Where the library of these sources for this CPU is kept."""
    # A home folder may be shared between machines, so the CPU is part of the name: -march=native differs.
    key = hashlib.sha256("\n".join([*FLAGS, *MARCH[tier()], _cpu()]).encode())
    for source in (*HEADERS, *SOURCES):
        key.update(source.read_bytes())  # so that another version of cifarlab compiles its own
    return platformdirs.user_cache_path("cifarlab") / "kernels" / f"{key.hexdigest()[:24]}.so"


def compile_library(file: Path) -> None:
    """Compile all sources into one library, which is whole or absent. Raises what `load` raises.

    It is linked without OpenMP, because torch has loaded one already: a second one would start threads of its own and
    compete for the cores.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:  # permanent, so a training may do without
        raise NoKernelsError(f"The CPU kernels are not there: no C++ compiler found ({' or '.join(COMPILERS)}).")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Beside the library, on the same file system, so that renaming it into place is atomic.
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            # One process per source, at the same time: about five seconds instead of one after the other.
            commands = ([compiler, *FLAGS, *MARCH[tier()], "-c", str(source)] for source in SOURCES)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda command: _run(command, folder), commands))
            _run([compiler, "-shared", *(f"{source.stem}.o" for source in SOURCES), "-o", "kernels.so"], folder)
            (Path(folder) / "kernels.so").replace(file)
    except OSError as error:
        reason = f"{file}: {error.strerror or error}"
        if error.errno in SHORTAGE_NUMBERS:
            raise _passing_error(reason) from error
        raise NoKernelsError(f"The CPU kernels are not there: {reason}.") from error


def _run(command: Sequence[str], folder: str) -> None:
    english = {**os.environ, "LC_ALL": "C"}  # SHORTAGES are matched in English
    try:
        subprocess.run(command, cwd=folder, env=english, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _passing_error(f"{command[0]} took longer than {TIMEOUT_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip() or str(error)
        # A negative code is a signal: the kernel kills a compiler that takes too much memory.
        if error.returncode < 0 or any(words in text for words in SHORTAGES):
            raise _passing_error(f"{command[0]}: {text[-300:]}") from error
        raise NoKernelsError(f"The CPU kernels are not there: {command[0]} failed.\n{text[:500]}") from error


def _passing_error(reason: str) -> MachineError:
    """The error for a compilation that may succeed another time; a plain MachineError, not a NoKernelsError."""
    return MachineError(
        f"The CPU kernels could not be compiled this time: {reason}.\n"
        "Try again when the machine has memory, disk and time to spare, or do without: --set runtime.kernels=off"
    )


def _argument(value: torch.Tensor | float | None) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_double:
    if value is None or isinstance(value, torch.Tensor):
        return ctypes.c_void_p(None if value is None else value.data_ptr())
    # The kernels take long and double only, so that ctypes can tell the C type from the Python one.
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_long(value)


def _cpu() -> str:
    """A description that differs between CPUs that may not run each other's code: model and instruction flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
