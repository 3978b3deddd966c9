"""One walk through a folder: the pictures and folders in it, what is left out and why, which links are not followed."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import DataError, cause
from cifarlab.images.source import HIDDEN, NOT_PICTURES, OURS, SYSTEM
from cifarlab.images.words import SYSTEM_NAMES, UNREAD, is_picture, suffix_of
from cifarlab.language import tr, translatable
from cifarlab.runs.paths import RECIPE_FILE

MOST_LINKED_FOLDERS = 100_000
"""Links to folders that hold links to folders multiply; no real data set has so many."""

CIRCLE = translatable("leads in a circle")
"""Why a link to a folder around it is not followed: nothing new is there."""

MARKS = frozenset({RECIPE_FILE, "explanations.html"})
"""A folder below the data that holds one of these was written by cifarlab: a run, a group of runs, explanations.

`cd photos && cifarlab train quick --data .` puts runs/ among the classes; their figures are pictures, too.
"""


@dataclass(eq=False)  # compared and hashed by identity: folders are keys, and their contents change during the walk
class Folder:
    """A folder that was looked into, by its path relative to the root ("" for the root itself).

    pictures: the files right inside it, with their `stat`. unread: those in formats that are not read.
    """

    name: str
    pictures: list[tuple[str, os.stat_result]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    num_pictures: int = 0
    """In it and in all folders below."""

    @property
    def basename(self) -> str:
        """The folder's own name."""
        return self.name.rpartition("/")[2]

    @property
    def filled(self) -> list[Folder]:
        """The folders right inside it that hold pictures, directly or further down."""
        return [folder for folder in self.folders if folder.num_pictures]

    def relative_to(self, top: Folder) -> str:
        """The folder's path relative to a folder above it; empty for that folder itself."""
        return self.name.removeprefix(top.name).lstrip("/")

    def find(self, name: str) -> Folder | None:
        """The folder below this one with a relative path; None if there is none."""
        folder: Folder | None = self
        for part in filter(None, name.strip("/").split("/")):
            folder = next((each for each in folder.folders if each.basename == part), None) if folder else None
        return folder

    def names(self) -> list[str]:
        """The pictures right inside it, relative to the root."""
        return [f"{self.name}/{name}" if self.name else name for name, _ in self.pictures]

    def walk(self) -> Iterator[Folder]:
        """This folder and all below it, each before what is inside it."""
        waiting = [self]  # a stack of our own: a hostile archive may nest deeper than Python's recursion
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting.extend(reversed(folder.folders))


@dataclass
class Tree:
    """Everything below a root that may matter: `left_out` has the names by reason, `refused` the links with theirs."""

    root: Path
    top: Folder
    left_out: dict[str, list[str]]
    refused: list[tuple[str, str]]

    def refuse_links(self) -> None:
        """Raise DataError where there are links that are not followed."""
        if self.refused:
            links = some([f"{printable(name)} {tr(reason)}" for name, reason in self.refused], 3)
            raise DataError(
                tr(
                    "{folder} holds symbolic links that are not followed: {links}.\n"
                    "Follow those that leave the folder with --follow-links (data.follow_links = true); replace or "
                    "remove the others.",
                    folder=printable(str(self.root)),
                    links=links,
                )
            )


def scan(root: Path, *, follow_links: bool = False) -> Tree:
    """Walk through a folder once, in the order of names; only pictures are looked at with `stat`.

    Raises DataError when a folder cannot be listed.
    """
    tree = Tree(root, Folder(""), defaultdict(list), [])
    links = _Links(os.path.realpath(root), follow_links)
    # with each folder: its path, its real path, and the real paths of the folders whose links led to it; the real path
    # grows by a name per folder, because realpath() would look at every folder above it each time
    waiting: list[tuple[Folder, str, str, tuple[str, ...]]] = [(tree.top, os.fspath(root), links.root, ())]
    found = []
    try:
        while waiting:
            folder, path, real, crossed = waiting.pop()
            found.append(folder)
            # scandir knows what is a folder without a stat, a round trip on network drives; its order is arbitrary
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
            # the root itself was named by the user, and may be a folder of figures in a run
            if folder.name and any(entry.name in MARKS for entry in entries):
                tree.left_out[OURS].append(folder.name)
                continue
            for entry in entries:
                name = f"{folder.name}/{entry.name}" if folder.name else entry.name
                if reason := litter(entry.name):
                    tree.left_out[reason].append(name)
                    continue
                target = links.follow(entry, real, crossed) if _is_link(entry) else None
                if isinstance(target, _Refused):
                    if target.may_be_data or is_picture(entry.name):
                        tree.refused.append((name, target.reason))
                    else:  # a broken link called README.txt is no reason to refuse the data
                        tree.left_out[NOT_PICTURES].append(name)
                elif entry.is_dir():
                    inner = Folder(name)
                    folder.folders.append(inner)
                    way = crossed if target is None else (*crossed, real)
                    waiting.append((inner, entry.path, target or f"{real}{os.sep}{entry.name}", way))
                elif is_picture(entry.name) and entry.is_file():  # not a pipe or a socket, which could block a reader
                    folder.pictures.append((entry.name, entry.stat()))
                elif (suffix := suffix_of(entry.name)) in UNREAD and entry.is_file():
                    folder.unread.append(name)
                    tree.left_out[UNREAD[suffix]].append(name)
                else:
                    tree.left_out[NOT_PICTURES].append(name)
    except OSError as error:
        text = tr("Cannot list {folder}: {cause}: {place}.")
        place = printable(str(error.filename))
        raise DataError(text.format(folder=printable(os.fspath(root)), cause=cause(error), place=place)) from error
    ours = set(tree.left_out.get(OURS, ()))
    for folder in reversed(found):  # what is inside comes before what holds it
        folder.folders = [inner for inner in folder.folders if inner.name not in ours]
        folder.num_pictures = len(folder.pictures) + sum(inner.num_pictures for inner in folder.folders)
    for names in tree.left_out.values():
        names.sort()
    tree.refused.sort()
    return tree


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether it is a symbolic link or a junction, which is what folders on Windows are linked by (Python 3.12)."""
    is_junction: Callable[[], bool] = getattr(entry, "is_junction", bool)
    return entry.is_symlink() or is_junction()


def litter(name: str) -> str:
    """The reason to leave out any file or folder of this name; empty if there is none."""
    # macOS leaves ._1.jpg beside 1.jpg on other file systems and in archives: a picture by its suffix alone
    if name.startswith("."):
        return HIDDEN
    return SYSTEM if name.casefold() in SYSTEM_NAMES else ""


@dataclass(frozen=True)
class _Refused:
    """Why a link is not followed; `may_be_data` when it leads, or seems to lead, to a folder."""

    reason: str
    may_be_data: bool


class _Links:
    """Decides which links are followed."""

    def __init__(self, root: str, follow: bool) -> None:
        self.root, self.follow_all, self.num_folders = root, follow, 0

    def follow(self, entry: os.DirEntry[str], real: str, crossed: Sequence[str]) -> str | _Refused:
        """Where a link in the folder `real` leads, or why it is not followed."""
        target = os.path.realpath(entry.path)
        if problem := link_problem(entry.path, self.root, follow_links=self.follow_all):
            # a broken link without a suffix may have been a class folder
            return _Refused(problem, Path(target).is_dir() or not suffix_of(entry.name))
        if entry.is_dir():
            # a circle is a link to a folder that contains it; two links to one folder are merely two copies
            if any(_is_inside(folder, target) for folder in (*crossed, real)):
                return _Refused(CIRCLE, may_be_data=True)
            self.num_folders += 1
            if self.num_folders > MOST_LINKED_FOLDERS:
                text = tr("{folder} has more than {n:,} links to folders: they multiply.")
                raise DataError(text.format(folder=printable(self.root), n=MOST_LINKED_FOLDERS))
        return target


def link_problem(path: str, real_root: str, *, follow_links: bool = False) -> str:
    """Say why a link is not followed; empty when it stays inside `real_root`, or may leave it, and leads somewhere."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError:
        return tr("leads nowhere or in a circle")
    # a link out of a downloaded data set could make anything on the machine a training image
    if not follow_links and not _is_inside(target, real_root):
        return tr("leads out of the folder, to {target}", target=printable(target))
    return ""


def _is_inside(path: str, folder: str) -> bool:
    # with the separator, so that /data/set-2 is not inside /data/set
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
