"""Folders in which files say what the pictures are: Hugging Face's metadata, Kaggle's lists, well-known data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders import columns, own_split
from cifarlab.images.folders.csv import PictureList, list_pictures, read_list, split_of_list
from cifarlab.images.folders.known_sets import cub_200, food_101, tiny_imagenet
from cifarlab.images.folders.listing import Listing
from cifarlab.images.folders.locate import Finder, entries
from cifarlab.images.folders.scan import scan
from cifarlab.images.folders.split_folders import understand
from cifarlab.images.folders.text_table import read_head
from cifarlab.images.source import Understanding
from cifarlab.images.words import split_rule
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import named_splits

METADATA = ("metadata.csv", "metadata.jsonl")
"""Hugging Face's lists, at the top of a data set or in each folder of a split; names in them begin where they lie."""


def list_listed(root: Path, spec: DataSpec, kept_file: Path | None) -> tuple[Listing, Understanding] | None:
    """List the pictures of a folder as the lists in it say; None for a folder without lists that name classes.

    Raises DataError for lists that cannot be used, and AmbiguousDataError where it is not clear which list is meant, or
    whether lists or folders name the classes.
    """
    for kind, look in KINDS.items():
        if lists := look(root, spec):
            listing, understanding = list_pictures(kind, root, root, lists, spec, kept_file)
            settled = {"source": str(root.absolute()), "layout": "lists", **understanding.settled}
            return listing, replace(understanding, settled=settled)
    return None


def _metadata(root: Path, spec: DataSpec) -> list[PictureList]:
    """Hugging Face's lists, at the top or in each folder of a split; names in them begin where they lie."""
    split_of = split_rule(named_splits(spec.split_names))
    tops = ["", *(f"{entry.name}/" for entry in entries(root) if entry.is_dir() and split_of(entry.name))]
    found = [(top, root / top / name) for top in tops for name in METADATA if (root / top / name).is_file()]
    used = [top for top, _ in found]
    if len(set(used)) < len(used) or ("" in used and len(used) > 1):
        names = some([printable(f"{top}{path.name}") for top, path in found])
        raise AmbiguousDataError(f"{_shown(root)} has several lists of the same pictures: {names}.\nKeep one of them.")
    folders = _class_folders(root, spec) if found else {}
    if folders and not any(_names_classes(path, spec) for _, path in found):
        return []  # captions or the like, for pictures in class folders
    lists = [_as_split(read_list(path, spec, top), split_of(top.rstrip("/"))) for top, path in found]
    _refuse_other_classes(root, lists, folders, spec)
    return lists


def _at_the_top(root: Path, spec: DataSpec) -> list[PictureList]:
    """One list, or one for each split, named after it, as in Kaggle's competitions."""
    names = [entry.name for entry in entries(root) if entry.name.lower().endswith((".csv", ".tsv"))]
    # A sample of a submission gives all pictures of the competition's test a class that nobody knows yet.
    paths = [root / name for name in names if name != own_split.FILE_NAME and "submission" not in name.lower()]
    paths = [path for path in paths if _names_classes(path, spec)]
    folders = _class_folders(root, spec) if paths else {}
    # Beside class folders, a list whose names do not lead to pictures from here is one of something else.
    lists = [read_list(path, spec, "" if folders else None) for path in paths]
    finder = Finder(root, follow_links=spec.follow_links)
    lists = [each for each in lists if not folders or any(finder.find(image).status for image in each.images)]
    splits = [split_of_list(each.path) for each in lists]
    named = [split for split in splits if split]
    if len(named) > 1 and len(named) == len(set(named)):
        lists = [_as_split(each, split) for each, split in zip(lists, splits, strict=True) if split]
    elif len(lists) > 1:
        raise AmbiguousDataError(
            f"{_shown(root)} has several lists of pictures: {some([printable(each.path.name) for each in lists])}.\n"
            "Give the one that is meant instead of the folder, or name one for each split after it, such as train.csv."
        )
    elif named:
        lists = [_as_split(lists[0], splits[0])]
    _refuse_other_classes(root, lists, folders, spec)
    return lists


def _names_classes(path: Path, spec: DataSpec) -> bool:
    """Whether a file has the columns of a list with labels."""
    return read_head(path, columns.fits(spec.columns)) != ()


def _class_folders(root: Path, spec: DataSpec) -> dict[str, str]:
    """The class of each picture by its name, where the folders alone name several classes and may be meant; else {}."""
    if spec.layout == "lists":
        return {}
    try:
        meaning = understand(scan(root, follow_links=spec.follow_links), spec)
    except DataError:  # without the lists the folder would be refused
        return {}
    parts = [(part, folder) for part in meaning.classes for folder in part.folders]
    classes = {name: printable(part.class_name) for part, folder in parts for name in folder.names()}
    return classes if len(set(classes.values())) > 1 else {}


def _refuse_other_classes(root: Path, lists: Sequence[PictureList], folders: Mapping[str, str], spec: DataSpec) -> None:
    """Raise AmbiguousDataError where both lists and class folders name classes, and not the same for all pictures."""
    if not folders or not lists:
        return
    finder, listed = Finder(root, follow_links=spec.follow_links), dict[str, str]()
    for each in lists:
        found = (finder.find(image, each.folder or "").name for image in each.images)
        listed |= zip(found, each.labels, strict=True)
    pairs = {(class_name, listed.get(name)) for name, class_name in folders.items()}
    num_classes = len({class_name for class_name, _ in pairs}), len({label for _, label in pairs})
    if folders.keys() <= listed.keys() and num_classes == (len(pairs), len(pairs)):
        return  # they differ at most in what they call the classes
    names = some([printable(each.path.relative_to(root).as_posix()) for each in lists])
    raise AmbiguousDataError(
        f"{_shown(root)} can be read in two ways: its folders name classes, {names} others or not all.\n"
        "Say which are meant: --layout lists, or --layout classes (splits) for the folders (data.layout)."
    )


def _as_split(each: PictureList, split: str | None) -> PictureList:
    """All pictures of a list in one split; where it has a column of splits, that has to agree."""
    if split is None or "" in each.splits:
        return each  # a word that is not a split is refused with the line where it stands
    if other := next((other for other in each.splits if other != split), ""):
        raise AmbiguousDataError(
            f"{_shown(each.path)} is called like the {split} split, but has pictures of {other} in it.\n"
            "Give it another name, or its pictures another split."
        )
    rule = each.rule if each.splits else f"{each.rule}; all are of the {split} split"
    return replace(each, splits=[split] * len(each.images), rule=rule)


KINDS: dict[str, Callable[[Path, DataSpec], list[PictureList]]] = {
    "tiny-imagenet": lambda root, spec: tiny_imagenet(root),
    "food-101": lambda root, spec: food_101(root),
    "cub-200": lambda root, spec: cub_200(root),
    "metadata": _metadata,
    "csv": _at_the_top,
}
"""How lists lie in a folder -> what reads them: [] where they lie otherwise. The first that finds any is taken."""


def _shown(path: Path) -> str:
    return printable(str(path))
