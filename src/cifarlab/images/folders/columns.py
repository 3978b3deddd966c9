"""Which columns of a list of pictures hold the picture, its class and its split."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.locate import is_picture
from cifarlab.images.folders.text_table import TextTable, shown
from cifarlab.images.words import split_of
from cifarlab.recipe.section import COLUMNS, named_columns

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
"""Names of files without their endings in Kaggle's lists; a number of the row where another column names the file."""
_CLASSES = ("label", "class", "category", "target", "species", "breed")
_LABELS = {
    *(f"{kind}{what}" for kind in _CLASSES for what in ("", "s", "name", "names", "id", "ids", "index", "idx", "text")),
    *("classes", "categories", "classlabel", "groundtruth"),
}
_SPLITS = {"split", "splits", "set", "subset", "partition", "dataset", "datasplit", "usage", "phase"}
_FOLD = "fold"
"""A split where its cells are words for splits, and a part of a cross-validation where they are numbers."""

NAMES = {"image": _FILES | _IDS, "label": _LABELS, "split": _SPLITS | {_FOLD}}
"""What columns are called, as `plain` writes names."""


LABELLED = ("image", "label")
"""What a list of pictures with their classes has to have."""


def fits(asked: str = "", needed: Sequence[str] = LABELLED) -> Callable[[Sequence[str]], bool]:
    """A function that says whether names of columns have all that is needed; asked: `DataSpec.columns`."""
    named = named_columns(asked)
    return lambda columns: all(_candidates(columns, role, named) for role in needed)


def find(table: TextTable, asked: str = "", needed: Sequence[str] = LABELLED) -> dict[str, int]:
    """The places of the columns by what they stand for, found by their names, or as `asked` (`DataSpec.columns`) says.

    Raises DataError where one that is needed or asked for is missing or stands twice, and AmbiguousDataError where
    several may be meant.
    """
    named, found = named_columns(asked), dict[str, int]()
    narrow = {"image": _files, "label": _classes, "split": _splits}
    for role in COLUMNS:
        places = _candidates(table.columns, role, named)
        if not places and (role in needed or named.get(role)):
            raise DataError(_lacks(table, named.get(role) or role, needed))
        names = [table.columns[place] for place in places]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{_path(table)} has the column {shown(twice[0])} twice.\nRename or remove one.")
        if len(places) > 1 or role not in named:
            places = narrow[role](table, places)
        if len(places) > 1:
            raise AmbiguousDataError(
                f"{_path(table)} has several columns that may be the {role}: {some([*map(shown, names)])}.\n"
                f"Say which with data.columns, for example --columns '{role}={shown(names[0])}'."
            )
        if places:
            found[role] = places[0]
    return found


def _candidates(columns: Sequence[str], role: str, named: dict[str, str]) -> list[int]:
    """The places of the columns that may be meant: those of the name that was asked for, else of a usual one."""
    if role in named:
        wanted = named[role]
        exactly = [place for place, column in enumerate(columns) if column == wanted != ""]
        return exactly or [place for place, column in enumerate(columns) if plain(column) == plain(wanted) != ""]
    free = NAMES[role] - set(map(plain, named.values()))
    return [place for place, column in enumerate(columns) if plain(column) in free]


def plain(column: str) -> str:
    """A column's name as NAMES has it: "File Name", "file_name" and "FileName" are one."""
    return re.sub(r"[\s_.-]+", "", column.casefold())


def _files(table: TextTable, places: list[int]) -> list[int]:
    """Without identifiers, where columns name files; where those name the same files, the one with their folders."""
    places = [place for place in places if plain(table.columns[place]) not in _IDS] or places
    cells = {place: [f"/{cell}".replace("\\", "/") for cell in table.column(place)] for place in places}
    for longest in places:
        if all(all(map(str.endswith, cells[longest], shorter)) for shorter in cells.values()):
            return [longest]
    return places


def _classes(table: TextTable, places: list[int]) -> list[int]:
    """One column, where they differ in the names of the classes alone: the first with words instead of numbers."""
    cells = {place: table.column(place) for place in places}
    num_classes = {len(set(column)) for column in cells.values()} | {len(set(zip(*cells.values(), strict=True)))}
    if len(num_classes) > 1:
        return places
    return sorted(places, key=lambda place: all(cell.isdecimal() for cell in cells[place]))[:1]


def _splits(table: TextTable, places: list[int]) -> list[int]:
    """Without folds of a cross-validation; refused where nothing else may be the split."""
    folds = [place for place in places if plain(table.columns[place]) == _FOLD]
    if others := [place for place in places if place not in folds]:
        return others
    cells = sorted({shown(cell) for place in folds for cell in table.column(place)})
    if not all(map(split_of, cells)):
        name = shown(table.columns[folds[0]])
        raise AmbiguousDataError(
            f"{_path(table)} has a column {name}, but its cells do not name splits: {some(cells)}.\n"
            "Without it the pictures are split by cifarlab: --columns split= says so."
        )
    return folds


def _lacks(table: TextTable, column: str, needed: Sequence[str]) -> str:
    found = some([*map(shown, table.columns)], 10) or "nothing"
    if any(is_picture(name) for name in table.columns):
        advice = "Its first row is about a picture already: put the names of the columns above it"
    else:
        advice = "Its first row has to name the columns"
    advice += f", such as {','.join(needed)}."
    if needed == LABELLED:
        advice += f" Other names are given like this: --columns '{'label' if column == 'label' else 'image'}=NAME'."
    return f"{_path(table)} lacks the column {shown(column)}. Found: {found}.\n{advice}"


def _path(table: TextTable) -> str:
    return printable(str(table.path))
