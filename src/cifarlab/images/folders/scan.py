"""The picture files below a folder: what is there, what is passed over, and which links are refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarlab.console import log, printable, some
from cifarlab.errors import DataError
from cifarlab.images.words import SUFFIXES

_ARCHIVE_LITTER = "__MACOSX"
"""A folder that macOS adds to its zip files; it holds no pictures."""


@dataclass
class Scan:
    """Everything below a root: picture files and folders by relative name, and the names passed over."""

    files: list[tuple[str, os.stat_result]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def scan(root: Path) -> Scan:
    """Walk through a folder; the result is in the order of names.

    Hidden files and files without a picture's suffix are passed over with a debug note. Raises DataError when
    the folder cannot be listed, and for symbolic links that leave the folder, dangle or run in a circle.
    """
    found, refused = Scan(), list[str]()
    real_root = os.path.realpath(root)
    # (folder, prefix of the names in it, real paths of the folders it was reached through)
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(os.fspath(root), "", (real_root,))]
    try:
        while waiting:
            folder, prefix, chain = waiting.pop()
            for entry in os.scandir(folder):
                name = prefix + entry.name
                if entry.name.startswith(".") or entry.name == _ARCHIVE_LITTER:
                    continue
                if entry.is_symlink() and (problem := link_problem(entry.path, real_root, chain)):
                    refused.append(f"{printable(name)} {problem}")
                elif entry.is_dir():
                    found.folders.append(name)
                    waiting.append((entry.path, f"{name}/", (*chain, os.path.realpath(entry.path))))
                elif entry.is_file() and Path(name).suffix.lower() in SUFFIXES:
                    found.files.append((name, entry.stat()))
                else:
                    found.ignored.append(name)
    except OSError as error:
        raise DataError(f"Cannot list {printable(os.fspath(root))}: {error.strerror}: {error.filename!r}.") from error
    if refused:
        raise DataError(
            f"{root} holds symbolic links that are not followed: {some(sorted(refused))}.\n"
            "Replace them by the files they point to, or remove them."
        )
    if found.ignored:
        log.debug("Passed over in %s, no pictures: %s", root, some(sorted(map(printable, found.ignored))))
    found.files.sort(key=lambda file: file[0])
    found.folders.sort()
    return found


def link_problem(path: str, real_root: str, chain: Sequence[str] = ()) -> str:
    """Say why a link is not followed; empty when it stays inside `real_root` and runs in no circle."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError:
        return "leads nowhere or in a circle"
    if target in chain:
        return "leads in a circle"
    if os.path.commonpath([target, real_root]) != real_root:
        return f"leads out of the folder, to {printable(target)}"
    return ""
