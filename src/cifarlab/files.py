"""Files that are whole or absent: written under a temporary name, flushed, renamed; and what systems differ in.

Windows neither replaces nor removes a file that is open or mapped in any program, cannot open a folder, and cannot have
every name. macOS flushes a disk only when it is asked in a way of its own.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarlab.errors import MachineError, RunInUseError, cause
from cifarlab.language import tr

try:
    import fcntl
except ImportError:  # on Windows
    _FULL_FLUSH = None
else:
    _FULL_FLUSH = getattr(fcntl, "F_FULLFSYNC", None)  # on macOS, where fsync leaves the data in the disk's own memory

log = logging.getLogger("cifarlab")

TEMPORARY_PREFIX = ".tmp-"
_ASIDE_PREFIX = f"{TEMPORARY_PREFIX}old-"  # the rest of the name is the original's, so that it can be restored
# Errors of the machine's state; all others, such as ENOENT or ENAMETOOLONG, come from a name that the user gave.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EFBIG}
# What flock says on network file systems without a lock daemon, and on FUSE file systems that do not implement it.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# What Windows says of a file that is open or mapped: access denied, sharing violation, locked, mapped section.
_IN_USE = {5, 32, 33, 1224}
PATIENCE_SECONDS = 3.0
"""How long a file that is in use is waited for: longer than a virus scanner or a reader of ours has one open."""

_NEVER_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised while `path` is written into a MachineError that names it."""
    try:
        yield
    except OSError as error:
        advice = tr("Free some space or choose another folder.")
        if is_in_use(error):
            advice = tr("If another program has it open, close it there.")
        raise MachineError(
            tr(
                "Cannot write {path}: {error}.\nWhat was there before is unchanged. {advice}",
                path=path,
                error=cause(error),
                advice=advice,
            )
        ) from error


def is_machine_fault(error: OSError) -> bool:
    """Whether an error is due to the machine's state, such as a full disk, and not to a wrong path."""
    return error.errno in _MACHINE


def is_in_use(error: OSError) -> bool:
    """Whether Windows refused something because a file is open, in this process or another."""
    return getattr(error, "winerror", None) in _IN_USE


def is_portable(name: str) -> bool:
    """Whether every system can have a file or folder of this name.

    Windows takes "aux.png" for a device and "a.png:b" for a part of a.png, and drops dots and spaces at the end.
    """
    return not (_NEVER_IN_NAMES.search(name) or name.endswith((".", " ")) or _DEVICES.fullmatch(name))


def is_possible(name: str) -> bool:
    """Whether this system can have a file or folder of this name."""
    return sys.platform != "win32" or is_portable(name)


def move(source: Path, target: Path) -> None:
    """Give a file its name, which another one may have until then, or a folder one that is free."""
    if source.is_dir():
        _patiently(lambda: source.rename(target))
    else:
        _patiently(lambda: source.replace(target))


def remove_unless_in_use(file: Path) -> bool:
    """Remove a file, and return whether it is gone: Windows keeps one that is open or mapped."""
    try:
        file.unlink(missing_ok=True)
    except PermissionError as error:
        if not is_in_use(error):
            raise
        log.debug("%s is in use and stays for now.", file)
        return False
    return True


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part of it.

    Raises MachineError when the disk is full or read-only.
    """
    data = content.encode() if isinstance(content, str) else content
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Next to its target, because a rename is atomic only within a file system.
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                flush(file.fileno())  # or a power cut after the rename can leave an empty file under the new name
            move(temporary, path)
        finally:
            remove_unless_in_use(temporary)
        flush_folder(path.parent)


@contextmanager
def atomic_folder(path: Path, *, keep_old_as: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds and is removed when it fails.

    An existing `path` becomes `keep_old_as`, or is deleted, once its replacement is complete and flushed, so that at
    every moment one of the two is whole. Raises MachineError when the disk is full or read-only.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # not by tempfile.mkdtemp, whose folders only their owner may enter (0o700)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed and had the same number
        temporary.mkdir()
        try:
            yield temporary
            for path_inside in temporary.iterdir():
                with path_inside.open("r+b") as file:  # Windows flushes only what may be written
                    flush(file.fileno())
            flush_folder(temporary)
            _swap(temporary, path, keep_old_as)
            flush_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left under temporary names, and restore a folder that it had set aside.

    Call it only while the folder is locked: another writer's unfinished files look the same.
    """
    with machine_errors(folder):
        for aside in folder.glob(f"{_ASIDE_PREFIX}*"):
            original = aside.with_name(aside.name.removeprefix(_ASIDE_PREFIX))
            if not original.exists():  # killed between the two renames of _swap
                move(aside, original)
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                remove_unless_in_use(path)


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the system releases it when the process ends, however it ends.

    The file itself stays. On a file system without locks the block runs without one, after a warning.
    Raises RunInUseError when the lock is held elsewhere and `wait` is false.
    """
    from filelock import FileLock, Timeout  # here, since its import takes 10 ms and `cifarlab --help` locks nothing

    # The library would fall back to a lock file that only its owner removes: a killed run would stay locked forever.
    held = FileLock(path, blocking=wait, fallback_to_soft=False)
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except Timeout as error:  # before OSError, of which it is a subclass
            raise RunInUseError(
                tr(
                    "{folder} is in use by another process.\nWait for its end, or write to another folder.",
                    folder=path.parent,
                )
            ) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            warning = tr("{folder}: this file system has no locks, so let only one process write here.")
            log.warning(warning.format(folder=path.parent))
    try:
        yield
    finally:
        held.release()  # does nothing if the lock was never acquired


def link_folder(link: Path, folder: Path) -> None:
    """Let a folder be found under another path, too."""
    if sys.platform == "win32":  # where a symbolic link needs rights that most people lack, and a junction none
        import _winapi

        with machine_errors(link):
            _winapi.CreateJunction(str(folder), str(link))
    else:
        link.symlink_to(folder)


def sha256(path: Path) -> str:
    """Hash a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(descriptor: int) -> None:
    """Make what was written to an open file survive a power cut."""
    try:
        if _FULL_FLUSH is not None:
            fcntl.fcntl(descriptor, _FULL_FLUSH)
            return
    except OSError:  # a network drive, which knows no such command
        log.debug("This file system is flushed by fsync alone.")
    os.fsync(descriptor)


def flush_folder(folder: Path) -> None:
    """Make renames and new names inside `folder` survive a power cut; fsync of a file does not cover its name."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders, and its file system keeps a log of names
        return
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, path: Path, keep_old_as: Path | None) -> None:
    """Rename `new` to `path`. If it fails, the old folder is restored; if it is killed, by remove_leftovers."""
    aside = keep_old_as or path.with_name(f"{_ASIDE_PREFIX}{path.name}")
    replaces = path.exists()
    if replaces:  # rename(2) replaces files and empty folders, but not a folder with content
        shutil.rmtree(aside, ignore_errors=True)
        move(path, aside)
    try:
        move(new, path)
    except OSError:
        if replaces:
            move(aside, path)
        raise
    if keep_old_as is None:
        shutil.rmtree(aside, ignore_errors=True)


def _patiently(act: Callable[[], object]) -> None:
    """Do what Windows refuses for as long as another program has a file open; most close it soon."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            act()
        except PermissionError as error:
            if not is_in_use(error) or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
