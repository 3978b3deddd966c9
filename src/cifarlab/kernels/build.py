"""Load the kernels: from the wheel or, where it brings none, compiled for the CPU at hand, once, and kept.

A wheel for one platform has a library per tier of CPUs in `compiled` (scripts/wheels.py), and asks for no compiler. A
source tree, and the wheel for all platforms, compile the C++ files of `cpp`. Code that is compiled on the spot may use
every instruction of this CPU. The library is kept in the user's cache folder as PURPOSE-COMPILER-CONTENT.so, three
hashes:

- PURPOSE: of the sources, the flags and the CPU.
- COMPILER: of its version, so that a training compiles again after the compiler has changed. A prediction starts no
  compiler and cannot ask for its version, so it takes the first library of its purpose, whatever compiled it.
- CONTENT: of the file, so that a damaged library is noticed before it is loaded: loading one that was cut off may end
  the process. It is also the fingerprint in manifests.

A library is moved there once `check` has passed, so what lies there computes the right values on this CPU. For one of a
wheel, an empty file remembers that there. Its fingerprint, too, is the hash of its content.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import platformdirs
import torch

from cifarlab.errors import NoKernelsError
from cifarlab.kernels import compiler as compilers
from cifarlab.kernels import openmp
from cifarlab.kernels.signatures import NAMES, Kernel
from cifarlab.language import tr, translatable
from cifarlab.machine.tier import VARIABLE, tier

log = logging.getLogger("cifarlab")

SOURCES, HEADERS = (tuple(sorted((Path(__file__).parent / "cpp").glob(pattern))) for pattern in ("*.cpp", "*.h"))
# -ffp-contract=fast lets a multiplication and an addition become one instruction, rounded once. Not -ffast-math, which
# assumes that there are no NaNs: those of a training that has diverged have to come through.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fvisibility=hidden", "-fno-exceptions", "-fPIC")
# A tier that is forced on a CPU that can do more is compiled for what all CPUs of that tier have.
MARCH = {
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4",),
    "avx512bf16": ("-march=native",),
    "amx": ("-march=native",),
    "neon": ("-march=native",),
}
BUNDLED = Path(__file__).parent / "compiled"
"""Where a wheel for one platform has its libraries, named after tiers; no other tree has this folder."""


class Library(NamedTuple):
    """A library that is loaded."""

    functions: ctypes.CDLL
    kernels: dict[str, Kernel]
    fingerprint: str


_library: Library | None = None  # loaded once for the process


def load(*, compiles: bool, check: Callable[[], None]) -> None:
    """Make the kernels available to `call`: from the wheel, from the cache or, with `compiles`, by compiling them.

    check: is run on kernels that are new on this machine, and raises NoKernelsError if they compute wrong values.

    Raises NoKernelsError with the reason if that is impossible on this machine, and MachineError if it failed for a
    passing reason. The difference matters: a training goes on without kernels only if every training on this machine
    would, because the weights come out differently with and without them.
    """
    if is_loaded():
        return
    if tier() not in MARCH:
        reason = translatable("they need AVX2 or NEON, which this CPU does not have, or {variable} is none")
        raise compilers.unavailable(reason, variable=VARIABLE)
    if (file := bundled()) is not None:
        _load_bundled(file, check)
        return
    compiler = compilers.find() if compiles else []
    try:
        for file in cached(compiler):
            try:
                _open(file)
                return
            except OSError as error:
                if not compiles:
                    reason = translatable("{file} cannot be loaded ({error}); a training compiles it again")
                    raise compilers.unavailable(reason, file=file, error=error) from error
                note = tr("The CPU kernels cannot be loaded ({error}) and are compiled again: {file}.")
                log.info(note.format(error=error, file=file))
                file.unlink(missing_ok=True)
        if not compiles:
            raise compilers.unavailable(translatable("not compiled yet, which a training does"))
        compile_library(compiler, check)
    except OSError as error:
        what = f"{cache_folder()}: {error.strerror or error}"
        if error.errno in compilers.SHORTAGE_NUMBERS:
            raise compilers.passing_failure(what) from error
        raise compilers.unavailable("{what}", what=what) from error


def is_loaded() -> bool:
    """Whether the kernels are loaded."""
    return _library is not None


def fingerprint() -> str:
    """A hash of the loaded library, which differs between compilers; empty if none is loaded."""
    return _library.fingerprint if _library is not None else ""


def call(name: str, *arguments: torch.Tensor | float | None) -> None:
    """Run a kernel. It gets the addresses of tensors; None becomes a null pointer, an int an int64_t, a float a double.

    Raises TypeError or ValueError for arguments that its signature does not allow.
    """
    assert _library is not None
    _library.kernels[name](*arguments)


def has(name: str) -> bool:
    """Whether the kernels are loaded and `name` is among them; those for bf16 are built for some CPUs only."""
    return _library is not None and name in _library.kernels


def number(name: str) -> int:
    """Return what a function of the library without arguments says, such as the number of lanes."""
    assert _library is not None
    return int(getattr(_library.functions, name)())


def bundled() -> Path | None:
    """The library for this tier that the wheel brings; None without one."""
    name = "avx512bf16" if tier() == "amx" else tier()  # no kernel uses the units of AMX
    return next(BUNDLED.glob(f"{name}.*"), None)


def _load_bundled(file: Path, check: Callable[[], None]) -> None:
    """Load a library of the wheel, and check it once. Raises NoKernelsError if it cannot be loaded or is wrong."""
    global _library
    try:
        _library = _opened(file, _hash(file.read_bytes()))
    except OSError as error:
        reason = translatable("{file} cannot be loaded ({error})")
        raise compilers.unavailable(reason, file=file, error=error) from error
    checked = cache_folder() / f"{_hash(_library.fingerprint.encode(), _cpu().encode())}.checked"
    if checked.exists():
        return
    try:
        check()
    except BaseException:
        _library = None
        raise
    with suppress(OSError):  # where nothing can be kept, it is checked each time
        checked.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        checked.touch()


def cache_folder() -> Path:
    """Where the libraries are kept."""
    return platformdirs.user_cache_path("cifarlab") / "kernels"


def cached(compiler: Sequence[str]) -> list[Path]:
    """The libraries in the cache that fit these sources and this CPU: of one compiler or, without one, of any."""
    # By name, not by age: which one is taken is not to depend on a clock.
    return sorted(cache_folder().glob(f"{_stem(compiler)}-*.so"))


def compile_library(compiler: Sequence[str], check: Callable[[], None]) -> None:
    """Compile all sources into one library, load it, check it and keep it. Raises what `load` raises, or OSError."""
    global _library
    if not compiler:  # permanent, so a training may do without
        names = ", ".join(["CXX", *compilers.COMPILERS])
        raise compilers.unavailable(translatable("no C++ compiler found ({names})"), names=names)
    stem, folder = _stem(compiler), cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(folder)
    # Beside the library, on the same file system, so that renaming it into place is atomic. Of two processes that
    # compile at the same time, the last one puts its own whole library into the place of the other's.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        # One process per source, at the same time: about five seconds instead of one after the other.
        commands = ([*compiler, *FLAGS, *MARCH[tier()], "-c", str(source)] for source in SOURCES)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda command: compilers.run(command, temporary), commands))
        objects = [f"{source.stem}.o" for source in SOURCES]
        compilers.run([*compiler, "-shared", *objects, "-o", "kernels.so"], temporary)
        built = Path(temporary) / "kernels.so"
        built.chmod(0o700)  # under a umask of 002, the default of many systems, the linker lets the group write
        built = built.rename(built.with_name(f"{stem}-{_hash(built.read_bytes())}.so"))
        try:
            _open(built)
            check()
            built.replace(folder / built.name)
        except BaseException:
            _library = None
            raise


def _open(file: Path) -> None:
    """Load a library; OSError for one that is damaged or not for this machine."""
    global _library
    _refuse_foreign(file.parent)
    _refuse_foreign(file)
    content = file.stem.rpartition("-")[2]
    if _hash(file.read_bytes()) != content:
        raise OSError(tr("the file is damaged"))
    _library = _opened(file, content)


def _opened(file: Path, fingerprint: str) -> Library:
    functions = ctypes.CDLL(str(file))
    functions.use_openmp(*openmp.functions())
    lanes = int(functions.lanes())
    there = [name for name in NAMES if hasattr(functions, name)]
    return Library(functions, {name: Kernel(name, getattr(functions, name), lanes) for name in there}, fingerprint)


def _refuse_foreign(path: Path) -> None:
    """Raise NoKernelsError for what another user may have written: to load a library is to run it."""
    if sys.platform == "win32":  # has no such modes; the cache folder lies in the user's own profile
        return
    found = path.stat()
    owned, mode = found.st_uid == os.getuid(), stat.S_IMODE(found.st_mode)
    if not owned or mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = translatable(
            "The CPU kernels are not used: {path} may be written by other users (mode {mode:o}).\n"
            "Remove it, or set XDG_CACHE_HOME to a folder of your own."
        )
        if not owned:
            message = translatable(
                "The CPU kernels are not used: {path} belongs to user {user}.\n"
                "Remove it, or set XDG_CACHE_HOME to a folder of your own."
            )
        raise NoKernelsError(*(say(message, path=path, mode=mode, user=found.st_uid) for say in (tr, str.format)))


def _stem(compiler: Sequence[str]) -> str:
    """PURPOSE-COMPILER of a library; without a compiler, a pattern for any."""
    return f"{_purpose()}-{_hash(compilers.version(compiler)) if compiler else '*'}"


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _purpose() -> str:
    """A hash of what a library is compiled from and for."""
    # A home folder may be shared between machines, so the CPU is part of it: -march=native differs.
    settings = "\n".join([*FLAGS, *MARCH[tier()], tier(), _cpu()]).encode()
    return _hash(settings, *(source.read_bytes() for source in (*HEADERS, *SOURCES)))


def _cpu() -> str:
    """A description that differs between CPUs that may not run each other's code: model and instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        if sys.platform == "darwin":
            return compilers.run(["sysctl", "machdep.cpu"]).decode()
        return f"{platform.machine()} {platform.processor()}"
    # "flags" are those of x86; ARM has "Features" and "CPU implementer", "part" and "variant".
    words = "model name", "flags", "Features", "CPU "
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(words)}))
