"""Find the parquet files that make up a data set: its configurations, their splits, and the shards of each split.

The layouts are those of a repository on the Hugging Face Hub, of its cache, and of a folder written with pandas:

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
from cifarlab.errors import AmbiguousDataError, DataError, cause
from cifarlab.images.folders.scan import MARKS
from cifarlab.images.source import NO_IMAGES, NO_SPLIT
from cifarlab.images.words import SYSTEM_NAMES, SplitRule, is_picture
from cifarlab.language import tr

SUFFIX = ".parquet"
MAX_DEPTH = 4
"""Folders between a given path and a file, as in the Hub's cache: snapshots/<revision>/<configuration>/<split>."""

_SHARD = (
    re.compile(r"(?P<stem>.*?)[-_.]?(?P<number>\d+)-of-(?P<total>\d+)(?:-.*)?"),  # what datasets and the Hub write
    re.compile(r"(?P<stem>part)-(?P<number>\d+)-.+"),  # Spark adds a UUID
    re.compile(r"(?:(?P<stem>.*)[-_.])?(?P<number>\d+)"),  # 0000.parquet, the Hub's own conversions; train_1.parquet
)


@dataclass(frozen=True)
class Tables:
    """The parquet files of one data set.

    splits: split -> its shards in order; the key None is for files whose names say no split. left_out: reason -> files.
    """

    splits: dict[str | None, tuple[Path, ...]]
    left_out: dict[str, list[Path]] = field(default_factory=dict)


@dataclass(frozen=True)
class _ShardName:
    """What the name of a file says: the table that it is a shard of, which one, and of how many."""

    file: Path
    stem: str
    number: str = ""
    total: int | None = None

    @property
    def index(self) -> int:
        return int(self.number or 0)


def file_tables(path: Path, split_of: SplitRule) -> Tables:
    """Take a single file for a data set; raises DataError for one of several shards."""
    shard = _parse_name(path)
    if shard.total is not None and shard.total > 1:
        message = tr("{path} is one of {n} shards.\nGive the folder that holds them all: {folder}")
        raise DataError(message.format(path=path, n=shard.total, folder=path.parent))
    return Tables({split_of_file(path, split_of): (path,)})


def configurations(root: Path, split_of: SplitRule) -> tuple[list[list[Path]], int]:
    """Group the parquet files below a folder by configuration, and count the folders there that hold pictures.

    A configuration is a folder with files, or with folders called after splits that hold them.
    """
    files, num_picture_folders = _walk(root)
    groups: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folder = file.parent
        # Files that name their splits themselves make their folder a configuration, even if it is called `test`.
        says_split = split_of_file(file, split_of) is not None
        in_split_folder = folder != root and not says_split and _split_of_folder(folder, split_of) is not None
        groups[folder.parent if in_split_folder else folder].append(file)
    # A folder beside split folders that is not called after a split (SVHN's `extra`) belongs to their configuration.
    for folder in sorted(groups):
        beside = groups.get(folder.parent, [])
        if any(file.parent != folder.parent for file in beside):
            beside.extend(groups.pop(folder))
    return [sorted(group) for _, group in sorted(groups.items())], num_picture_folders


def tables(root: Path, files: Sequence[Path], without_images: Sequence[Path], split_of: SplitRule) -> Tables:
    """Divide the files of one configuration by split; `without_images` are other files below `root`.

    Raises DataError for shards that are missing, come twice or do not belong together; AmbiguousDataError when several
    tables could be one split, or none says its split.
    """
    by_split: dict[str | None, list[Path]] = defaultdict(list)
    for file in files:
        # Spark and Dask write folders called train.parquet, and one of them may be the root. Any other root is only a
        # place: a folder called `test` may hold a data set of its own.
        is_table = file.parent != root or root.name.lower().endswith(SUFFIX)
        by_folder = _split_of_folder(file.parent, split_of) if is_table else None
        by_split[split_of_file(file, split_of) or by_folder].append(file)
    left_out = {NO_IMAGES: list(without_images)} if without_images else {}
    if len(by_split) > 1 and None in by_split:  # alone, files that say no split are train
        left_out[NO_SPLIT] = by_split.pop(None)
    return Tables({split: _shards(split or tr("a split"), each) for split, each in by_split.items()}, left_out)


def folder_of(files: Sequence[Path]) -> Path:
    """Return the lowest folder that contains all files."""
    return Path(os.path.commonpath([file.parent for file in files]))


def split_of_file(file: Path, split_of: SplitRule) -> str | None:
    """Return the split that a file's name says; None if it says none, or two."""
    stem = _parse_name(file).stem
    for name in (file.name, file.stem, stem):  # --split-names may give any of the three
        if (split := split_of(name)) is not None:
            return split
    said = {split for word in re.split(r"[-_.\s]+", stem) if (split := split_of(word)) is not None}
    return said.pop() if len(said) == 1 else None


def _split_of_folder(folder: Path, split_of: SplitRule) -> str | None:
    """Return the split that a folder's name says, if it says one."""
    name = folder.name
    return split_of(name) or split_of(name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name)


def _walk(root: Path) -> tuple[list[Path], int]:
    files, num_picture_folders, seen = list[Path](), 0, set[str]()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_cannot_list):
        is_ours = Path(folder) != root and not MARKS.isdisjoint(names)  # a run's, whose tables are results
        # The Hub's cache consists of links, so they are followed; one to a folder above would never end.
        if (real := os.path.realpath(folder)) in seen or is_ours:
            subfolders.clear()
            continue
        seen.add(real)
        depth = len(Path(folder).relative_to(root).parts)
        # In place, because os.walk goes on with the list that it has yielded.
        subfolders[:] = sorted(filter(_is_visible, subfolders)) if depth < MAX_DEPTH else []
        visible = list(filter(_is_visible, names))
        files += [Path(folder, name) for name in visible if name.lower().endswith(SUFFIX)]
        num_picture_folders += any(is_picture(name) for name in visible)
    return files, num_picture_folders


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.casefold() not in SYSTEM_NAMES


def _cannot_list(error: OSError) -> None:
    raise DataError(tr("Cannot list {folder}: {cause}.", folder=error.filename, cause=cause(error))) from error


def _parse_name(file: Path) -> _ShardName:
    name = file.name[: -len(SUFFIX)] if file.name.lower().endswith(SUFFIX) else file.name
    for pattern in _SHARD:
        if match := pattern.fullmatch(name.removesuffix(".snappy")):
            found = match.groupdict()
            total = found.get("total")
            return _ShardName(file, found["stem"] or "", found["number"], int(total) if total else None)
    return _ShardName(file, name.removesuffix(".snappy"))


def _shards(split: str, files: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files of one split in the order of their numbers, if they belong together and none is missing."""
    # By number, not by name: part-10 follows part-9. The fingerprint depends on the order.
    shards = sorted(
        map(_parse_name, files), key=lambda shard: (shard.file.parent, shard.stem, shard.index, shard.file.name)
    )
    names = [shard.file.name for shard in shards]
    where, total, indices = shards[0].file.parent, shards[0].total, [shard.index for shard in shards]
    if len({(shard.file.parent, shard.stem) for shard in shards}) > 1:
        raise AmbiguousDataError(
            tr(
                "{folder} has several tables that could be {split}: {files}.\n"
                'Give the path of one file, or say which is which with --split-names, such as "train=NAME,test=NAME".',
                folder=where,
                split=split,
                files=some(names),
            )
        )
    # train-00000-of-00002 beside train-00000-of-00005, or a number twice: what is left of an earlier download.
    if len({shard.total for shard in shards}) > 1 or len(set(indices)) < len(shards):
        raise DataError(
            tr(
                "{folder} holds two versions of {split}: {files}.\nRemove the files of the one that is not wanted.",
                folder=where,
                split=split,
                files=some(names),
            )
        )
    if total is not None and (len(shards) != total or indices != list(range(len(shards)))):
        raise DataError(
            tr(
                "{folder} has {n} files like {file}, with the numbers {numbers}; "
                "all {total} are needed, 0 to {last}.\nPut the missing ones beside them.",
                folder=where,
                n=len(shards),
                file=names[0],
                numbers=some([*map(str, indices)]),
                total=total,
                last=total - 1,
            )
        )
    # A single file with a number may be called so (cifar-10.parquet), unless it is written like the number of a shard.
    is_numbered = len(shards) > 1 or shards[0].number.startswith("0")
    first = min(indices[0], 1)  # people count from 0 or from 1
    if total is None and is_numbered and indices != list(range(first, first + len(shards))):
        raise DataError(
            tr(
                "The numbers of the files for {split} in {folder} leave gaps: {files}.\n"
                "Put the missing ones beside them, or number the files from 0.",
                split=split,
                folder=where,
                files=some(names),
            )
        )
    return tuple(shard.file for shard in shards)
