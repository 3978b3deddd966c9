"""Find the columns of a list of pictures that hold the picture, its class and its split."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cifarlab.console import some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.text_table import TextTable, shown
from cifarlab.images.words import is_picture, split_of
from cifarlab.language import tr
from cifarlab.recipe.section import COLUMNS, named_columns

# combinations of words, as `plain` writes them: file_name (Hugging Face), Path (GTSRB), image_path, photoFile
_ENTITIES = ("image", "img", "picture", "pic", "photo", "file")
_FILES = {
    *_ENTITIES,
    *(
        f"{entity}{what}"
        for entity in _ENTITIES
        for what in ("s", "name", "names", "path", "paths", "file", "filename")
    ),
    *("path", "paths"),
}
_IDS = {"id", *(f"{entity}id" for entity in _ENTITIES)}
"""Names of files without their suffixes in Kaggle's lists; numbers of the rows where another column names the files."""
_CLASSES = ("label", "class", "category", "target", "species", "breed")  # breed: Kaggle's Dog Breed Identification
_LABELS = {
    *(f"{kind}{what}" for kind in _CLASSES for what in ("", "s", "name", "names", "id", "ids", "index", "idx", "text")),
    *("classes", "categories", "classlabel", "groundtruth"),
}
_SPLITS = {"split", "splits", "set", "subset", "partition", "dataset", "datasplit", "usage", "phase"}
_FOLD = "fold"
"""The split if its cells are words for splits, and a part of a cross-validation if they are numbers."""

NAMES = {"image": _FILES | _IDS, "label": _LABELS, "split": _SPLITS | {_FOLD}}
"""The usual names of columns, as `plain` writes them."""


LABELLED = ("image", "label")
"""The columns that a list of pictures with their classes needs."""


def fits(asked: str = "", needed: Sequence[str] = LABELLED) -> Callable[[Sequence[str]], bool]:
    """A test whether a head has all columns that are needed; asked: `DataSpec.columns`."""
    named = named_columns(asked)
    return lambda columns: all(_candidates(columns, role, named) for role in needed)


def find(table: TextTable, asked: str = "", needed: Sequence[str] = LABELLED) -> dict[str, int]:
    """The indices of the columns by role (image, label, split), found by name, or as `asked` (`DataSpec.columns`) says.

    Raises DataError where one that is needed or asked for is missing or comes twice, and AmbiguousDataError where
    several may be meant.
    """
    named, found = named_columns(asked), dict[str, int]()
    narrow = {"image": _files, "label": _classes, "split": _splits}
    for role in COLUMNS:
        places = _candidates(table.columns, role, named)
        if not places and (role in needed or named.get(role)):
            raise DataError(_lacks(table, named.get(role) or role, needed))
        names = [table.columns[place] for place in places]
        # csv.DictReader would silently take the last of them, and pandas rename it to label.1
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(
                tr(
                    "{file} has the column {column} twice.\nRename or remove one.",
                    file=table.where,
                    column=shown(twice[0]),
                )
            )
        if len(places) > 1 or role not in named:  # even a single column called fold has to be looked at
            places = narrow[role](table, places)
        if len(places) > 1:
            raise AmbiguousDataError(
                tr(
                    "{file} has several columns that may be the {role}: {columns}.\n"
                    "Say which with data.columns, for example --columns '{role}={column}'.",
                    file=table.where,
                    role=role,
                    columns=some([*map(shown, names)]),
                    column=shown(names[0]),
                )
            )
        if places:
            found[role] = places[0]
    return found


def _candidates(columns: Sequence[str], role: str, named: dict[str, str]) -> list[int]:
    """The indices of the columns that may be meant: those with the name that was asked for, else with a usual one."""
    if role in named:
        wanted = named[role]  # "" for a split that is not wanted
        # exactly first, because a table may have label and Label
        exactly = [place for place, column in enumerate(columns) if column == wanted != ""]
        return exactly or [place for place, column in enumerate(columns) if plain(column) == plain(wanted) != ""]
    # --columns image=label says that the column called label is no longer free to be the label
    free = NAMES[role] - set(map(plain, named.values()))
    return [place for place, column in enumerate(columns) if plain(column) in free]


def plain(column: str) -> str:
    """A column's name in the form of NAMES: "File Name", "file_name" and "FileName" become "filename"."""
    return re.sub(r"[\s_.-]+", "", column.casefold())


def _files(table: TextTable, places: list[int]) -> list[int]:
    """Leave out identifiers where columns name files; where those name the same files, take the one with folders."""
    places = [place for place in places if plain(table.columns[place]) not in _IDS] or places
    # with a slash in front, so that 1.png is the end of cat/1.png but not of 21.png
    cells = {place: [f"/{cell}".replace("\\", "/") for cell in table.column(place)] for place in places}
    for longest in places:
        # filename says 1.png and filepath says cat/1.png: one statement, and only the longer one leads to the file
        if all(all(map(str.endswith, cells[longest], shorter)) for shorter in cells.values()):
            return [longest]
    return places


def _classes(table: TextTable, places: list[int]) -> list[int]:
    """Take one column where they only name the same classes differently: the first with words instead of numbers."""
    cells = {place: table.column(place) for place in places}
    # "class id" and "label" are one statement if every pair of values is one class: as many pairs as values in each
    num_classes = {len(set(column)) for column in cells.values()} | {len(set(zip(*cells.values(), strict=True)))}
    if len(num_classes) > 1:  # CIFAR-100's coarse and fine labels differ here: the user has to say which
        return places
    return sorted(places, key=lambda place: all(cell.isdecimal() for cell in cells[place]))[:1]


def _splits(table: TextTable, places: list[int]) -> list[int]:
    """Leave out folds of a cross-validation; they are refused where nothing else may be the split."""
    folds = [place for place in places if plain(table.columns[place]) == _FOLD]
    if others := [place for place in places if place not in folds]:
        return others
    cells = sorted({shown(cell) for place in folds for cell in table.column(place)})
    # which of the folds 0 to 4 is for testing is a choice, and the first would be as good as the last
    if not all(map(split_of, cells)):
        name = shown(table.columns[folds[0]])
        raise AmbiguousDataError(
            tr(
                "{file} has a column {column}, but its cells do not name splits: {cells}.\n"
                "Without it the pictures are split by cifarlab: --columns split= says so.",
                file=table.where,
                column=name,
                cells=some(cells),
            )
        )
    return folds


def _lacks(table: TextTable, column: str, needed: Sequence[str]) -> str:
    found = some([*map(shown, table.columns)], 10) or tr("nothing")
    lacks = tr("{file} lacks the column {column}. Found: {found}.", file=table.where, column=shown(column), found=found)
    names = ",".join(needed)
    if any(is_picture(name) for name in table.columns):  # a list without a head, whose first picture became one
        advice = tr(
            "Its first row is about a picture already: put the names of the columns above it, such as {names}.",
            names=names,
        )
    else:
        advice = tr("Its first row has to name the columns, such as {names}.", names=names)
    if needed == LABELLED:
        role = "label" if column == "label" else "image"
        advice = tr("{advice} Other names are given like this: --columns '{role}=NAME'.", advice=advice, role=role)
    return f"{lacks}\n{advice}"
