"""Download a published archive: from the fastest mirror, resumed, and checked before anything reads it.

The file exists under its own name only after size and checksums agree. Until then it is `<name>.part`,
which the next attempt continues; content with a wrong checksum is kept as `<name>.bad`.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

from cifarlab.console import log, progress
from cifarlab.errors import DataError, MachineError
from cifarlab.files import flush_folder, lock, machine_errors
from cifarlab.images.archives.mirrors import (
    MirrorError,
    UnreachableError,
    UselessMirrorError,
    host,
    open_url,
    rank,
    reason,
)
from cifarlab.images.archives.official import Archive

CHUNK = 2**18
"""Bytes."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try."""

    probe_seconds: float = 1.5
    """For a first answer of any mirror."""
    stall_seconds: float = 30.0
    """For the next byte."""
    num_retries: int = 3
    pause_seconds: float = 1.0
    """Before the first retry; doubled before each further one."""


DEFAULT_PATIENCE = Patience()


def download(archive: Archive, folder: Path, patience: Patience = DEFAULT_PATIENCE) -> Path:
    """Fetch an archive into `folder`; returns its path, at once if it is there already.

    Several processes make one download: the others wait for the first. Raises DataError when no mirror
    answers or delivers the published file, and MachineError when the folder cannot be written or the disk
    is too small.
    """
    target = folder / archive.name
    if target.exists():
        return target
    _check_folder(folder, archive)
    with lock(folder / f".{archive.name}.lock", wait=True):
        if not target.exists():  # another process may have fetched it while this one waited
            _download(archive, target, patience)
    return target


def _download(archive: Archive, target: Path, patience: Patience) -> None:
    """Go round the mirrors until one has delivered the file whole."""
    try:
        mirrors = rank(archive.mirrors, patience.probe_seconds)
    except UnreachableError as error:
        raise DataError(
            f"{archive.name} is not on this machine, and no server delivers it: {error}.\n"
            f"{_by_hand(archive, target.parent)}"
        ) from error
    problem = MirrorError("no mirror")
    for attempt in range(1 + patience.num_retries):
        if attempt:
            time.sleep(patience.pause_seconds * 2 ** (attempt - 1))
        mirror = mirrors.pop(0)
        log.info("Downloading %s from %s into %s", archive.name, host(mirror), target.parent)
        try:
            return _fetch(archive, target, mirror, patience)
        except MirrorError as error:
            problem = type(error)(f"{host(mirror)}: {error}")
            log.info("%s", problem)
            if not isinstance(error, UselessMirrorError):
                mirrors.append(mirror)
        if not mirrors:
            break
    raise DataError(
        f"{archive.name} could not be downloaded. {problem}.\n{_by_hand(archive, target.parent)}"
    ) from problem


def _fetch(archive: Archive, target: Path, mirror: str, patience: Patience) -> None:
    """One attempt: continue the part that is there, check the whole, give it its name."""
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    try:
        with machine_errors(target):
            if archive.size_bytes is None or have < archive.size_bytes:
                with open_url(mirror, have, patience.stall_seconds) as response:
                    _receive(response, part, have, archive)
            _verify(archive, part, resumed=have > 0)
            part.replace(target)
            flush_folder(target.parent)
    except MachineError:
        part.unlink(missing_ok=True)  # a full disk needs its space back
        raise


def _receive(response: HTTPResponse, part: Path, have: int, archive: Archive) -> None:
    start = _start(response, have, archive)
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        try:
            _copy(response, file, start, archive)
        finally:
            file.flush()
            os.fsync(file.fileno())


def _start(response: HTTPResponse, have: int, archive: Archive) -> int:
    """Where the body belongs in the file; raises when the server sends something else than the archive."""
    start = 0
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise UselessMirrorError("the server sent another part of the file than it was asked for")
        start = have
    length = response.headers.get("Content-Length", "")
    if archive.size_bytes is not None and length.isdigit() and start + int(length) != archive.size_bytes:
        raise UselessMirrorError(
            f"the server offers {start + int(length):,} bytes, the published file has {archive.size_bytes:,}"
        )
    return start


def _copy(response: HTTPResponse, file: IO[bytes], done: int, archive: Archive) -> None:
    """Append the body, and stop at the first byte beyond the published size."""
    size = archive.size_bytes
    with progress(archive.name, (size or 0) / 1e6, "MB") as advance:
        advance(done / 1e6)
        while chunk := _read(response, CHUNK if size is None else min(CHUNK, size + 1 - done)):
            done += len(chunk)
            if size is not None and done > size:
                file.seek(0)
                file.truncate()
                raise UselessMirrorError(f"the server sent more than the {size:,} bytes of the published file")
            file.write(chunk)
            advance(len(chunk) / 1e6)
    if size is not None and done < size:
        raise MirrorError(f"the connection ended after {done:,} of {size:,} bytes")


def _read(response: HTTPResponse, size: int) -> bytes:
    try:
        return response.read1(size)
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(reason(error)) from error


def _verify(archive: Archive, part: Path, *, resumed: bool) -> None:
    """Compare size and checksums with the published ones; a wrong file is put aside as .bad."""
    with part.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_is_right = archive.size_bytes in (None, part.stat().st_size)
    if size_is_right and md5 == archive.md5 and archive.sha256 in (None, sha256):
        return
    bad = part.with_name(f"{archive.name}.bad")
    part.replace(bad)
    # A resumed file may owe its fault to the part that lay there before: the same mirror gets another chance.
    kind = MirrorError if resumed else UselessMirrorError
    raise kind(f"the checksum is wrong (SHA-256 {sha256[:16]}...); the file is kept as {bad.name} and was not read")


def _check_folder(folder: Path, archive: Archive) -> None:
    """Raise before the first request when the file could not be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK) else "read-only"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise MachineError(
            f"{archive.name} is not on this machine, and the folder {folder} cannot keep it: {problem}.\n"
            "Put the file into another folder and set CIFARLAB_DATA to that folder."
        )
    need_bytes, free_bytes = archive.size_bytes or 0, shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        raise MachineError(
            f"{archive.name} needs {need_bytes / 1e6:,.0f} MB in {folder}; it has {free_bytes / 1e6:,.0f}.\n"
            "Free some space, or set CIFARLAB_DATA to a folder that holds the file."
        )


def _by_hand(archive: Archive, folder: Path) -> str:
    size = f" ({archive.size_bytes:,} bytes)" if archive.size_bytes else ""
    return (
        f"Put {archive.name}{size} into {folder}, or set CIFARLAB_DATA to the folder that holds it.\n"
        "To start now without a download: --data sample."
    )
