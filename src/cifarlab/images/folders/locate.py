"""The files that the names in a list stand for: as they are written, or as lists usually write them."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError, cause
from cifarlab.files import is_possible
from cifarlab.images.folders.scan import Tree, link_problem, scan
from cifarlab.images.words import composed, is_picture, split_of
from cifarlab.language import tr

_DRIVE = re.compile(r"[A-Za-z]:/")  # after backslashes became slashes: C:/Users/... of somebody else's list


class Found(NamedTuple):
    """A picture by its name relative to the root, its `stat` (None: missing), and why it cannot be used."""

    name: str
    status: os.stat_result | None
    problem: str = ""


class Finder:
    """Finds the pictures below a root by the names that a list has for them, and keeps to the root.

    What it has seen of the disk is kept, so one finder serves all lists of a data set.
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        self.root = root
        # text instead of Path: a list may have a million names, and Path(...).lstat() takes twice as long as os.stat
        self._prefix = f"{root}/"
        self._real_root = os.path.realpath(root)
        self._tops = tuple(f"{top}{os.sep}" for top in (os.path.normpath(root.absolute()), self._real_root))
        self._follow_links = follow_links
        self._is_reached_by_link: dict[str, bool] = {}
        self._listings: dict[str, dict[str, list[str]]] = {}

    @cached_property
    def tree(self) -> Tree:
        """Everything below the root, scanned once, when it is first needed."""
        return scan(self.root, follow_links=self._follow_links)

    def find(self, text: str, folder: str = "") -> Found:
        """Find a picture by its name in `folder`, which is "" or ends in a slash.

        A name may be absolute, have backslashes for slashes, lack the file's suffix (if only one such picture exists),
        and be in another Unicode form than on disk.
        """
        name = self._relative(text, folder)
        if problem := _name_problem(name):
            return Found(name, None, problem)
        status = self._status(name)
        if status is None or stat.S_ISDIR(status.st_mode):  # a folder: 12 may mean 12.png beside 12/
            meant = self._meant(name)
            if len(meant) > 1:  # 1.png and 1.jpg
                return Found(name, None, tr("may be {names}", names=tr(" or ").join(map(printable, meant))))
            if meant:
                name, status = meant[0], self._status(meant[0])
        if status is None:
            return Found(name, None)
        problem = "" if self._follow_links else self._link_problem(name, status)
        # size and date of the picture itself, because the cache of decoded images is keyed by them
        is_link = stat.S_ISLNK(status.st_mode)
        return Found(name, self._status(name, follow_link=True) if is_link else status, problem)

    def folder_of(self, texts: Sequence[str], split: str | None) -> str:
        """The folder that names are relative to: the root, or if it has none of them, the folder in it that has all.

        split: if several folders have them all, the one of this split is meant. Raises AmbiguousDataError if that does
        not decide.
        """
        if not texts or any(found.status or found.problem for found in map(self.find, texts)):
            return ""
        # Kaggle's CIFAR-10: 1, 2, 3, ... in trainLabels.csv are 1.png, ... in train/, and test/ has the same names
        folders = [entry.name for entry in entries(self.root) if entry.is_dir()]
        having = [folder for folder in folders if all(self.find(text, f"{folder}/").status for text in texts)]
        chosen = [folder for folder in having if split and split_of(folder) == split] or having
        if len(chosen) > 1:
            raise AmbiguousDataError(
                tr(
                    "Several folders in {folder} have all {n:,} pictures of the list: {names}.\n"
                    "Write the folder in front of the names, or remove the others.",
                    folder=printable(str(self.root)),
                    n=len(texts),
                    names=some([*map(printable, chosen)]),
                )
            )
        return f"{chosen[0]}/" if chosen else ""

    def not_listed(self, names: Iterable[str], *, everywhere: bool) -> list[str]:
        """The pictures that are not in `names`: all below the root, or those in its folders that have a listed one."""
        listed, found = set(map(composed, names)), list[str]()
        if everywhere:
            found = [name for folder in self.tree.top.walk() for name in folder.names()]
        else:
            # a CSV may lie in a home folder: only pictures next to the listed ones can have been forgotten
            tops = {name.partition("/")[0] if "/" in name else "" for name in listed}
            beside = entries(self.root)
            found = [entry.name for entry in beside if is_picture(entry.name)] if "" in tops else []
            for entry in beside:
                if entry.name in tops and entry.is_dir():
                    tree = scan(self.root / entry.name, follow_links=self._follow_links)
                    found += [f"{entry.name}/{name}" for folder in tree.top.walk() for name in folder.names()]
        return [name for name in found if composed(name) not in listed]

    def _relative(self, text: str, folder: str) -> str:
        """A name with slashes, relative to the root if it lies below it."""
        # lists made on Windows have img\1.png; elsewhere a file's name may hold a backslash, so that is tried first
        if "\\" in text and self._status(f"{folder}{text}") is None:
            text = text.replace("\\", "/")
        if (text.startswith("/") or text[1:2] == ":") and Path(text).is_absolute():
            path = os.path.normpath(text)
            folded = os.path.normcase(path)  # c:\\users is C:\\Users
            top = next((top for top in self._tops if folded.startswith(os.path.normcase(top))), "")
            return path[len(top) :].replace(os.sep, "/")
        return os.path.normpath(f"{folder}{text}" if text else "").replace(os.sep, "/")

    def _status(self, name: str, *, follow_link: bool = False) -> os.stat_result | None:
        try:
            return os.stat(f"{self._prefix}{name}", follow_symlinks=follow_link)  # noqa: PTH116 Path is slower
        except (OSError, ValueError):  # ValueError: a NUL character, or one that no file system can store
            return None

    def _meant(self, name: str) -> list[str]:
        """The pictures whose names differ from this one in Unicode form, or in that it has no suffix."""
        folder, _, last = name.rpartition("/")
        if folder not in self._listings:
            found: dict[str, list[str]] = defaultdict(list)
            try:
                files = sorted(entry.name for entry in os.scandir(f"{self._prefix}{folder}") if is_picture(entry.name))
            except (OSError, ValueError):
                files = []
            for file in files:
                found[composed(file)].append(file)
                stem = file.rpartition(".")[0]
                if not is_picture(stem):  # a list that says 1.png does not mean 1.png.jpg
                    found[composed(stem)].append(file)
            self._listings[folder] = found
        return [f"{folder}/{file}" if folder else file for file in self._listings[folder].get(composed(last), ())]

    def _link_problem(self, name: str, status: os.stat_result) -> str:
        """The reason not to use a picture that is a link, or is in a linked folder; "" if it stays in the root."""
        folder = name.rpartition("/")[0]
        if folder not in self._is_reached_by_link:  # one look per folder, because there may be many files
            real = os.path.realpath(f"{self._prefix}{folder}")
            self._is_reached_by_link[folder] = real != os.path.normpath(f"{self._real_root}/{folder}")
        if self._is_reached_by_link[folder] or stat.S_ISLNK(status.st_mode):
            return link_problem(f"{self._prefix}{name}", self._real_root)
        return ""


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name; raises DataError where it cannot be listed."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        text = tr("Cannot list {folder}: {cause}.", folder=printable(str(folder)), cause=cause(error))
        raise DataError(text) from error


def _name_problem(name: str) -> str:
    if name in ("", ".") or "\0" in name:
        return tr("names no picture")
    # JSON can hold "\ud800" alone, which neither a file name nor UTF-8 can
    if not name.isascii() and any("\ud800" <= char <= "\udfff" for char in name):
        return tr("names no picture: it has half of a character")
    # before it is looked at: Windows takes "con" for the keyboard, and would wait for what is typed
    if not all(part == ".." or is_possible(part) for part in name.strip("/").split("/")) and not _DRIVE.match(name):
        return tr("names no picture: this system cannot have such a name")
    # a list from the internet must not make /etc or the folder above a training image
    is_outside = name.startswith(("/", "../")) or name == ".." or _DRIVE.match(name)
    return tr("lies outside of the folder of the list") if is_outside else ""
