"""Download a published archive: mirror after mirror, resumed, and checked before anything reads it.

The file gets its own name only after size and checksums agree. Until then it is `<name>.part`, which the next attempt
continues, from any mirror; content with a wrong checksum is kept as `<name>.bad`.
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

from cifarlab.console import log, progress
from cifarlab.errors import DataError, MachineError, cause
from cifarlab.files import flush, flush_folder, lock, machine_errors, move
from cifarlab.images.archives.mirrors import MirrorError, UnreachableError, UselessMirrorError, host, open_url, reason
from cifarlab.images.archives.official import Archive
from cifarlab.language import listed, tr

CHUNK = 2**18
"""Bytes per read: large enough to keep Python out of the way, small enough for a smooth progress bar."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try."""

    read_seconds: float = 30.0
    """Without a single byte, before a mirror is given up. A slow mirror that keeps sending is never given up."""
    num_retries: int = 3
    """Further rounds through all mirrors after the first."""
    pause_seconds: float = 1.0
    """Before the first retry; doubled before each further one."""


DEFAULT_PATIENCE = Patience()


def download(archive: Archive, folder: Path, patience: Patience = DEFAULT_PATIENCE) -> Path:
    """Fetch an archive into `folder` and return its path; return at once when the file is already there.

    When several processes ask for the same archive, one downloads it and the others wait. Raises DataError when no
    mirror delivers the published file, and MachineError when the folder cannot be written or the disk is too small.
    """
    target = folder / archive.name
    if target.exists():
        return target
    _check_folder(folder, archive)
    with lock(folder / f".{archive.name}.lock", wait=True):
        if not target.exists():  # another process may have fetched it while this one waited
            _try_mirrors(archive, target, patience)
    return target


def _try_mirrors(archive: Archive, target: Path, patience: Patience) -> None:
    """Try the mirrors in order, round after round, until one of them completes the file."""
    mirrors, problems = list(archive.mirrors), dict[str, MirrorError]()
    for attempt in range(1 + patience.num_retries):
        if attempt:
            time.sleep(patience.pause_seconds * 2 ** (attempt - 1))
        for mirror in mirrors.copy():
            note = tr("Downloading {file} from {host} into {folder}")
            log.info(note.format(file=archive.name, host=host(mirror), folder=target.parent))
            try:
                return _fetch(archive, target, mirror, patience)
            except MirrorError as error:
                problems[mirror] = error
                log.info(tr("{host}: {problem}", host=host(mirror), problem=error))
                if isinstance(error, UselessMirrorError):
                    mirrors.remove(mirror)
        # If not even one connection was made, this machine is offline: say so now instead of after all pauses.
        offline = attempt == 0 and all(isinstance(error, UnreachableError) for error in problems.values())
        if offline or not mirrors:
            break
    reasons = (tr("{host} ({problem})", host=host(mirror), problem=error) for mirror, error in problems.items())
    file, size = archive.name, archive.size_bytes
    raise DataError(
        tr(
            "{file} is not on this machine, and no server delivers it: {reasons}.\n"
            "Put {wanted} into {folder}, or set CIFARLAB_DATA to the folder that holds it.\n"
            "To start now without a download: --data sample.",
            file=file,
            reasons=listed(reasons),
            wanted=tr("{file} ({size:,} bytes)", file=file, size=size) if size else file,
            folder=target.parent,
        )
    ) from next(reversed(problems.values()), None)


def _fetch(archive: Archive, target: Path, mirror: str, patience: Patience) -> None:
    """Continue the part that is already there, whichever mirror sent it, check the whole and give it its name."""
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    try:
        with machine_errors(target):
            if archive.size_bytes is None or have < archive.size_bytes:
                with open_url(mirror, have, patience.read_seconds) as response:
                    _receive(response, part, have, archive)
            _verify(archive, part, resumed=have > 0)
            move(part, target)
            flush_folder(target.parent)
    except MachineError:
        part.unlink(missing_ok=True)  # a full disk needs its space back
        raise


def _receive(response: HTTPResponse, part: Path, have: int, archive: Archive) -> None:
    """Write the body into the part, and stop at the first byte beyond the published size."""
    size = archive.size_bytes
    done = start = _start(response, have, archive)
    # "wb" drops the old part, but only now: a response that was refused above has cost none of it.
    with part.open("r+b" if start else "wb") as file, progress(archive.name, (size or 0) / 1e6, "MB") as advance:
        file.seek(start)
        advance(done / 1e6)
        try:
            # One byte more than is missing is asked for, to notice a server that never stops sending.
            while chunk := _read(response, CHUNK if size is None else min(CHUNK, size + 1 - done)):
                done += len(chunk)
                if size is not None and done > size:
                    file.seek(0)
                    file.truncate()  # nothing of a wrong file is worth continuing
                    message = tr("the server sent more than the {size:,} bytes of the published file")
                    raise UselessMirrorError(message.format(size=size))
                file.write(chunk)
                advance(len(chunk) / 1e6)
        finally:
            file.flush()
            flush(file.fileno())  # the next attempt trusts the length of this file, even after a power cut
    if size is not None and done < size:
        raise MirrorError(tr("the connection ended after {have:,} of {want:,} bytes", have=done, want=size))


def _start(response: HTTPResponse, have: int, archive: Archive) -> int:
    """Return where the body belongs in the file; raises when the server offers something other than the archive."""
    start = 0  # a server without ranges answers 200 and sends the whole file
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise UselessMirrorError(tr("the server sent another part of the file than it was asked for"))
        start = have
    length = response.headers.get("Content-Length", "")
    if archive.size_bytes is not None and length.isdigit() and start + int(length) != archive.size_bytes:
        message = tr("the server offers {have:,} bytes, the published file has {want:,}")
        raise UselessMirrorError(message.format(have=start + int(length), want=archive.size_bytes))
    return start


def _read(response: HTTPResponse, size: int) -> bytes:
    """Return the bytes that have arrived, at most `size`; none at the end. Network errors become MirrorError."""
    try:
        return response.read1(size)  # read() would wait for all of `size`, and a stall would lose what came before it
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(reason(error)) from error


def _verify(archive: Archive, part: Path, *, resumed: bool) -> None:
    """Compare size and checksums with the published ones; a wrong file is put aside as .bad."""
    # MD5 is what the author's page publishes; SHA-256, which is not broken, counts too where it is known.
    with part.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_is_right = archive.size_bytes in (None, part.stat().st_size)
    if size_is_right and md5 == archive.md5 and archive.sha256 in (None, sha256):
        return
    bad = part.with_name(f"{archive.name}.bad")
    move(part, bad)
    # The damage may be in the part that was there before, perhaps from another mirror: this one gets another chance.
    kind = MirrorError if resumed else UselessMirrorError
    message = tr("the checksum is wrong (SHA-256 {sha256}...); the file is kept as {file} and was not read")
    raise kind(message.format(sha256=sha256[:16], file=bad.name))


def _check_folder(folder: Path, archive: Archive) -> None:
    """Raise before the first request when the file could not be kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK) else tr("read-only")
    except OSError as error:
        problem = cause(error)
    if problem:
        raise MachineError(
            tr(
                "{file} is not on this machine, and the folder {folder} cannot keep it: {problem}.\n"
                "Put the file into another folder and set CIFARLAB_DATA to that folder.",
                file=archive.name,
                folder=folder,
                problem=problem,
            )
        )
    need_bytes, free_bytes = archive.size_bytes or 0, shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        raise MachineError(
            tr(
                "{file} needs {want:,.0f} MB in {folder}; it has {have:,.0f}.\n"
                "Free some space, or set CIFARLAB_DATA to a folder that holds the file.",
                file=archive.name,
                want=need_bytes / 1e6,
                folder=folder,
                have=free_bytes / 1e6,
            )
        )
