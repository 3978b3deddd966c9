"""Read named members of a tar.gz in one pass, without extracting and without trusting any header field.

Only plain headers are understood (POSIX ustar, and what older versions of GNU tar wrote). A long name, an extended
header or a sparse map is skipped like any other unlisted member, so it can neither rename nor resize a listed one. The
standard library's tarfile believes such headers, and has no limit on what it unpacks.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cifarlab.errors import DataError
from cifarlab.language import tr

BLOCK = 512
"""Bytes; headers and contents begin at multiples of it."""
REGULAR = (b"0", b"\0")
"""Type flags of regular files: ustar's, and that of the format before it."""
WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders, FIFOs: whatever size their header claims, no content follows."""


def read_members(path: Path, limits: Mapping[str, int], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every member that `limits` names, in the order of the archive.

    limits: the most bytes that each may have. max_bytes: the most that the whole archive may unpack to; reading stops
    there. Raises DataError for a listed member that is not a regular file, comes twice or is too large, and for a
    damaged header; EOFError, gzip.BadGzipFile or zlib.error for a file that is cut off or damaged.
    """
    seen: set[str] = set()
    with gzip.open(path) as file:
        stream = _Stream(file, path, max_bytes)
        while (member := _parse(stream.read(BLOCK), path)) is not None:
            # Compared as a whole string and never joined to a path, so "../" and absolute names lead nowhere.
            if member.name in limits:
                problem, limit = None, limits[member.name]
                if member.kind not in REGULAR:
                    problem = tr("{name} is not a regular file")
                elif member.name in seen:  # tar would take the last, which may not be the one that was checked
                    problem = tr("{name} comes twice")
                elif member.size > limit:  # before it takes any memory
                    problem = tr("{name} has {size:,} bytes, at most {limit:,} are allowed")
                if problem:
                    problem = problem.format(name=member.name, size=member.size, limit=limit)
                    raise DataError(tr("{path}: {problem}.\nDownload the archive again.", path=path, problem=problem))
                seen.add(member.name)
                yield member.name, stream.read(member.size)
                stream.skip(-member.size % BLOCK)  # contents are padded to whole blocks
            elif member.kind not in WITHOUT_CONTENT:
                stream.skip(member.size + -member.size % BLOCK)
        stream.drain()  # gzip compares its CRC and length at the very end, after the padding of the tar


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: bytes


class _Stream:
    """The unpacked bytes, counted, so that a small file cannot unpack to a whole disk's worth."""

    def __init__(self, file: gzip.GzipFile, path: Path, max_bytes: int) -> None:
        self.file, self.path, self.left = file, path, max_bytes

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes; raises EOFError when there are fewer."""
        self._count(size)
        content = self.file.read(size)
        if len(content) < size:
            raise EOFError
        return content

    def skip(self, size: int) -> None:
        """Skip `size` bytes, at most 1 MiB at a time: gzip cannot seek without unpacking."""
        self._count(size)
        while size:
            content = self.file.read(min(size, 2**20))
            if not content:
                raise EOFError
            size -= len(content)

    def drain(self) -> None:
        """Read to the end."""
        while content := self.file.read(2**16):
            self._count(len(content))

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(
                tr(
                    "{path} unpacks to more than an official archive does: reading stopped.\n"
                    "Delete it and download the archive again.",
                    path=self.path,
                )
            )


def _parse(block: bytes, path: Path) -> _Member | None:
    """Parse a header; return None for the block of zeros that ends an archive."""
    # Fields by offset: name 0, size 124, checksum 148, type 156, magic 257, prefix 345.
    if not any(block):
        return None
    try:
        size, checksum = _octal(block[124:136]), _octal(block[148:156])
    except ValueError as error:
        raise _damaged_header(path, str(error)) from error
    # The sum of all bytes, with the eight of the checksum itself taken as spaces.
    if checksum != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise _damaged_header(path, tr("wrong checksum"))
    name = _text(block[:100])
    # ustar splits names of more than 100 bytes. GNU tar writes "ustar  " and keeps other things in the prefix's place.
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return _Member(name.removeprefix("./"), size, block[156:157])  # `tar -c .` writes ./cifar-10-batches-py/...


def _damaged_header(path: Path, reason: str) -> DataError:
    return DataError(
        tr("{path} has a damaged header: {reason}.\nDownload the archive again.", path=path, reason=reason)
    )


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    # int() would also take signs, underscores and a 0o; GNU's binary sizes, with the top bit set, are refused, too.
    if not all(byte in b"01234567" for byte in digits):
        raise ValueError(tr("{field!r} is not a size", field=field))
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    # Names in any encoding are kept apart: surrogateescape maps different bytes to different strings.
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
