"""Windows and macOS on Linux: what they lack is hidden, and what they do otherwise is replaced.

A program is given to `run`, which starts it in a process of its own, since nothing of this can be taken back. What a
stand-in cannot do: paths stay those of POSIX, and what C libraries do with files is not seen, except for what they
have open or mapped.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import types
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REAL = types.SimpleNamespace(**{**vars(os), "open": io.open})
"""The functions of Linux, for the stand-ins themselves."""

ACCESS_DENIED, SHARING_VIOLATION, ALREADY_EXISTS, INVALID_NAME, TOO_LONG = 5, 32, 183, 123, 206
"""What Windows calls them in `OSError.winerror`."""
LONGEST_PATH, LONGEST_NAME = 260, 255
RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
POSIX_MODULES = ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty")
MISSING_ON_WINDOWS = (
    *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getloadavg", "mkfifo", "mknod"),
    *("sched_getaffinity", "sched_setaffinity", "sysconf", "sysconf_names", "confstr", "confstr_names"),
    *("chown", "fchmod", "fchown", "killpg", "wait3", "nice"),
)


def run(system: str, program: str, folder: Path, encoding: str = "cp1252") -> str:
    """Run a program under a stand-in, "windows" or "macos", in a folder; returns what it printed.

    The program finds `command`, `Died` and this module's other names; an exit code of 9 is a death that it wanted.
    """
    start = f"from other_system import *\nstart({system!r}, {encoding!r})\n"
    kept = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "PYTHONUTF8")}
    environment = {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
        "PYTHONWARNINGS": "error::ResourceWarning",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "WIN_PD_OVERRIDE_LOCAL_APPDATA": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": encoding,
    }
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(program)], cwd=folder, env=environment, capture_output=True
    )
    shown = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode in (0, 9), "\n".join(shown)
    return shown[0].replace("\r\n", "\n")


def start(system: str, encoding: str) -> None:
    """Become the other system, before anything of cifarlab is imported; on the system itself nothing is to be done."""
    if sys.platform != "linux":
        return
    # libraries that look at the system when they are first used belong to the real one
    import urllib.request  # noqa: F401

    import filelock  # noqa: F401
    import platformdirs
    import pydantic.fields  # noqa: F401

    platformdirs.user_cache_path()
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # opens folders, as neither system's Python does
    {"windows": _windows, "macos": _macos}[system]()
    for name, errors in (("stdout", "strict"), ("stderr", "backslashreplace")):
        buffer = getattr(sys, name).buffer
        newline = "\r\n" if system == "windows" else None
        setattr(sys, name, io.TextIOWrapper(buffer, encoding=encoding, errors=errors, newline=newline))


def command(*words: str, code: int = 0) -> str:
    """Run `cifarlab WORDS` in this process and return what it prints; it has to end with this code."""
    from cifarlab.__main__ import main

    before, sys.argv = sys.stdout, ["cifarlab", *words]
    buffer = io.BytesIO()
    sys.stdout = io.TextIOWrapper(buffer, encoding=before.encoding, errors="strict")
    try:
        main()
    except SystemExit as stop:
        sys.stdout.flush()
        text = buffer.getvalue().decode(before.encoding)
        assert stop.code == code, f"{words} ended with {stop.code}, not {code}:\n{text}"
        return text
    finally:
        sys.stdout = before
    raise AssertionError("main always exits")


def die_after_checkpoints(number: int) -> None:
    """End the process, as a power cut does, right after it has written this many checkpoints."""
    from cifarlab.training import checkpoint

    save, written = checkpoint.save, []

    def counted(*arguments: Any) -> None:
        save(*arguments)
        written.append(None)
        if len(written) == number:
            sys.stdout.flush()
            os._exit(9)

    checkpoint.save = counted


def _replace(name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]], owner: Any = os) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _exists(path: Any) -> bool:
    try:
        REAL.lstat(path)
    except OSError:
        return False
    return True


def _hide_modules(names: tuple[str, ...]) -> None:
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError


def _hide_proc() -> None:
    def hidden(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int) and re.match(r"/(proc|sys)(/|$)", os.fsdecode(path)):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", os.fsdecode(path))
            return real(path, *arguments, **options)

        return call

    for name in ("stat", "lstat", "listdir", "scandir", "open", "readlink"):
        _replace(name, hidden)
    _replace("open", hidden, io)
    _replace("open", hidden, builtins)


# Windows


def _windows() -> None:
    import asyncio  # noqa: F401

    import matplotlib.backends.backend_agg  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import rich.progress  # noqa: F401
    import scipy.stats  # noqa: F401
    import tensorboard.program  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401
    import typer  # noqa: F401
    from PIL import Image

    Image.init()
    _hide_modules(POSIX_MODULES)
    for name in MISSING_ON_WINDOWS:
        vars(os).pop(name, None)
    for name in [each for each in vars(signal) if each.startswith("SIG") and not each.startswith("SIG_")]:
        if name not in ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV"):
            delattr(signal, name)
    junctions = types.ModuleType("_winapi")
    junctions.CreateJunction = lambda folder, link: REAL.symlink(folder, link)  # type: ignore[attr-defined]
    sys.modules["_winapi"] = junctions
    _hide_proc()
    _windows_files()
    sys.platform = "win32"
    platform._uname_cache = platform.uname_result(  # type: ignore[attr-defined]
        "Windows", "pc", "10", "10.0.26100", "AMD64"
    )


def _refusal(kind: type[OSError], number: int, winerror: int, path: Any) -> OSError:
    error = kind(number, {SHARING_VIOLATION: "The process cannot access the file"}.get(winerror, "Windows refuses"))
    error.filename, error.winerror = os.fsdecode(path), winerror  # type: ignore[attr-defined]
    return error


def _check_name(path: Any) -> None:
    text = os.path.abspath(os.fsdecode(path))
    if text.startswith("/dev/"):
        return
    for part in Path(text).parts[1:]:
        if RESERVED.fullmatch(part) or FORBIDDEN.search(part):
            raise _refusal(OSError, errno.EINVAL, INVALID_NAME, path)
        if len(part) > LONGEST_NAME:
            raise _refusal(OSError, errno.EINVAL, INVALID_NAME, path)
    if len(text) > LONGEST_PATH:
        raise _refusal(FileNotFoundError, errno.ENOENT, TOO_LONG, path)


def _in_use() -> Iterator[str]:
    """Every file that this process has open or mapped."""
    for number in REAL.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            yield REAL.readlink(f"/proc/self/fd/{number}")
    with REAL.open("/proc/self/maps") as maps:
        for line in maps:
            if (place := line.find("/")) >= 0:
                yield line[place:].rstrip("\n")


def _check_free(path: Any) -> None:
    real = os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path))))
    real = os.path.join(real, os.path.basename(os.fsdecode(path)))
    if any(each == real or each.startswith(f"{real}/") for each in _in_use()):
        raise _refusal(PermissionError, errno.EACCES, SHARING_VIOLATION, path)


def _moving(real: Callable[..., Any], replaces: bool) -> Callable[..., Any]:
    def move(source: Any, target: Any, **options: Any) -> None:
        _check_name(target)
        _check_free(source)
        if _exists(target):
            if not replaces:
                raise _refusal(FileExistsError, errno.EEXIST, ALREADY_EXISTS, target)
            if os.path.isdir(target):
                raise _refusal(PermissionError, errno.EACCES, ACCESS_DENIED, target)
            _check_free(target)
        real(source, target, **options)

    return move


def _removing(real: Callable[..., Any]) -> Callable[..., Any]:
    def remove(path: Any, **options: Any) -> None:
        _check_free(path)
        real(path, **options)

    return remove


def _opening(real: Callable[..., Any]) -> Callable[..., Any]:
    """`open` of files: text is cp1252 with Windows' line ends, folders are refused, and so are devices' names."""

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not isinstance(file, int) and options.get("opener") is None:  # tempfile names the folder, and opens a file
            _check_name(file)
            if os.path.isdir(file):
                raise _refusal(PermissionError, errno.EACCES, ACCESS_DENIED, file)
        if "b" not in mode:
            names = ("buffering", "encoding", "errors", "newline")
            options |= dict(zip(names, arguments, strict=False))
            arguments = ()
            if options.get("encoding") in (None, "locale"):
                options["encoding"] = "cp1252"
            if options.get("newline") is None and mode[0] in "wxa":
                options["newline"] = "\r\n"
        return real(file, mode, *arguments, **options)

    return opened


def _windows_files() -> None:
    def os_open(real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            _check_name(path)
            if os.path.isdir(path):
                raise _refusal(PermissionError, errno.EACCES, ACCESS_DENIED, path)
            return real(path, flags, *arguments, **options)

        return opened

    def mkdir(real: Callable[..., None]) -> Callable[..., None]:
        def made(path: Any, *arguments: Any, **options: Any) -> None:
            _check_name(path)
            real(path)

        return made

    def fsync(descriptor: int) -> None:
        with REAL.open(f"/proc/self/fdinfo/{descriptor}") as file:
            flags = int(next(line.split()[1] for line in file if line.startswith("flags:")), 8)
        if flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        REAL.fsync(descriptor)

    def chmod(path: Any, mode: int, **options: Any) -> None:
        REAL.chmod(path, 0o666 if mode & stat.S_IWUSR else 0o444)

    def symlink(source: Any, link: Any, *arguments: Any, **options: Any) -> None:
        raise _refusal(OSError, errno.EINVAL, 1314, link)  # a required privilege is not held

    _replace("open", os_open)
    for owner in (io, builtins):
        _replace("open", _opening, owner)
    _replace("rename", lambda real: _moving(real, replaces=False))
    _replace("replace", lambda real: _moving(real, replaces=True))
    for name in ("unlink", "remove", "rmdir"):
        _replace(name, _removing)
    _replace("mkdir", mkdir)
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # the other one opens a folder
    os.fsync, os.chmod, os.symlink = fsync, chmod, symlink  # type: ignore[assignment]
    os.umask = lambda mask: 0  # type: ignore[assignment]


# macOS

FULL_FLUSH = 51
flushed: list[int] = []
"""Descriptors that were flushed as macOS wants it."""


def _macos() -> None:
    import fcntl
    import multiprocessing

    def control(descriptor: int, asked: int, *arguments: Any) -> Any:
        if asked != FULL_FLUSH:
            return real_control(descriptor, asked, *arguments)
        flushed.append(descriptor)
        return 0

    real_control, fcntl.fcntl = fcntl.fcntl, control
    fcntl.F_FULLFSYNC = FULL_FLUSH  # type: ignore[attr-defined]
    for name in ("sched_getaffinity", "sched_setaffinity"):
        delattr(os, name)
    os.confstr_names = {}  # type: ignore[misc]
    multiprocessing.set_start_method("spawn")
    _hide_proc()
    _folded_names()
    sys.platform = "darwin"
    platform._uname_cache = platform.uname_result(  # type: ignore[attr-defined]
        "Darwin", "mac", "24.0.0", "Darwin Kernel Version 24.0.0", platform.machine()
    )


def _folded_names() -> None:
    """Names as HFS+ has them: stored as NFD, and found in any case and Unicode form."""

    def fold(name: str) -> str:
        return unicodedata.normalize("NFD", name).casefold()

    def stored(path: Any) -> Any:
        """The path by which Linux knows a file."""
        text = os.fsdecode(path)
        if _exists(text):
            return path
        folder, name = os.path.split(text)
        folder = os.fsdecode(stored(folder)) if folder not in ("", "/") else folder
        with contextlib.suppress(OSError):
            alike = [each for each in REAL.listdir(folder or ".") if fold(each) == fold(name)]
            name = alike[0] if alike else unicodedata.normalize("NFD", name)
        return os.path.join(folder, name)

    def folded(real: Callable[..., Any], places: int = 1) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            paths = [each if isinstance(each, int) else stored(each) for each in arguments[:places]]
            return real(*paths, *arguments[places:], **options)

        return call

    for name in ("open", "stat", "lstat", "mkdir", "rmdir", "unlink", "remove", "listdir", "scandir", "chmod", "utime"):
        _replace(name, folded)
    for name in ("rename", "replace"):
        _replace(name, lambda real: folded(real, 2))
    for owner in (io, builtins):
        _replace("open", folded, owner)
