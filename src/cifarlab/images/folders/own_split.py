"""Train and test for pictures that come without splits: drawn once, stratified by class, and kept.

Pictures that are added later are divided among themselves, so that none that was in train ever moves to test. Files
with the same bytes are on one side; the same picture in two formats or sizes is not recognised here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import posixpath
import stat
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np

from cifarlab.console import count, log, printable, some
from cifarlab.errors import DataError, MachineError
from cifarlab.files import write_atomic
from cifarlab.images import stratified
from cifarlab.images.folders import columns
from cifarlab.images.folders.listing import ImageFile
from cifarlab.images.folders.text_table import read_table, shown
from cifarlab.images.stratified import first_of_equals
from cifarlab.images.words import SPLIT_NAMES, composed, split_of
from cifarlab.language import listed, tr
from cifarlab.recipe.duration import part_of

FILE_NAME = "splits.csv"
"""A list with the columns image and split. In the cache folder it is ours; in the data set's folder it is the user's,
which wins."""

_COLUMNS = ("image", "split")

TEST_FRACTION = 0.2
SEED = 0
"""Fixed, so that everybody who loads the same pictures gets the same test split; `training.seed` does not change it."""


def assign(files: Sequence[ImageFile], own_file: Path | None, kept_file: Path | None) -> dict[str, str]:
    """Name the split of each picture: as the user's file says, else as kept, else drawn and kept.

    Without a file to keep it in, the split is only drawn. Raises DataError for a user's file that does not fit.
    """
    classes = {file.name: file.class_name for file in files}
    if own_file is not None and own_file.is_file():
        return _users_splits(own_file, classes)
    kept = _read(kept_file) if kept_file is not None and kept_file.is_file() else {}
    splits = draw(classes, kept, _contents(files, classes.keys() - kept.keys()))
    if kept_file is not None and splits.keys() - kept.keys():
        _keep(kept_file, kept | splits)  # a picture that has vanished stays in the list, in case it comes back
    return splits


def draw(
    classes: Mapping[str, str], kept: Mapping[str, str], contents: Mapping[str, bytes] | None = None
) -> dict[str, str]:
    """Give each picture (name -> class) a split, leaving those in `kept` where they are.

    In every class TEST_FRACTION of the pictures are for testing, at least one if there are two: those with the smallest
    hash of seed and name. contents: name -> a key that its copies share; copies get one split, that of a kept one if
    there is one, and every class keeps a picture in train.
    """
    content_of = {name: (contents or {}).get(name, name) for name in classes}
    splits = {name: kept[name] for name in classes if name in kept}
    # of copies that an earlier split has torn apart, train decides: a picture that was trained on tests nothing
    known = {content_of[name]: split for name, split in sorted(splits.items(), key=lambda item: item[1] == "train")}
    splits |= {name: known[content_of[name]] for name in classes if name not in kept and content_of[name] in known}
    # what is in test already is out of the draw; what is kept in train stays in, as the picture that a class keeps
    names = [name for name in classes if splits.get(name) != "test"]
    new = [index for index, name in enumerate(names) if name not in splits]
    # by a hash of the name, not by a generator: a picture more or less elsewhere does not shuffle all others, and the
    # draw depends on no version of NumPy and on no order of files
    rank = {
        index: hashlib.sha256(f"{SEED}/{names[index]}".encode("utf-8", "surrogateescape")).digest() for index in new
    }
    order = np.array(sorted(new, key=lambda index: rank[index]), np.int64)
    label_of = {class_name: label for label, class_name in enumerate(sorted(set(classes.values())))}
    labels = np.array([label_of[classes[name]] for name in names], np.int64)
    totals, there = Counter(classes.values()), Counter(classes[name] for name in splits if splits[name] == "test")
    # of the whole class: a class that has grown gets as many more into test as bring it back to a fifth
    wanted = {each: max(part_of(TEST_FRACTION, total), int(total > 1)) for each, total in totals.items()}
    quotas = np.array([max(wanted[each] - there[each], 0) for each in label_of], np.int64)
    is_test = stratified.draw(labels, order, quotas, first_of_equals(content_of[name] for name in names))
    return splits | {names[index]: "test" if is_test[index] else "train" for index in new}


def _contents(files: Sequence[ImageFile], new: Set[str]) -> dict[str, bytes]:
    """Name -> hash of the bytes of every file that may be a copy of a new one, or have one."""
    # a copy has the same size: most photographs need not be read, and this runs before anything is decoded
    sizes, sizes_of_new = Counter(file.size_bytes for file in files), {f.size_bytes for f in files if f.name in new}
    found = {}
    for file in files:
        if sizes[file.size_bytes] > 1 and file.size_bytes in sizes_of_new and stat.S_ISREG(file.mode_bits):
            try:
                found[file.name] = hashlib.blake2b(Path(file.path).read_bytes(), digest_size=16).digest()
            except OSError as error:  # reported when it is decoded
                log.debug("Not compared with others: %s: %s", printable(file.name), error)
    return found


def _users_splits(path: Path, classes: Mapping[str, str]) -> dict[str, str]:
    """The splits in the user's own file, which has to name every picture once and nothing else."""
    table = read_table(path, columns.fits(needed=_COLUMNS))
    places = columns.find(table, needed=_COLUMNS)
    splits, problems = dict[str, str](), list[str]()
    for line, name, word in zip(table.lines, *(table.column(places[each]) for each in _COLUMNS), strict=True):
        known = name if name in classes else _as_listed(name)
        split = split_of(word)
        if split is None or known in splits:
            has = tr("line {line} ({name}) has the split '{word}'")
            problem = has if split is None else tr("line {line} ({name}) names a picture again")
            problems.append(problem.format(line=line, name=shown(name), word=shown(word)))
        splits[known] = split or ""
    if problems:
        raise DataError(
            tr(
                "{file} cannot be used: {problem}.\nCorrect these rows; a split is one of {names}.",
                file=path,
                problem=some(problems),
                names=listed(SPLIT_NAMES),
            )
        )
    absent, extra = sorted(classes.keys() - splits.keys()), sorted(splits.keys() - classes.keys())
    if absent or extra:
        lacks, idle = tr("it lacks {pictures}: {names}"), tr("{lines} without a picture: {names}")
        missing, unknown = (some([*map(printable, names)], 3) for names in (absent, extra))
        parts = [lacks.format(pictures=count(len(absent), "picture"), names=missing)] if absent else []
        parts += [idle.format(lines=count(len(extra), "line"), names=unknown)] if extra else []
        raise DataError(
            tr(
                "{file} does not fit its folder: {problem}.\n"
                "Complete it, or delete it to have the pictures split by us.",
                file=path,
                problem=tr("; ").join(parts),
            )
        )
    return splits


def _as_listed(name: str) -> str:
    """The name of a picture as it is in a listing, from ./cat/1.png, cat\\1.png or another Unicode form."""
    return composed(posixpath.normpath(name.replace("\\", "/")))


def _read(path: Path) -> dict[str, str]:
    """The splits that were kept."""
    splits = dict[str, str]()
    try:
        # surrogateescape: names of files may be any bytes on Linux, and come back as they were written
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            split = split_of(row["split"] or "")  # None in a row that is too short
            if split is None:
                raise ValueError(tr("{word!r} is not a split", word=row["split"]))
            splits[composed(row["image"])] = split
    # never drawn anew: what was tested on before would be trained on
    except (OSError, csv.Error, KeyError, ValueError) as error:
        raise DataError(
            tr(
                "{file} cannot be used: {error!r}.\nIt needs the columns image and split; a split is one of {names}.",
                file=path,
                error=error,
                names=listed(SPLIT_NAMES),
            )
        ) from error
    if len(splits) < len(rows):
        twice = count(len(rows) - len(splits), "picture")
        text = tr("{file} names {pictures} more than once.\nName each of them once.", file=path, pictures=twice)
        raise DataError(text)
    return splits


def _keep(path: Path, splits: Mapping[str, str]) -> None:
    """Write the splits down; a cache that cannot be written is a warning, since the draw can be repeated."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "split"))
    writer.writerows(sorted(splits.items()))
    try:
        write_atomic(path, text.getvalue().encode("utf-8", "surrogateescape"))
    except (MachineError, OSError) as error:
        cause = str(error).splitlines()[0]
        log.warning(
            tr(
                "Cannot keep the split into train and test ({cause}). It stays the same as long as the pictures do.",
                cause=cause,
            )
        )
