"""Compiles the C++ files of this folder for the CPU at hand, once, and loads them.

A compiler on the spot may use every instruction this CPU has, which a wheel that fits all CPUs may not. The library is
kept in the user's cache folder, under a name that says from which source and for which CPU it was made.
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

SOURCES, HEADERS = (tuple(sorted(Path(__file__).parent.glob(pattern))) for pattern in ("*.cpp", "*.h"))
COMPILERS = ("g++", "c++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-fPIC")
LONGEST_SECONDS = 600
"""Of one compilation; the longest takes about five on an idle machine."""

SHORTAGES = ("Killed", "out of memory", "memory exhausted", "Cannot allocate", "No space left", "Too many open files")
"""What compilers and the system say, in English, when they failed for want of something that may be there later."""
SHORTAGE_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO}

SUFFIX = {torch.float32: "float", torch.bfloat16: "bf16"}
"""What the names of kernels for values of a type end in."""

_library: ctypes.CDLL | None = None


def load(*, build: bool) -> None:
    """Make the kernels available to `call`: from the cache or, with `build`, by compiling them.

    Raises NoKernelsError with the reason when that is not possible here, and MachineError when it failed this time. The
    difference matters: a training may do without kernels only where every training on this machine has to.
    """
    global _library
    if _library is not None:
        return
    file = place()
    if build and not file.exists():
        compile_to(file)
    try:
        _library = ctypes.CDLL(str(file))
    except OSError as error:
        reason = "not compiled yet, which a training does" if not file.exists() else str(error)
        raise NoKernelsError(f"The CPU kernels are not there: {reason}.") from error


def has(name: str) -> bool:
    """Whether the kernels are loaded and `name` is among them; some exist for certain CPUs alone."""
    return _library is not None and hasattr(_library, name)


def fingerprint() -> str:
    """A hash of the loaded library, which another compiler makes another one of; empty where there is none."""
    return hashlib.sha256(Path(_library._name).read_bytes()).hexdigest()[:16] if _library is not None else ""


def call(name: str, *arguments: torch.Tensor | float | None) -> None:
    """Run a kernel. Of tensors it gets the addresses alone: their layout and type have to be what it expects.

    None: a null pointer.
    """
    function = getattr(_library, name)
    function.restype = None
    function(*map(_argument, arguments))


def place() -> Path:
    """Where the library of these sources for this CPU is kept."""
    key = hashlib.sha256("\n".join([*FLAGS, _cpu()]).encode())
    for source in (*HEADERS, *SOURCES):
        key.update(source.read_bytes())
    return platformdirs.user_cache_path("cifarlab") / "kernels" / f"{key.hexdigest()[:24]}.so"


def compile_to(file: Path) -> None:
    """Compile all sources into one library, which is whole or absent. Raises what `load` does.

    It is linked without OpenMP, which torch has brought into the process: a second one would compete for the cores.
    """
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NoKernelsError(f"The CPU kernels are not there: no C++ compiler found ({' or '.join(COMPILERS)}).")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            commands = ([compiler, *FLAGS, "-c", str(source)] for source in SOURCES)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda command: _run(command, folder), commands))
            _run([compiler, "-shared", *(f"{source.stem}.o" for source in SOURCES), "-o", "kernels.so"], folder)
            (Path(folder) / "kernels.so").replace(file)
    except OSError as error:
        reason = f"{file}: {error.strerror or error}"
        if error.errno in SHORTAGE_NUMBERS:
            raise _failed(reason) from error
        raise NoKernelsError(f"The CPU kernels are not there: {reason}.") from error


def _run(command: Sequence[str], folder: str) -> None:
    english = {**os.environ, "LC_ALL": "C"}  # so that SHORTAGES are recognised
    try:
        subprocess.run(command, cwd=folder, env=english, check=True, capture_output=True, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _failed(f"{command[0]} took longer than {LONGEST_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip() or str(error)
        if error.returncode < 0 or any(words in text for words in SHORTAGES):
            raise _failed(f"{command[0]}: {text[-300:]}") from error
        raise NoKernelsError(f"The CPU kernels are not there: {command[0]} failed.\n{text[:500]}") from error


def _failed(reason: str) -> MachineError:
    return MachineError(
        f"The CPU kernels could not be compiled this time: {reason}.\n"
        "Try again when the machine has memory, disk and time to spare, or do without: --set runtime.kernels=off"
    )


def _argument(value: torch.Tensor | float | None) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_double:
    if value is None or isinstance(value, torch.Tensor):
        return ctypes.c_void_p(None if value is None else value.data_ptr())
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_long(value)


def _cpu() -> str:
    """What tells machines apart that the same code may not run on."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
