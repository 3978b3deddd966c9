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
from cifarlab.images.folders.split_folders import understand
from cifarlab.images.folders.text_table import read_head
from cifarlab.images.source import Understanding
from cifarlab.images.words import composed, split_rule
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import named_splits

METADATA = ("metadata.csv", "metadata.jsonl")
"""Hugging Face's lists, at the top of a data set or in each folder of a split; their names are relative to them."""


def list_listed(root: Path, spec: DataSpec, kept_file: Path | None) -> tuple[Listing, Understanding] | None:
    """List the pictures of a folder as the lists in it say; None for a folder without lists that name classes.

    Raises DataError for lists that cannot be used, and AmbiguousDataError where it is not clear which list is meant, or
    whether lists or folders name the classes.
    """
    finder = Finder(root, follow_links=spec.follow_links)  # one for all lists, so that the folder is scanned once
    for kind, look in KINDS.items():
        if lists := look(finder, spec):
            listing, understanding = list_pictures(kind, root, finder, lists, spec, kept_file)
            # "lists", so that a later reading does not look at the class folders again, and stays with this decision
            settled = {"source": str(root.absolute()), "layout": "lists", **understanding.settled}
            return listing, replace(understanding, settled=settled)
    return None


def _metadata(finder: Finder, spec: DataSpec) -> list[PictureList]:
    """Hugging Face's lists, at the top or in each folder of a split."""
    root, split_of = finder.root, split_rule(named_splits(spec.split_names))
    tops = ["", *(f"{entry.name}/" for entry in entries(root) if entry.is_dir() and split_of(entry.name))]
    found = [(top, root / top / name) for top in tops for name in METADATA if (root / top / name).is_file()]
    used = [top for top, _ in found]
    if len(set(used)) < len(used) or ("" in used and len(used) > 1):
        names = some([printable(f"{top}{path.name}") for top, path in found])
        text = tr("{folder} has several lists of the same pictures: {names}.\nKeep one of them.")
        raise AmbiguousDataError(text.format(folder=printable(str(root)), names=names))
    folders = _class_folders(finder, spec) if found else {}
    if folders and not any(_names_classes(path, spec) for _, path in found):
        return []  # captions or bounding boxes, for pictures in class folders
    lists = [_as_split(read_list(path, spec, top), split_of(top.rstrip("/"))) for top, path in found]
    _refuse_other_classes(finder, lists, folders)
    return lists


def _at_the_top(finder: Finder, spec: DataSpec) -> list[PictureList]:
    """One list, or one for each split, named after it, as in Kaggle's competitions."""
    root = finder.root
    names = [entry.name for entry in entries(root) if entry.name.lower().endswith((".csv", ".tsv"))]
    # A sample of a submission gives all pictures of the competition's test a class that nobody knows yet.
    paths = [root / name for name in names if name != own_split.FILE_NAME and "submission" not in name.lower()]
    paths = [path for path in paths if _names_classes(path, spec)]
    folders = _class_folders(finder, spec) if paths else {}
    # Beside class folders, a list whose names do not lead to pictures from here is one of something else:
    # classes.csv with id and label names the classes 0 and 1, although 0.png and 1.png may be somewhere.
    lists = [read_list(path, spec, "" if folders else None) for path in paths]
    lists = [each for each in lists if not folders or any(finder.find(image).status for image in each.images)]
    splits = [split_of_list(each.path) for each in lists]
    named = [split for split in splits if split]
    if len(named) > 1 and len(named) == len(set(named)):
        # German Traffic Signs (GTSRB) has Train.csv and Test.csv, and a Meta.csv of drawings that is no split
        lists = [_as_split(each, split) for each, split in zip(lists, splits, strict=True) if split]
    elif len(lists) > 1:
        raise AmbiguousDataError(
            tr(
                "{folder} has several lists of pictures: {names}.\n"
                "Give the one that is meant instead of the folder, or name one for each split after it, such as "
                "train.csv.",
                folder=printable(str(root)),
                names=some([printable(each.path.name) for each in lists]),
            )
        )
    elif named:
        lists = [_as_split(lists[0], splits[0])]
    _refuse_other_classes(finder, lists, folders)
    return lists


def _names_classes(path: Path, spec: DataSpec) -> bool:
    """Whether a file has the columns of a list with labels; only its beginning is read, since it may be anything."""
    return read_head(path, columns.fits(spec.columns)) != ()


def _class_folders(finder: Finder, spec: DataSpec) -> dict[str, str]:
    """The class of each picture by its name, where the folders alone name several classes and may be meant; else {}."""
    if spec.layout == "lists":
        return {}
    try:
        meaning = understand(finder.tree, spec)
    except DataError:  # without the lists the folder would be refused
        return {}
    parts = [(part, folder) for part in meaning.classes for folder in part.folders]
    classes = {composed(name): printable(part.class_name) for part, folder in parts for name in folder.names()}
    return classes if len(set(classes.values())) > 1 else {}  # one folder of pictures is what lists come with


def _refuse_other_classes(finder: Finder, lists: Sequence[PictureList], folders: Mapping[str, str]) -> None:
    """Raise AmbiguousDataError where both lists and class folders name classes, and not the same for all pictures."""
    if not folders or not lists:
        return
    listed = dict[str, str]()
    for each in lists:
        found = (composed(finder.find(image, each.folder or "").name) for image in each.images)
        listed |= zip(found, each.labels, strict=True)
    # GTSRB's folders 0 to 42 are the list's classes under the same names; others have n01440764/ and the label "tench"
    pairs = {(class_name, listed.get(name)) for name, class_name in folders.items()}
    num_classes = len({class_name for class_name, _ in pairs}), len({label for _, label in pairs})
    if folders.keys() <= listed.keys() and num_classes == (len(pairs), len(pairs)):
        return  # one label per folder and one folder per label: they differ at most in what they call the classes
    names = some([printable(each.path.relative_to(finder.root).as_posix()) for each in lists])
    raise AmbiguousDataError(
        tr(
            "{folder} can be read in two ways: its folders name classes, {names} others or not all.\n"
            "Say which are meant: --layout lists, or --layout classes (splits) for the folders (data.layout).",
            folder=printable(str(finder.root)),
            names=names,
        )
    )


def _as_split(each: PictureList, split: str | None) -> PictureList:
    """All pictures of a list in one split; where it has a column of splits, that has to agree."""
    if split is None or "" in each.splits:
        return each  # a word that is not a split is refused later, with its line
    if other := next((other for other in each.splits if other != split), ""):
        raise AmbiguousDataError(
            tr(
                "{file} is called like the {split} split, but has pictures of {other} in it.\n"
                "Give it another name, or its pictures another split.",
                file=printable(str(each.path)),
                split=split,
                other=other,
            )
        )
    rule = each.rule
    if not each.splits:
        rule += "; " + translatable("all are of the {split} split").format(split=split)
    return replace(each, splits=[split] * len(each.images), rule=rule)


KINDS: dict[str, Callable[[Finder, DataSpec], list[PictureList]]] = {
    # their lists are .txt files, each of a form of its own, which the two general readers do not look at
    "tiny-imagenet": lambda finder, spec: tiny_imagenet(finder.root),
    "food-101": lambda finder, spec: food_101(finder.root),
    "cub-200": lambda finder, spec: cub_200(finder.root),
    "metadata": _metadata,
    "csv": _at_the_top,
}
"""Kind of lists -> what reads them from a folder; [] if it has none of this kind. The first that finds any is used."""
