"""Archives of folders, zip or tar: unpacked once into the cache, pictures and lists alone, trusting no header.

Names stay inside, links and devices are not made, sizes and numbers have limits; each member is checked before it is
written. From there on the data set is a folder.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import itertools
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar, cast

from cifarlab.console import log, printable
from cifarlab.errors import DataError, cause
from cifarlab.files import TEMPORARY_PREFIX, is_possible, lock, machine_errors, move, remove_leftovers
from cifarlab.images.folders.scan import litter
from cifarlab.images.source import NOT_PICTURES
from cifarlab.images.words import SUFFIXES, UNREAD, suffix_of
from cifarlab.language import tr, translatable

LISTS = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl"})
"""Suffixes of files beside pictures that may say what these are."""
MOST_FILES = 5_000_000  # ImageNet has 1.3 million
MOST_BYTES = 128_000_000
"""Bytes of one picture or list."""
MOST_GROWTH, ALWAYS_ALLOWED = 200, 100_000_000
"""An archive may unpack to this many times its size, plus this many bytes. Only blank pictures compress further."""

_REFUSED_NAME = {errno.EINVAL, errno.ENAMETOOLONG, errno.ENOENT}  # the last is what Windows says of a long path
_CARD, _FILES = "card.json", "files"
_COMPRESSIONS: Mapping[str, Any] = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Suffix of a tar archive -> what opens it. Not tarfile's own "r:*", whose stream cannot be bounded."""
_DAMAGE = (
    *(EOFError, ValueError, LookupError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, struct.error),
    *(tarfile.TarError, zipfile.BadZipFile),
)
"""What the standard library raises for archives that are damaged, encrypted, or packed in a way it does not know."""


def unpack(path: Path, cache_dir: Path) -> tuple[Path, dict[str, list[str]]]:
    """Unpack an archive below `cache_dir`, once; returns the folder, and the names that are left out by reason.

    Raises DataError for an archive that is damaged, encrypted or hostile, MachineError if the disk refuses it.
    """
    try:
        status = path.stat()
    except OSError as error:
        text = tr("Cannot read {file}: {cause}.", file=printable(str(path)), cause=cause(error))
        raise DataError(text) from error
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", path.name.partition(".")[0]).strip("-")[:40]
    known_by = f"{readable}-{hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:12]}"
    # path, size and date: an archive that was downloaded again under its old name is unpacked again
    place = cache_dir / "unpacked" / f"{known_by}-{status.st_size:x}-{status.st_mtime_ns:x}"
    left_out = _stored(place)
    if left_out is None:
        with lock(place.parent / ".lock", wait=True):
            left_out = _stored(place)  # another process may have been first
            if left_out is None:
                remove_leftovers(place.parent)  # a killed process may have left gigabytes
                for outdated in place.parent.glob(f"{known_by}-*"):
                    shutil.rmtree(outdated, ignore_errors=True)
                left_out = _unpack_to(place, path, status.st_size)
    return place / _FILES, left_out


@dataclass(frozen=True)
class Unpacked:
    """An unpacked archive in the cache."""

    place: Path
    source: str
    num_files: int
    size_bytes: int
    last_used: float
    """Seconds since 1970."""


def list_unpacked(cache_dir: Path) -> list[Unpacked]:
    """All unpacked archives in the cache, sorted by the archives' paths."""
    found = []
    for file in (cache_dir / "unpacked").glob(f"*/{_CARD}"):
        try:
            card = json.loads(file.read_text("utf-8"))
            facts = printable(card["source"]), int(card["num_files"]), int(card["size_bytes"]), file.stat().st_mtime
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.debug("%s cannot be read: %s", file, error)
            facts = translatable("(damaged)"), 0, 0, 0.0
        found.append(Unpacked(file.parent, *facts))
    return sorted(found, key=lambda unpacked: unpacked.source)


def remove_unpacked(chosen: Iterable[Unpacked]) -> None:
    """Delete unpacked archives; they are unpacked again when they are needed."""
    for unpacked in chosen:
        shutil.rmtree(unpacked.place, ignore_errors=True)
        if unpacked.place.exists():  # Windows keeps what is open
            log.warning(tr("{file} is in use. It goes when the cache is cleared after that.", file=unpacked.place))


def _stored(place: Path) -> dict[str, list[str]] | None:
    """The names left out when this folder was made; None if it has to be made. Its card is written last."""
    try:
        left_out: dict[str, list[str]] = json.loads((place / _CARD).read_text("utf-8"))["left_out"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning(tr("{file} is damaged ({cause}); unpacking again.", file=place, cause=error))
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(place / _CARD)  # the date of last use, by which `cifarlab data cache --older-than` chooses
    return left_out


def first_names(path: Path, number: int = 20) -> list[str]:
    """The first names in an archive, to tell what it is; none if it is damaged."""
    try:  # 2**40 bytes: no bound is needed to read some names
        with _members(path, printable(str(path)), 2**40) as members:
            return [member.name.removeprefix("./") for member in itertools.islice(members, number)]
    except (DataError, OSError):
        return []


def _unpack_to(place: Path, path: Path, packed_bytes: int) -> dict[str, list[str]]:
    """Unpack under a temporary name, which becomes `place` when everything is there."""
    where = printable(str(path))
    log.info(tr("Unpacking {file}, once, into {folder}.", file=where, folder=place))
    with machine_errors(place):
        # longer than the place: on a system that limits paths, what can be written here can be read there
        temporary = place.with_name(f"{TEMPORARY_PREFIX}new-{place.name}")
        try:
            (temporary / _FILES).mkdir(parents=True)
            with _members(path, where, MOST_GROWTH * packed_bytes + ALWAYS_ALLOWED) as members:
                left_out = _write(members, temporary / _FILES, where)
            sizes = [file.stat().st_size for file in (temporary / _FILES).rglob("*") if file.is_file()]
            facts = {"source": os.path.realpath(path), "num_files": len(sizes), "size_bytes": sum(sizes)}
            (temporary / _CARD).write_text(json.dumps({**facts, "left_out": left_out}), "utf-8")
            move(temporary, place)  # atomic, on one file system: nobody ever reads half of a data set
            return left_out
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: the path and size that it claims, why it is not a plain file, and what opens it."""

    name: str
    size_bytes: int
    problem: str
    open: Callable[[], IO[bytes] | None]


def _write(members: Iterator[_Member], folder: Path, where: str) -> dict[str, list[str]]:
    """Write pictures and lists into `folder`; returns the names of everything else by the reason to leave it out."""
    left_out, written = defaultdict[str, list[str]](list), set[str]()
    made = {PurePosixPath()}
    for member in members:
        name = _checked_name(member.name, where)
        suffix = suffix_of(name)
        is_wanted = suffix in SUFFIXES or suffix in LISTS or suffix in UNREAD
        if reason := next(filter(None, map(litter, name.split("/"))), ""):
            left_out[reason].append(name)
        elif member.problem and (is_wanted or not suffix):  # a link without a suffix may stand for a class folder
            text = tr("{file} cannot be used: {name} {problem}.\nPack the files themselves.")
            raise DataError(text.format(file=where, name=printable(name), problem=member.problem))
        elif not is_wanted:
            left_out[NOT_PICTURES].append(name)
        elif name in written:  # a reader that checks the first and unpacks the second could be deceived
            raise DataError(tr("{file} cannot be used: it holds {name} twice.", file=where, name=printable(name)))
        elif len(written) >= MOST_FILES:
            raise DataError(tr("{file} cannot be used: it holds more than {n:,} files.", file=where, n=MOST_FILES))
        elif member.size_bytes > MOST_BYTES:
            text = tr("{file} cannot be used: {name} has {size:,.0f} MB, more than the {most:.0f} allowed.")
            size, most = member.size_bytes / 1e6, MOST_BYTES / 1e6
            raise DataError(text.format(file=where, name=printable(name), size=size, most=most))
        else:
            written.add(name)
            # a format that is not read is reported by its name: an empty file of that name will do
            content = b"" if suffix in UNREAD else _content(member, where)
            with _name_errors(where, name):
                _make_folders(folder, PurePosixPath(name).parent, made)
                with (folder / name).open("xb") as file:
                    file.write(content)
    return left_out


def _make_folders(top: Path, inner: PurePosixPath, made: set[PurePosixPath]) -> None:
    """Make the folders of a path below `top`, but for those that were made before; FileExistsError for any other."""
    for each in reversed((inner, *inner.parents)):
        if each not in made:
            (top / each).mkdir()
            made.add(each)


@contextmanager
def _name_errors(where: str, name: str) -> Iterator[None]:
    """Say which member a file system refuses: Cat/1.png beside cat/1.png where case does not count, or a long path."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(
            tr(
                "{file} cannot be used: it holds {name}, and a file or a folder of the same name.\n"
                "This system may tell no capital letters from small ones. Unpack it, rename one and give the folder.",
                file=where,
                name=printable(name),
            )
        ) from error
    except OSError as error:
        if error.errno not in _REFUSED_NAME:
            raise
        raise DataError(
            tr(
                "{file} cannot be used: this system refuses a file called {name} ({cause}).\n"
                "Unpack it where paths are shorter, and give the folder.",
                file=where,
                name=printable(name),
                cause=cause(error),
            )
        ) from error


def _checked_name(name: str, where: str) -> str:
    """The path of a member, which is below the folder that it is unpacked to and nowhere else."""
    path = PurePosixPath(name)
    # file systems allow names of 255 bytes, and Linux paths of 4,096, of which the cache folder takes some
    too_long = len(os.fsencode(name)) > 3000 or any(len(os.fsencode(part)) > 255 for part in path.parts)
    is_inside = path.parts and not path.is_absolute() and ".." not in path.parts and "\0" not in name
    # on Windows a backslash or a colon could lead out of the folder, too
    if not is_inside or too_long or not all(map(is_possible, path.parts)):
        shown = printable(name if len(name) <= 100 else f"{name[:100]}...")
        text = tr("{file} cannot be used: it holds a file called '{name}'.\nPack the files anew.")
        raise DataError(text.format(file=where, name=shown))
    return str(path)


def _content(member: _Member, where: str) -> bytes:
    try:
        file = member.open()
        # one byte more than claimed shows a bomb; a read without a bound would fill the memory first
        content = file.read(member.size_bytes + 1) if file else b""
    except OSError as error:
        raise DataError(tr("Cannot read {file}: {cause}.", file=where, cause=error)) from error
    if len(content) != member.size_bytes:
        text = tr("{file} is damaged: {name} has another size than it claims.")
        raise DataError(text.format(file=where, name=printable(member.name)))
    return content


@contextmanager
def _members(path: Path, where: str, most_bytes: int) -> Iterator[Iterator[_Member]]:
    """The files of an archive, one after the other; raises DataError where it is damaged."""
    name = path.name.lower()
    opened = _COMPRESSIONS.get(suffix_of(name), open)
    try:
        with opened(path, "rb") as file:
            if name.endswith(".zip"):
                with zipfile.ZipFile(file) as archive:
                    yield _zip_members(archive, where, most_bytes)
            else:
                bounded = cast(IO[bytes], _Bounded(file, where, most_bytes))
                with tarfile.open(fileobj=bounded, mode="r:") as tar:
                    yield _tar_members(tar)
    except _DAMAGE as error:
        problem = printable(str(error)) or type(error).__name__
        raise DataError(tr("{file} cannot be unpacked: {problem}.", file=where, problem=problem)) from error


def _zip_members(archive: zipfile.ZipFile, where: str, most_bytes: int) -> Iterator[_Member]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    # a zip states all sizes in its directory at the end, so that a bomb is refused before anything is written
    if sum(member.file_size for member in members) > most_bytes:
        raise DataError(_too_much(where, most_bytes))
    for member in members:
        is_link = stat.S_ISLNK(member.external_attr >> 16)  # a zip from Unix keeps st_mode in the upper 16 bits
        # some programs on Windows write backslashes, against the specification; on Unix they may belong to a name
        name = member.filename.replace("\\", "/") if member.create_system == 0 else member.filename  # 0: Windows
        yield _Member(name, member.file_size, tr("is a link") if is_link else "", partial(archive.open, member))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    while (member := archive.next()) is not None:
        if not member.isdir():
            is_link = member.issym() or member.islnk()
            problem = tr("is a link") if is_link else "" if member.isreg() else tr("is not a file")
            yield _Member(member.name, member.size, problem, partial(archive.extractfile, member))
        archive.members = []  # type: ignore[attr-defined]  # it would remember all of them
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    # tarfile takes a file that was cut off between two members for a whole one; a whole one ends in zeros
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(tr("its end is missing"))
    while archive.fileobj.read(2**16):  # the checksum that proves the file whole comes last
        pass


def _too_much(where: str, most_bytes: int) -> str:
    return tr(
        "{file} unpacks to more than {size:,.0f} MB, which is far more than pictures of its size do.\n"
        "If that is right, unpack it yourself and give the folder.",
        file=where,
        size=most_bytes / 1e6,
    )


Result = TypeVar("Result")


class _Bounded:
    """A decompressed stream for tarfile that raises DataError when it becomes longer than pictures can make it."""

    def __init__(self, file: IO[bytes], where: str, most_bytes: int) -> None:
        self.file, self.where, self.most_bytes = file, where, most_bytes

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; a header that wants more than a picture may have is hostile."""
        # tarfile reads a pax header or a long name of any size into memory before anybody can look at it
        if size > MOST_BYTES + 1:
            raise DataError(tr("{file} is damaged: it has a header of {n:,} bytes.", file=self.where, n=size))
        return self._bounded(lambda: self.file.read(size))

    def seek(self, place: int) -> int:
        """Go to a position; in a compressed stream everything before it is decompressed on the way."""
        if place > self.most_bytes:
            raise DataError(_too_much(self.where, self.most_bytes))
        return self._bounded(lambda: self.file.seek(place))

    def tell(self) -> int:
        """The position in the decompressed stream."""
        return self.file.tell()

    def _bounded(self, act: Callable[[], Result]) -> Result:
        try:
            result = act()
        except OSError as error:
            raise DataError(tr("{file} is damaged: {problem}.", file=self.where, problem=error)) from error
        if self.file.tell() > self.most_bytes:
            raise DataError(_too_much(self.where, self.most_bytes))
        return result
