"""Decide which folders are classes, in a data set without splits or in one of its splits."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.scan import Folder
from cifarlab.images.words import split_of
from cifarlab.recipe.schema import DataSpec

IMAGE_FOLDERS = frozenset(
    {"image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "jpegimages"}
    | {"jpg", "jpgs", "jpeg", "jpegs", "png", "pngs"}
)
"""Usual names of a folder with the pictures of all classes, in lower case; no class has such a name."""
# Oxford-IIIT Pet has annotations/trimaps, Pascal VOC SegmentationClass and SegmentationObject
ANNOTATION_FOLDERS = frozenset(
    {"annotation", "annotations", "label", "labels", "mask", "masks", "trimap", "trimaps", "gt", "ground_truth"}
    | {"segmentation", "segmentations", "segmentationclass", "segmentationobject", "depth", "edges"}
)
"""Folders beside one of IMAGE_FOLDERS whose pictures annotate its pictures."""
# HAM10000_images_part_1 and HAM10000_images_part_2
NUMBERED_PARTS = (
    frozenset({"part", "batch", "fold", "chunk", "shard", "folder", "dir", "volume", "set"}) | IMAGE_FOLDERS
)
"""With a number, these name a part of a data set that is too large for one folder or archive: images_001, part 2."""

Classes = list[tuple[str, tuple[Folder, ...]]]
"""Names of classes, each with the folders whose own pictures belong to it."""


def class_folders(where: str, top: Folder, spec: DataSpec, layout: str) -> Classes:
    """The classes among the folders in `top`.

    Without an option, the pictures of every class are directly in its folder, or below it along the same chain of
    folders (<class>/images/*). where, layout: for messages, the data set and the layout to suggest. Raises
    AmbiguousDataError if the pictures are at other depths, DataError if there are no class folders.
    """
    if holds_no_classes(top):
        raise DataError(without_classes(where, top))
    _refuse_unread(where, top, spec)
    if spec.layout == "leaves":  # SUN397 has a/abbey and b/bakery/shop: the path is the name
        leaves = [folder for folder in top.walk() if folder.pictures and folder is not top]
        return [(folder.relative_to(top), (folder,)) for folder in leaves]
    if spec.layout == "auto":
        _refuse_parts(where, top, layout)
        _refuse_depths(where, top, layout)
    return [(folder.basename, tuple(folder.walk())) for folder in top.filled]


def holds_no_classes(top: Folder) -> bool:
    """Whether a folder has pictures of any class right inside, or in one folder that is not called like a class."""
    if len(top.filled) != 1:
        return not top.filled
    inner = top.filled[0]
    # train/images/ or test/test/ with pictures right inside; train/cat/ is a class, if the only one
    wraps = (
        inner.basename.casefold() in IMAGE_FOLDERS
        or inner.basename == top.basename
        or split_of(inner.basename) is not None
    )
    return wraps and not inner.filled


def without_classes(where: str, top: Folder) -> str:
    """The error message for pictures that are not in class folders."""
    holders = [folder for folder in top.walk() if folder.pictures]
    places = [f"{printable(folder.name)}/" if folder.name else "it" for folder in holders]
    return (
        f"{where} has pictures right inside {some(places, 3)}, and no class folders.\n"
        "Put the pictures of each class into a folder, or name their classes in a CSV with the columns image and label."
    )


def chain(folder: Folder) -> tuple[str, ...] | None:
    """The names of the folders on the only way down to the pictures; None if there are several ways."""
    names: list[str] = []
    while folder.filled:
        if folder.pictures or len(folder.filled) > 1:
            return None
        folder = folder.filled[0]
        names.append(folder.basename)
    return tuple(names)


def sharing_names(folders: Sequence[Folder]) -> list[Folder]:
    """Those folders that hold folders of the same names as another one does: versions or splits of one data set."""
    # PlantVillage: color/, grayscale/ and segmented/, each with all classes
    names = [{inner.basename.casefold() for inner in folder.filled} for folder in folders]
    return [
        folder
        for number, folder in enumerate(folders)
        if any(names[number] & other for place, other in enumerate(names) if place != number)
    ]


def listed(folders: Collection[Folder], limit: int = 5) -> str:
    """The last names of folders, for a message."""
    return some([f"{printable(folder.basename)}/" for folder in folders], limit)


def _refuse_unread(where: str, top: Folder, spec: DataSpec) -> None:
    """Raise DataError for a class whose pictures are all in formats that are not read."""
    # to the scan it looks like a folder without pictures, which is left out: the data set would lose a class
    lost = [folder for folder in top.folders if not folder.num_pictures and any(each.unread for each in folder.walk())]
    if lost and not spec.skip_bad:
        raise DataError(
            f"{where} has folders whose pictures are all in formats that are not read: {listed(lost)}.\n"
            "Convert them to PNG or JPEG, remove these folders, or leave them out with --skip-bad (data.skip_bad)."
        )


def _refuse_parts(where: str, top: Folder, layout: str) -> None:
    """Raise AmbiguousDataError for folders of pictures, of annotations of these pictures, and for numbered parts."""
    names = {folder.basename.casefold() for folder in top.filled}
    # letters alone: folders that differ only in their numbers have one tuple of words; so have classes 0 to 9, but
    # theirs is empty and names no part
    words = {tuple(re.findall(r"[^\W\d_]+", name)) for name in names}
    are_numbered = len(names) > 1 and len(words) == 1 and not NUMBERED_PARTS.isdisjoint(*words)
    if are_numbered or (names & IMAGE_FOLDERS and names <= IMAGE_FOLDERS | ANNOTATION_FOLDERS):
        raise AmbiguousDataError(
            f"{where} has pictures in {listed(top.filled)}, which do not sound like classes.\n"
            "Name the classes in a CSV with the columns image and label, or give the folder that holds the class "
            f"folders. If these are the classes, say so with --layout {layout} (data.layout)."
        )


def _refuse_depths(where: str, top: Folder, layout: str) -> None:
    """Raise AmbiguousDataError where folders in class folders may be parts of classes, or classes themselves."""
    ways = {folder: chain(folder) for folder in top.filled}
    if len(set(ways.values())) == 1 and None not in ways.values():  # all <class>/*, or all <class>/images/*
        return
    # the most telling reason first: versions or splits, then a copy of the data set in itself, then any other depth
    deep = [folder for folder, way in ways.items() if way != ()]
    if shared := sharing_names(deep):
        raise AmbiguousDataError(
            f"{where} can be read in several ways: {listed(shared)} hold folders of the same names "
            f"({listed(shared[0].filled, 3)}).\n"
            f'Splits are named with --split-names "train={shared[0].basename},test={shared[1].basename}" '
            "(data.split_names). "
            f"Of several versions of the same pictures, give one folder: {where}/{printable(shared[0].name)}.\n"
            f"If {listed(shared)} are classes, say so with --layout {layout} (data.layout)."
        )
    # the Malaria data set comes as cell_images/<class> with another cell_images/<class> in it
    siblings = {folder.basename for folder in top.filled}
    if copies := [folder for folder in deep if any(inner.basename in siblings for inner in folder.filled)]:
        raise AmbiguousDataError(
            f"{where} can be read in two ways: {listed(copies)} holds folders of the same names as those beside it.\n"
            f"If it is a copy, remove it or give it alone: {where}/{printable(copies[0].name)}. "
            f"If it is a class, say so with --layout {layout} (data.layout)."
        )
    raise AmbiguousDataError(
        f"{where} can be read in two ways: {listed(deep)} {'holds' if len(deep) == 1 else 'hold'} folders with "
        f"pictures in them ({listed(deep[0].filled, 3)}).\n"
        f"If all that lies in {listed(top.filled)} is of this class, say --layout {layout}; "
        "if every folder that holds pictures is a class, --layout leaves (data.layout)."
    )
