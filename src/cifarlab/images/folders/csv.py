"""Pictures that lists name, with their classes and splits: CSV in any usual dialect, or JSON lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders import columns, own_split
from cifarlab.images.folders.listing import ImageFile, Listing, counts, sorted_by_split
from cifarlab.images.folders.locate import Finder
from cifarlab.images.folders.text_table import read_table, shown
from cifarlab.images.source import UNLISTED, WITHOUT_LABELS, Understanding
from cifarlab.images.words import SPLIT_NAMES, split_of, split_rule
from cifarlab.language import listed, tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import listed_names, named_columns, named_splits

OTHER_COLUMN = translatable(
    "{advice} If that column is not the split: --columns split=NAME, or split= to have the pictures split."
)
FOLLOW_LINKS = translatable("{advice} Links are followed with --follow-links.")


@dataclass(frozen=True)
class PictureList:
    """The content of one list: names of pictures with their labels and line numbers.

    splits: the split of each picture, or () where the file does not say; "" where it says something else, which is in
    `words`. folder: the folder in the root that names are relative to, "" or with a slash at its end; None if it has to
    be looked for. rule: how the file was understood, as a sentence without its full stop, to be `retold`. columns: what
    its columns are called, by what they stand for.
    """

    path: Path
    lines: Sequence[int]
    images: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str]
    folder: str | None
    rule: str
    words: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


def list_csv(path: Path, spec: DataSpec, kept_file: Path | None) -> tuple[Listing, Understanding]:
    """List the pictures of a CSV; where it names no splits they are drawn once, and kept in `kept_file`."""
    finder = Finder(path.parent, follow_links=spec.follow_links)
    return list_pictures("csv", path, finder, [read_list(path, spec)], spec, kept_file)


def read_list(path: Path, spec: DataSpec, folder: str | None = None) -> PictureList:
    """Read a file with the names of its columns and a row for each picture.

    Raises DataError if it cannot be read as such, AmbiguousDataError if several columns may be meant.
    """
    table = read_table(path, columns.fits(spec.columns))
    places = columns.find(table, spec.columns)
    names = {role: table.columns[place] for role, place in places.items()}
    cells = {role: table.column(place) for role, place in places.items()}
    image, label, *split = map(printable, names.values())
    rule = translatable("In {file} the column {image} names the pictures, {label} their classes")
    if split and any(cells["split"]):
        rule = translatable(
            "In {file} the column {image} names the pictures, {label} their classes and {split} their splits"
        )
    elif split:  # a template for labelling has the column and nothing in it: as good as none
        rule += "; " + translatable("{split} is empty")
        del names["split"], cells["split"]
    rule = rule.format(file=printable(path.name), image=image, label=label, split="".join(split))
    split_of, words = split_rule(named_splits(spec.split_names)), cells.get("split", [])
    splits = [split_of(word) or "" for word in words]
    return PictureList(path, table.lines, cells["image"], cells["label"], splits, folder, rule, words, names)


def list_pictures(
    kind: str, source: Path, finder: Finder, lists: Sequence[PictureList], spec: DataSpec, kept_file: Path | None
) -> tuple[Listing, Understanding]:
    """Find the pictures of all lists, and their splits where the lists do not give them.

    Raises DataError for rows that cannot be used, and if no picture exists at all; single missing pictures are found
    when they are read.
    """
    rows = list[_Row]()
    name_of = _names_of_numbers(source, lists, spec)
    for each in lists:
        place = tr("line {line}") if len(lists) == 1 else tr("line {line} of {file}")
        rows += _rows(each, finder, name_of, place)
    left_out = {UNLISTED: finder.not_listed((row.file.name for row in rows), everywhere=source == finder.root)}
    rows, left_out[WITHOUT_LABELS] = _labelled(rows)
    _check(source, rows)
    assigned, rule, is_drawn = _splits(source, finder.root, rows, spec, kept_file)
    listing = sorted_by_split(source, [row.file for row in rows], assigned, is_drawn, tuple(name_of.values()))
    understanding = Understanding(
        kind,
        translatable("{rule}.").format(rule="; ".join(filter(None, [*(each.rule for each in lists), rule]))),
        tuple(listing.splits),
        counts(listing),
        {reason: names for reason, names in left_out.items() if names},
        _settled(lists, is_drawn),
        numbered=_are_numbers(lists),
        own_split=is_drawn,
    )
    return listing, understanding


def _are_numbers(lists: Sequence[PictureList]) -> bool:
    return all(label.isascii() and label.isdecimal() for each in lists for label in each.labels if label)


def _names_of_numbers(source: Path, lists: Sequence[PictureList], spec: DataSpec) -> dict[str, str]:
    """The names of classes that are numbers, as `DataSpec.class_names` gives them; {} for labels that are names."""
    name_of = {str(number): name for number, name in enumerate(listed_names(spec.class_names)) if _are_numbers(lists)}
    labels = {_number(label) for each in lists for label in each.labels if label}
    # a class without a name would stay a number among names; names without a picture do no harm
    if name_of and (unknown := labels - name_of.keys()):
        raise DataError(
            tr(
                "data.class_names has {n} names, but {source} has the label {label}: it needs one for each number "
                "from 0.",
                n=len(name_of),
                source=printable(str(source)),
                # as numbers: the longest text without leading zeros is the largest
                label=shown(max(unknown, key=lambda label: (len(label), label))),
            )
        )
    return name_of


def _number(label: str) -> str:
    return label.lstrip("0") or "0"  # 007 is the number 7


@dataclass(frozen=True, slots=True)
class _Row:
    """A picture in a list: its line, its file, its split ("" if none is given), and why it cannot be used, if so.

    advice: what may help more than to correct the row.
    """

    place: str
    file: ImageFile
    split: str
    is_there: bool
    problem: str
    advice: str


def _rows(each: PictureList, finder: Finder, name_of: Mapping[str, str], place: str) -> Iterator[_Row]:
    """Find the picture of every row of a list, and say what is wrong with the row; place: what a line is called."""
    folder = each.folder
    if folder is None:
        folder = finder.folder_of(each.images, split_of_list(each.path))
    for number, (line, image, label) in enumerate(zip(each.lines, each.images, each.labels, strict=True)):
        found, split = finder.find(image, folder), each.splits[number] if each.splits else ""
        problem = found.problem or ("" if label else tr("has no label"))
        advice = FOLLOW_LINKS if found.problem and found.status else ""  # what is there and refused lies behind a link
        if each.splits and not split and not problem:
            problem = tr("has no split, but others have")
            if word := each.words[number]:
                names = listed(SPLIT_NAMES)
                problem = tr("has the split '{word}', which is none of {names}", word=shown(word), names=names)
                advice = OTHER_COLUMN
        # a class name goes into tables, terminals and pages: what could break them becomes an escape here, once
        class_name = printable(name_of.get(_number(label), label) if label else "")
        file = ImageFile.at(f"{finder.root}/{found.name}", found.name, class_name, found.status)
        where = place.format(line=line, file=printable(each.path.name))
        yield _Row(where, file, split, found.status is not None, problem, advice)


def _labelled(rows: Sequence[_Row]) -> tuple[list[_Row], list[str]]:
    """The rows without those of a test split whose labels are kept secret, and the names of the pictures left out.

    A split in which only some pictures lack a label is kept, to be refused; so is train.
    """
    # competitions list the pictures of their test with empty labels
    labelled = {row.split for row in rows if row.file.class_name}
    secret = {row.split for row in rows} - labelled - {"", "train"} if labelled else set()
    return [row for row in rows if row.split not in secret], [row.file.name for row in rows if row.split in secret]


def split_of_list(path: Path) -> str | None:
    """The split that a list is named after, such as train in trainLabels.csv (Kaggle's CIFAR-10)."""
    return split_of(re.sub("labels?|annotations?|list", "", path.stem, flags=re.IGNORECASE))


def _check(source: Path, rows: Sequence[_Row]) -> None:
    """Raise DataError for rows that cannot be used, and if not a single picture exists."""
    problems, first = [], dict[str, _Row]()
    for row in rows:
        earlier = first.setdefault(row.file.name, row)  # by the file that was found: 1 and 1.png may be one picture
        problem = row.problem
        if earlier is not row and not problem:  # drawn twice per epoch, or trained on and tested
            problem = tr("names the picture of {place} again", place=earlier.place)
            if row.file.class_name != earlier.file.class_name:
                problem = tr(
                    "names the picture of {place} again, as {label} instead of {earlier}",
                    place=earlier.place,
                    label=shown(row.file.class_name),
                    earlier=shown(earlier.file.class_name),
                )
        if problem:
            name = shown(row.file.name)
            problems.append(tr("{place} ({name}) {problem}", place=row.place, name=name, problem=problem))
    where = printable(str(source))
    if problems:
        advice = tr("Correct these rows.")
        for more in (OTHER_COLUMN, FOLLOW_LINKS):
            advice = tr(more, advice=advice) if any(row.advice == more for row in rows) else advice
        raise DataError(tr("{file} cannot be used: {problem}.", file=where, problem=some(problems)) + f"\n{advice}")
    if not rows:
        raise DataError(tr("{file} lists no picture: there is nothing below its head.", file=where))
    if not any(row.is_there for row in rows):  # one error instead of one per picture: the list is in the wrong folder
        raise DataError(
            tr(
                "None of the {n:,} pictures that {file} lists is there: {names}.\n"
                "Their names have to be relative to the folder of the list, or to one folder in it that has all of "
                "them.",
                n=len(rows),
                file=where,
                names=some([shown(row.file.path, 200) for row in rows], 2),
            )
        )


def _splits(
    source: Path, root: Path, rows: Sequence[_Row], spec: DataSpec, kept_file: Path | None
) -> tuple[dict[str, str], str, bool]:
    """The split of each picture by its name, a phrase that says where the splits come from, and whether we drew them.

    In this order: the list, the folders of its pictures, the user's own file, a draw.
    """
    bare = [row for row in rows if not row.split]
    if not bare:
        return {row.file.name: row.split for row in rows}, "", False
    if len(bare) < len(rows):
        text = tr("{file} names the split of some pictures, but not of {place}.")
        raise DataError(text.format(file=printable(str(source)), place=bare[0].place))
    # a list of train/cat/1.png, test/cat/1.png, ... without a column of splits still says them
    if named_columns(spec.columns).get("split") != "" and (by_folder := _splits_of_folders(source, rows, spec)):
        return by_folder, translatable("the folders of the pictures are named after their splits"), False
    own_file = root / own_split.FILE_NAME
    files = [row.file for row in rows]
    if own_file.is_file() and own_file != source:  # splits.csv may be the list itself, with a third column
        rule = translatable("{file} names their splits").format(file=own_file.name)
        return own_split.assign(files, own_file, None), rule, False
    rule = translatable("no splits are named, so a part of each class is drawn for test")
    return own_split.assign(files, None, kept_file), rule, True


def _splits_of_folders(source: Path, rows: Sequence[_Row], spec: DataSpec) -> dict[str, str]:
    """The split of each picture, if the first folders in which their paths differ are named after splits; else {}."""
    split_of = split_rule(named_splits(spec.split_names))
    folders = {row.file.name: row.file.name.split("/")[:-1] for row in rows}
    levels = zip(*folders.values(), strict=False)  # ends with the shortest
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    above = {split for split in map(split_of, shared) if split}
    if len(above) == 1:  # all pictures of the list are in test/
        return dict.fromkeys(folders, above.pop())
    tops = {name: "".join(folder[len(shared) : len(shared) + 1]) for name, folder in folders.items()}
    if all(tops[row.file.name] == row.file.class_name for row in rows):
        return {}  # class folders; "train" can be a class, beside "bus" and "car"
    splits = {top: split_of(top) for top in set(tops.values())}
    if not any(splits.values()) and not above:
        return {}
    if above or not all(splits.values()):
        names = some([printable(name) for name in sorted({*shared, *splits} - {""})])
        raise AmbiguousDataError(
            tr(
                "{file} lists pictures in the folders {folders}, of which some are called like splits.\n"
                "Add a column with the split of each picture, or say --columns split= to have the pictures split.",
                file=printable(str(source)),
                folders=names,
            )
        )
    return {name: splits[top] or "" for name, top in tops.items()}


def _settled(lists: Sequence[PictureList], is_drawn: bool) -> dict[str, str]:
    """The `DataSpec.columns` with which a later reading decides the same; none if the lists differ in their columns."""
    first = lists[0].columns
    if not first or any(each.columns != first for each in lists):
        return {}
    # a column of splits that appears later must not move pictures that were drawn into train to test
    named = {**first, "split": ""} if is_drawn else first
    text = io.StringIO()  # as CSV, because the name of a column may hold a comma
    csv.writer(text, lineterminator="").writerow(f"{role}={name}" for role, name in named.items())
    return {"columns": text.getvalue()}
