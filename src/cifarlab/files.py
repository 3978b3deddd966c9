"""Files that are whole or absent: written under a temporary name, flushed, renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarlab.errors import MachineError, RunInUseError

log = logging.getLogger("cifarlab")

TEMPORARY_PREFIX = ".tmp-"
_ASIDE_PREFIX = f"{TEMPORARY_PREFIX}old-"
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EFBIG}
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn whatever the system refuses while `path` is written into a MachineError that names it."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"Cannot write {path}: {error.strerror or error}.\nWhat was there before is unchanged. "
            "Free some space or choose another folder."
        ) from error


def is_of_the_machine(error: OSError) -> bool:
    """Whether an error speaks of the machine's state, such as a full disk, and not of a name that was wrong."""
    return error.errno in _MACHINE


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises MachineError when the disk is full or read-only.
    """
    data = content.encode() if isinstance(content, str) else content
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)


@contextmanager
def atomic_folder(path: Path, *, keep_old_as: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    An existing `path` becomes `keep_old_as`, or is deleted, once its replacement is complete and flushed, so that at
    every moment one of the two is whole.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        try:
            yield temporary
            for file in temporary.iterdir():
                _flush(file)
            flush_folder(temporary)
            _swap(temporary, path, keep_old_as)
            flush_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Clear what a killed process left under temporary names, and put back what it had set aside."""
    with machine_errors(folder):
        for aside in folder.glob(f"{_ASIDE_PREFIX}*"):
            original = aside.with_name(aside.name.removeprefix(_ASIDE_PREFIX))
            if not original.exists():
                aside.rename(original)
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; it dies with the process that holds it.

    Raises RunInUseError when another process holds it and `wait` is false.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise RunInUseError(
                f"{path.parent} is in use by another process.\nWait for its end, or write to another folder."
            ) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise MachineError(f"Cannot lock {path}: {error.strerror or error}.") from error
            log.warning("%s: this file system has no locks, so let only one process write here.", path.parent)
        yield


def sha256(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, path: Path, keep_old_as: Path | None) -> None:
    """Put `new` in the place of `path`; killed or failing half-way, the old folder is kept and comes back."""
    aside = keep_old_as or path.with_name(f"{_ASIDE_PREFIX}{path.name}")
    replaces = path.exists()
    if replaces:
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    try:
        new.rename(path)
    except OSError:
        if replaces:
            aside.rename(path)
        raise
    if keep_old_as is None:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
