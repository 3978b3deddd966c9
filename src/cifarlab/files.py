"""Files that are whole or absent: written under a temporary name, flushed, renamed."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarlab.errors import MachineError, RunInUseError, cause
from cifarlab.language import tr

log = logging.getLogger("cifarlab")

TEMPORARY_PREFIX = ".tmp-"
_ASIDE_PREFIX = f"{TEMPORARY_PREFIX}old-"  # the rest of the name is the original's, so that it can be restored
# Errors of the machine's state; all others, such as ENOENT or ENAMETOOLONG, come from a name that the user gave.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EFBIG}
# What flock says on network file systems without a lock daemon, and on FUSE file systems that do not implement it.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Turn an OSError raised while `path` is written into a MachineError that names it."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            tr(
                "Cannot write {path}: {error}.\nWhat was there before is unchanged. "
                "Free some space or choose another folder.",
                path=path,
                error=cause(error),
            )
        ) from error


def is_machine_fault(error: OSError) -> bool:
    """Whether an error is due to the machine's state, such as a full disk, and not to a wrong path."""
    return error.errno in _MACHINE


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
                os.fsync(file.fileno())  # or a power cut after the rename can leave an empty file under the new name
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)


@contextmanager
def atomic_folder(path: Path, *, keep_old_as: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block succeeds and is removed when it fails.

    An existing `path` becomes `keep_old_as`, or is deleted, once its replacement is complete and flushed, so that at
    every moment one of the two is whole. Raises MachineError when the disk is full or read-only.
    """
    with machine_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner may enter (0o700)
        try:
            yield temporary
            for path_inside in temporary.iterdir():
                with path_inside.open("rb") as file:
                    os.fsync(file.fileno())
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
                aside.rename(original)
        for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


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


def sha256(path: Path) -> str:
    """Hash a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Make renames and new names inside `folder` survive a power cut; fsync of a file does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(new: Path, path: Path, keep_old_as: Path | None) -> None:
    """Rename `new` to `path`. If it fails, the old folder is restored; if it is killed, by remove_leftovers."""
    aside = keep_old_as or path.with_name(f"{_ASIDE_PREFIX}{path.name}")
    replaces = path.exists()
    if replaces:  # rename(2) replaces files and empty folders, but not a folder with content
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


def _umask() -> int:
    current = os.umask(0)  # POSIX can only read the mask by setting it
    os.umask(current)
    return current
