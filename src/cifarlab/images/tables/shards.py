"""Which parquet files make up a data set: its configurations, their splits, and the shards of each split.

As they lie in a repository of Hugging Face, in its cache, or in a folder that somebody wrote with pandas:

    train.parquet, test.parquet                 a file for each split
    data/train-00000-of-00002[-<hash>].parquet  shards that say how many there are
    <configuration>/<split>/0000.parquet        shards that are only numbered
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarlab.console import some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.scan import MARKS
from cifarlab.images.source import NO_IMAGES, NO_SPLIT
from cifarlab.images.words import SYSTEM_NAMES, SplitRule, is_picture

SUFFIX = ".parquet"
MAX_DEPTH = 4
"""Folders between a given path and a file: as in the hub's cache, snapshots/<revision>/<configuration>/<split>."""

_SHARD = (
    re.compile(r"(?P<stem>.*?)[-_.]?(?P<number>\d+)-of-(?P<total>\d+)(?:-.*)?"),  # what datasets and the hub write
    re.compile(r"(?P<stem>part)-(?P<number>\d+)-.+"),  # Spark adds a UUID
    re.compile(r"(?:(?P<stem>.*)[-_.])?(?P<number>\d+)"),
)


@dataclass(frozen=True)
class Tables:
    """The parquet files of one data set.

    splits: split -> its shards in order; None stands for files whose names say no split. left_out: reason -> files.
    """

    splits: dict[str | None, tuple[Path, ...]]
    left_out: dict[str, list[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """What the name of a file says: the table that it is a shard of, which one, and of how many."""

    file: Path
    stem: str
    number: str = ""
    total: int | None = None

    @property
    def index(self) -> int:
        return int(self.number or 0)


def file_tables(path: Path, split_of: SplitRule) -> Tables:
    """A single file as a data set; raises DataError for one of several shards."""
    part = _part(path)
    if part.total is not None and part.total > 1:
        raise DataError(f"{path} is one of {part.total} shards.\nGive the folder that holds them all: {path.parent}")
    return Tables({split_in(path, split_of): (path,)})


def configurations(root: Path, split_of: SplitRule) -> tuple[list[list[Path]], int]:
    """The parquet files below a folder, grouped by configuration, and how many folders there hold pictures.

    A configuration is a folder with files, or with folders called after splits that hold them.
    """
    files, num_picture_folders = _walk(root)
    groups: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folder = file.parent
        in_split_folder = folder != root and split_in(file, split_of) is None and _said(folder, split_of) is not None
        groups[folder.parent if in_split_folder else folder].append(file)
    # A folder beside split folders that is called after no split (SVHN's `extra`) belongs to the same configuration.
    for folder in sorted(groups):
        beside = groups.get(folder.parent, [])
        if any(file.parent != folder.parent for file in beside):
            beside.extend(groups.pop(folder))
    return [sorted(group) for _, group in sorted(groups.items())], num_picture_folders


def tables(root: Path, files: Sequence[Path], without_images: Sequence[Path], split_of: SplitRule) -> Tables:
    """Divide the files of one configuration by split; `without_images` lie below `root`, too.

    Raises DataError for shards that are missing, come twice or do not belong together; AmbiguousDataError where several
    tables could be one split, or none says its split.
    """
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for file in files:
        # Spark and Dask write folders called train.parquet, of which one may be the root
        is_table = file.parent != root or root.name.lower().endswith(SUFFIX)
        by_split[split_in(file, split_of) or (_said(file.parent, split_of) if is_table else None)].append(file)
    left_out = {NO_IMAGES: list(without_images)} if without_images else {}
    if len(by_split) > 1 and None in by_split:
        left_out[NO_SPLIT] = by_split.pop(None)
    return Tables({split: _shards(split or "a split", each) for split, each in by_split.items()}, left_out)


def folder_of(files: Sequence[Path]) -> Path:
    """The lowest folder that all files lie in."""
    return Path(os.path.commonpath([file.parent for file in files]))


def split_in(file: Path, split_of: SplitRule) -> str | None:
    """The split that a file's name says; None where it says none, or two."""
    stem = _part(file).stem
    for name in (file.name, file.stem, stem):  # what a user may have named in full
        if (split := split_of(name)) is not None:
            return split
    said = {split for word in re.split(r"[-_.\s]+", stem) if (split := split_of(word)) is not None}
    return said.pop() if len(said) == 1 else None


def _said(folder: Path, split_of: SplitRule) -> str | None:
    """The split that the name of a folder says."""
    name = folder.name
    return split_of(name) or split_of(name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name)


def _walk(root: Path) -> tuple[list[Path], int]:
    files, num_picture_folders, seen = list[Path](), 0, set[str]()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_cannot_list):
        is_ours = Path(folder) != root and not MARKS.isdisjoint(names)  # a run's, whose tables are results
        if (real := os.path.realpath(folder)) in seen or is_ours:
            subfolders.clear()
            continue
        seen.add(real)
        depth = len(Path(folder).relative_to(root).parts)
        subfolders[:] = sorted(filter(_is_visible, subfolders)) if depth < MAX_DEPTH else []
        visible = list(filter(_is_visible, names))
        files += [Path(folder, name) for name in visible if name.lower().endswith(SUFFIX)]
        num_picture_folders += any(is_picture(name) for name in visible)
    return files, num_picture_folders


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.casefold() not in SYSTEM_NAMES


def _cannot_list(error: OSError) -> None:
    raise DataError(f"Cannot list {error.filename}: {error.strerror}.") from error


def _part(file: Path) -> _Part:
    name = file.name[: -len(SUFFIX)] if file.name.lower().endswith(SUFFIX) else file.name
    for pattern in _SHARD:
        if match := pattern.fullmatch(name.removesuffix(".snappy")):
            found = match.groupdict()
            total = found.get("total")
            return _Part(file, found["stem"] or "", found["number"], int(total) if total else None)
    return _Part(file, name.removesuffix(".snappy"))


def _shards(split: str, files: Iterable[Path]) -> tuple[Path, ...]:
    """The files of one split in the order of their numbers, when they are all there and belong together."""
    parts = sorted(map(_part, files), key=lambda part: (part.file.parent, part.stem, part.index, part.file.name))
    names = [part.file.name for part in parts]
    where, total, indices = parts[0].file.parent, parts[0].total, [part.index for part in parts]
    if len({(part.file.parent, part.stem) for part in parts}) > 1:
        raise AmbiguousDataError(
            f"{where} has several tables that could be {split}: {some(names)}.\n"
            'Give the path of one file, or say which is which with --split-names, such as "train=NAME,test=NAME".'
        )
    if len({part.total for part in parts}) > 1 or len(set(indices)) < len(parts):
        raise DataError(
            f"{where} holds two versions of {split}: {some(names)}.\nRemove the files of the one that is not wanted."
        )
    if total is not None and (len(parts) != total or indices != list(range(len(parts)))):
        raise DataError(
            f"{where} has {len(parts)} files like {names[0]}, with the numbers {some([*map(str, indices)])}; "
            f"all {total} are needed, 0 to {total - 1}.\nPut the missing ones beside them."
        )
    # A single file with a number may be called so (cifar-10.parquet), unless it is written like the number of a shard.
    is_numbered = len(parts) > 1 or parts[0].number.startswith("0")
    first = min(indices[0], 1)
    if total is None and is_numbered and indices != list(range(first, first + len(parts))):
        raise DataError(
            f"The numbers of the files for {split} in {where} leave gaps: {some(names)}.\n"
            "Put the missing ones beside them, or number the files from 0."
        )
    return tuple(part.file for part in parts)
