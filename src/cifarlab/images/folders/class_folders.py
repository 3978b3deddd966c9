"""Decide which folders are classes, in a data set without splits or in one of its splits."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.scan import Folder
from cifarlab.images.words import split_of
from cifarlab.language import ntr, tr
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
    places = [f"{printable(folder.name)}/" if folder.name else tr("it") for folder in holders]
    return tr(
        "{where} has pictures right inside {places}, and no class folders.\n"
        "Put the pictures of each class into a folder, or name their classes in a CSV with the columns image and "
        "label.",
        where=where,
        places=some(places, 3),
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


def folder_names(folders: Collection[Folder], limit: int = 5) -> str:
    """The last names of folders, for a message."""
    return some([f"{printable(folder.basename)}/" for folder in folders], limit)


def _refuse_unread(where: str, top: Folder, spec: DataSpec) -> None:
    """Raise DataError for a class whose pictures are all in formats that are not read."""
    # to the scan it looks like a folder without pictures, which is left out: the data set would lose a class
    lost = [folder for folder in top.folders if not folder.num_pictures and any(each.unread for each in folder.walk())]
    if lost and not spec.skip_bad:
        raise DataError(
            tr(
                "{where} has folders whose pictures are all in formats that are not read: {folders}.\n"
                "Convert them to PNG or JPEG, remove these folders, or leave them out with --skip-bad (data.skip_bad).",
                where=where,
                folders=folder_names(lost),
            )
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
            tr(
                "{where} has pictures in {folders}, which do not sound like classes.\n"
                "Name the classes in a CSV with the columns image and label, or give the folder that holds the class "
                "folders. If these are the classes, say so with --layout {layout} (data.layout).",
                where=where,
                folders=folder_names(top.filled),
                layout=layout,
            )
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
            tr(
                "{where} can be read in several ways: {folders} hold folders of the same names ({inner}).\n"
                'Splits are named with --split-names "train={first},test={second}" (data.split_names). '
                "Of several versions of the same pictures, give one folder: {one}.\n"
                "If {folders} are classes, say so with --layout {layout} (data.layout).",
                where=where,
                folders=folder_names(shared),
                inner=folder_names(shared[0].filled, 3),
                first=shared[0].basename,
                second=shared[1].basename,
                one=f"{where}/{printable(shared[0].name)}",
                layout=layout,
            )
        )
    # the Malaria data set comes as cell_images/<class> with another cell_images/<class> in it
    siblings = {folder.basename for folder in top.filled}
    if copies := [folder for folder in deep if any(inner.basename in siblings for inner in folder.filled)]:
        raise AmbiguousDataError(
            tr(
                "{where} can be read in two ways: {folder} holds folders of the same names as those beside it.\n"
                "If it is a copy, remove it or give it alone: {one}. "
                "If it is a class, say so with --layout {layout} (data.layout).",
                where=where,
                folder=folder_names(copies),
                one=f"{where}/{printable(copies[0].name)}",
                layout=layout,
            )
        )
    what = ntr(
        "{where} can be read in two ways: {folders} holds folders with pictures in them ({inner}).",
        "{where} can be read in two ways: {folders} hold folders with pictures in them ({inner}).",
        len(deep),
        where=where,
        folders=folder_names(deep),
        inner=folder_names(deep[0].filled, 3),
    )
    advice = tr(
        "If all that lies in {folders} is of this class, say --layout {layout}; "
        "if every folder that holds pictures is a class, --layout leaves (data.layout).",
        folders=folder_names(top.filled),
        layout=layout,
    )
    raise AmbiguousDataError(f"{what}\n{advice}")
