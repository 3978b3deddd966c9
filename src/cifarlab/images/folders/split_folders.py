"""Decide what the folders of a data set mean: which are splits, which are classes, and which only wrap it.

Folders that can be read in two ways are refused, and the error names the option that decides; nothing is guessed, and
everything that is left out is reported.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cifarlab.console import printable
from cifarlab.errors import AmbiguousDataError, DataError, UsageError
from cifarlab.images.folders.class_folders import (
    chain,
    class_folders,
    folder_names,
    holds_no_classes,
    sharing_names,
    without_classes,
)
from cifarlab.images.folders.scan import Folder, Tree
from cifarlab.images.source import BESIDE, EMPTY, LOOSE, OURS, UNLABELLED
from cifarlab.images.words import SUFFIXES, split_of, split_rule
from cifarlab.language import listed, tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS, Split, named_splits


@dataclass(frozen=True)
class ClassFolder:
    """The pictures directly inside `folders` are of one class and one split; split is "" if the data has no splits."""

    split: str
    class_name: str
    folders: tuple[Folder, ...]


@dataclass
class Meaning:
    """The meaning of a tree of folders.

    root: the folder that holds the splits or classes, inside the folders that only wrap it. layout: the value of
    data.layout that gives the same reading. rule: one sentence that says what the folders mean, to be `retold`.
    split_folders: split -> its folder's path below the root, or, in layout class-first, its name in every class.
    left_out: reason -> folders and pictures that are not used for that reason.
    """

    root: Folder
    layout: str
    rule: str = ""
    classes: list[ClassFolder] = field(default_factory=list)
    split_folders: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def split_names(self) -> str:
        """The value of data.split_names that gives the same reading; a test split that is added later still counts."""
        if not self.split_folders:
            return ""
        # "val=" where there is none: a folder called dev that is added later must not replace the held-out images
        splits = [split for split in SPLITS if split in self.split_folders or split == "val"]
        text = io.StringIO()  # as CSV, because a folder's name may hold a comma
        csv.writer(text, lineterminator="").writerow(f"{split}={self.split_folders.get(split, '')}" for split in splits)
        return text.getvalue()


def understand(tree: Tree, spec: DataSpec) -> Meaning:
    """Decide what the folders of a tree mean: by the options in `spec`, else by their names and contents.

    Raises AmbiguousDataError for folders that can be read in two ways, DataError if no class folder has pictures, and
    UsageError for options that contradict each other.
    """
    where = printable(str(tree.root))
    tree.refuse_links()
    if not tree.top.num_pictures:
        raise DataError(_no_pictures(where, tree))
    top = _unwrapped(tree.top)
    named, layout = named_splits(spec.split_names), str(spec.layout)
    if named and layout == "classes":
        raise UsageError(
            tr("--split-names names splits, and --layout classes says that there are none: leave one of them out.")
        )
    if layout != "class-first" and not all(top.find(name) for name in named.values()):
        top = tree.top  # the user gave paths from the top: --split-names train=archive/learn
    by_split = {} if layout == "class-first" else _folders_of_splits(where, top, named)
    if layout == "auto":
        layout = "splits" if named else _recognised_layout(where, top, by_split)
    meaning = Meaning(top, layout)
    if layout == "class-first":
        _read_class_first(where, meaning, named)
    # "leaves" says which folders are classes, not whether there are splits: there are if all folders are called so
    elif layout == "splits" or (layout == "leaves" and (named or sum(map(len, by_split.values())) == len(top.filled))):
        _read_splits(where, meaning, by_split, spec)
    else:
        classes = class_folders(where, top, spec, "classes")
        meaning.classes = [ClassFolder("", name, folders) for name, folders in classes]
        meaning.rule = _rule(
            top, translatable("The folders are the classes"), translatable("The folders in {root}/ are the classes")
        )
    if layout == "leaves":
        meaning.rule = _rule(
            top,
            translatable("Every folder with pictures is a class"),
            translatable("Every folder with pictures in {root}/ is a class"),
        )
    if spec.layout != "auto" or named:
        meaning.rule = translatable("{rule}, as the options say").format(rule=meaning.rule)
    _leave_out(tree, meaning)
    return meaning


def _no_pictures(where: str, tree: Tree) -> str:
    """The error message for a folder without pictures."""
    found = [tr("{reason}: {n:,}", reason=tr(reason), n=len(names)) for reason, names in tree.left_out.items()]
    none = tr("No pictures in {folder} (left out, {found}).") if found else tr("No pictures in {folder}.")
    looked_for = tr("Looked for {suffixes} in train/<class>/ and test/<class>/, or in <class>/.")
    return "\n".join(
        [
            none.format(folder=where, found=tr("; ").join(found)),
            looked_for.format(suffixes=listed(sorted(SUFFIXES))),
        ]
    )


def _unwrapped(folder: Folder) -> Folder:
    """The folder that holds the splits or classes; archives often unpack to one or two folders around it.

    A folder wraps a data set if it is the only one with pictures and holds folders; if it holds only pictures, it is a
    class.
    """
    while len(folder.filled) == 1:
        only = folder.filled[0]  # "Garbage classification/Garbage classification/", "fruits-360/"
        if split_of(only.basename):  # "test/" wraps a data set only if all folders in it are splits
            wraps = bool(only.filled) and all(split_of(inner.basename) and inner.filled for inner in only.filled)
        else:
            wraps = len(only.filled) > 1 or any(not only.pictures or inner.filled for inner in only.filled)
        if not wraps:
            break
        folder = only
    return folder


def _folders_of_splits(where: str, top: Folder, named: Mapping[str, str]) -> dict[Split, list[Folder]]:
    """Split -> the folders that are called like it, or the one that the user named; in the order of SPLITS."""
    usual = _usual_splits([folder.basename for folder in top.filled])
    found: dict[Split, list[Folder]] = defaultdict(list)
    for folder, split in zip(top.filled, usual, strict=True):
        if split and split not in named:
            found[split].append(folder)
    for split in SPLITS:
        if name := named.get(split):
            chosen = top.find(name)
            if chosen is None or not chosen.num_pictures:
                raise DataError(
                    tr(
                        "{where} has no folder {folder} with pictures to be its {split} split.\nIt has: {folders}.",
                        where=where,
                        folder=printable(name),
                        split=split,
                        folders=folder_names(top.filled, 20),
                    )
                )
            found[split] = [chosen]
    # "train=archive,test=archive/test" would test on training pictures
    for split, other in itertools.combinations(found, 2):
        for a, b in itertools.product(found[split], found[other]):
            if f"{a.name}/".startswith(f"{b.name}/") or f"{b.name}/".startswith(f"{a.name}/"):
                text = tr("{where}: {split} and {other} would have pictures in common, those in {folders}.")
                raise DataError(text.format(where=where, split=split, other=other, folders=folder_names([a, b])))
    return {split: found[split] for split in SPLITS if split in found}


def _usual_splits(names: Sequence[str]) -> list[Split | None]:
    """The split that each name stands for; words that all names share are ignored (flowers_train, flowers_test)."""
    alone = [split_of(name) for name in names]
    # needs two names: a lone folder flowers_train may be a class
    if any(alone) or len(names) < 2:
        return alone
    words = [re.findall(r"[^\W_]+", name) for name in names]
    common = set(words[0]).intersection(*words[1:])
    return [split_of(" ".join(word for word in each if word not in common)) for each in words]


def _recognised_layout(where: str, top: Folder, by_split: Mapping[Split, Sequence[Folder]]) -> str:
    """Decide by names and contents whether the folders at the top are splits, classes, or classes that hold splits."""
    called = [folder for folders in by_split.values() for folder in folders]  # train, test, ...
    others = [folder for folder in top.filled if folder not in called]
    holding = [folder for folder in called if not holds_no_classes(folder)]  # class folders, as a split must
    if not called:
        return _classes_or_class_first(where, top)
    is_train_alone = [folder.basename.casefold() for folder in called] == ["train"]
    if is_train_alone and others and not holding and len({chain(folder) for folder in (*called, *others)}) == 1:
        return "classes"  # buses, cars and trains: a split called train would hold class folders
    if not holding and not others:  # YOLO's train/images and valid/images, Dogs vs. Cats' train/cat.0.jpg
        otherwise = tr(
            "If {folders} are classes, say so with --layout classes (data.layout).", folders=folder_names(called)
        )
        raise AmbiguousDataError(f"{without_classes(where, top)}\n{otherwise}")
    # a test split without class folders may have secret labels; a train split without them cannot be learnt from
    is_train_flat = any(folder not in holding for folder in by_split.get("train", ()))
    if not holding or is_train_flat or (others and len(by_split) == 1):
        either = tr("{where} can be read in two ways: {folders} may be splits, or classes.")
        if others:
            either = tr("{where} can be read in two ways: {folders} may be splits, or classes, like {others}.")
        either = either.format(where=where, folders=folder_names(called), others=folder_names(others))
        advice = tr(
            "Say which: --layout splits or --layout classes (data.layout). Splits under other names are named with "
            '--split-names "train=learn,test=check" (data.split_names).'
        )
        raise AmbiguousDataError(f"{either}\n{advice}")
    # train/, test/ and TEST_SIMPLE/ (a blood cell data set): a third split by another name, or a second version of one
    missing = [split for split in SPLITS if split not in by_split]
    same = [folder for folder in others if missing and folder in sharing_names([folder, *holding])]
    if same:
        wanted = "train" if "train" in missing else missing[-1]
        raise AmbiguousDataError(
            tr(
                "{where} can be read in two ways: {folder} holds folders of the same names as {others}.\n"
                'If it is a split, say --split-names "{split}={name}" (data.split_names); '
                "to leave it out, --layout splits (data.layout).",
                where=where,
                folder=folder_names(same),
                others=folder_names(holding),
                split=wanted,
                name=same[0].basename,
            )
        )
    return "splits"


def _classes_or_class_first(where: str, top: Folder) -> str:
    """Decide whether the folders at the top are plain classes, or classes that each hold a train/ and a test/."""
    split_in_two = [
        folder
        for folder in top.filled
        if folder.filled and all(split_of(inner.basename) and not inner.filled for inner in folder.filled)
    ]
    if not split_in_two:
        return "classes"
    if len(split_in_two) < len(top.filled) or any(folder.pictures for folder in top.filled):
        raise AmbiguousDataError(
            tr(
                "{where} can be read in two ways: {folders} may be classes that hold splits ({inner}), but not all "
                "folders beside it do.\n"
                "Say --layout class-first (only pictures in splits are used) or --layout classes (data.layout).",
                where=where,
                folders=folder_names(split_in_two),
                inner=folder_names(split_in_two[0].filled),
            )
        )
    return "class-first"


def _read_splits(where: str, meaning: Meaning, by_split: Mapping[Split, Sequence[Folder]], spec: DataSpec) -> None:
    """Read the folders at the top as splits, each with its classes, perhaps inside a wrapping folder."""
    if not by_split:
        raise DataError(
            tr(
                "{where} has no folder that is called like a split. It has: {folders}.\n"
                'Name them with --split-names "train=learn,test=check" (data.split_names).',
                where=where,
                folders=folder_names(meaning.root.filled, 20),
            )
        )
    for split, folders in by_split.items():
        if len(folders) > 1:
            raise AmbiguousDataError(
                tr(
                    "{where} has several folders for {split}: {folders}.\n"
                    'Say which with --split-names "{split}={name}" (data.split_names), or keep one of them.',
                    where=where,
                    split=split,
                    folders=folder_names(folders),
                    name=folders[0].basename,
                )
            )
        top = _unwrapped_split(folders[0], [other[0] for key, other in by_split.items() if key != split])
        if holds_no_classes(top) and split != "train":  # ImageNet's val and test, ASL Alphabet's test
            meaning.left_out[UNLABELLED] += [name for folder in folders[0].walk() for name in folder.names()]
            continue
        found = class_folders(where, top, spec, "splits")
        meaning.classes += [ClassFolder(split, name, inner) for name, inner in found]
        meaning.split_folders[split] = top.relative_to(meaning.root)
    if not meaning.split_folders:
        raise DataError(without_classes(where, meaning.root))
    meaning.rule = _rule_of_splits(meaning)


def _rule_of_splits(meaning: Meaning) -> str:
    *first, last = [f"{printable(name)}/" for name in meaning.split_folders.values()]
    if first:
        rules = (
            translatable("The splits are {first} and {last}, the folders in them are the classes"),
            translatable("The splits in {root}/ are {first} and {last}, the folders in them are the classes"),
        )
    else:
        rules = (
            translatable("The only split is {last}, the folders in it are the classes"),
            translatable("The only split in {root}/ is {last}, the folders in it are the classes"),
        )
    return _rule(meaning.root, *rules, first=", ".join(first), last=last)


def _unwrapped_split(folder: Folder, others: Iterable[Folder]) -> Folder:
    """The folder in which the classes of a split lie: seg_train/seg_train/<class>."""
    # test/cat/ is alone if test has no dogs; it does not wrap a split, because another split has cat/ as a class
    known = {inner.basename for other in others for inner in other.filled if len(other.filled) > 1 or not inner.filled}
    while len(folder.filled) == 1 and folder.filled[0].basename not in known:
        inner = folder.filled[0]
        if not inner.filled or inner.pictures:
            break
        folder = inner
    return folder


def _read_class_first(where: str, meaning: Meaning, named: Mapping[str, str]) -> None:
    """Read the folders at the top as classes that hold splits: <class>/train/*."""
    split_called, names = split_rule(named), defaultdict[str, set[str]](set)
    for folder in meaning.root.filled:
        for inner in folder.filled:
            if split := split_called(inner.basename):
                meaning.classes.append(ClassFolder(split, folder.basename, tuple(inner.walk())))
                names[split].add(inner.basename)
    if not meaning.classes:
        text = tr("{where} has no class folders with splits in them. It has: {folders}.")
        raise DataError(text.format(where=where, folders=folder_names(meaning.root.filled, 20)))
    if all(len(each) == 1 for each in names.values()):  # "train" in one class and "Train" in another: no single name
        meaning.split_folders = {split: each.pop() for split, each in names.items()}
    meaning.rule = _rule(
        meaning.root,
        translatable("The folders are the classes, the folders in them the splits"),
        translatable("The folders in {root}/ are the classes, the folders in them the splits"),
    )


def _leave_out(tree: Tree, meaning: Meaning) -> None:
    """Record everything that belongs to no class, with the reason."""
    used = {folder.name for each in meaning.classes for folder in each.folders}
    # the folders around a class folder: pictures directly inside them belong to no class
    above = {name[:place] for name in used for place in range(len(name)) if name[place] == "/"} | {""}
    unlabelled = set(meaning.left_out[UNLABELLED])
    waiting = [tree.top]
    while waiting:
        folder = waiting.pop()
        if folder.name in used or folder.name in above:
            if folder.name not in used:
                meaning.left_out[LOOSE] += folder.names()
            waiting += reversed(folder.folders)  # reversed, because pop() takes the last one
        elif not folder.num_pictures:
            # folders of runs are already recorded as such
            if not any(name.startswith(f"{folder.name}/") for name in tree.left_out.get(OURS, ())):
                meaning.left_out[EMPTY].append(folder.name)
        # unlabelled pictures are already recorded one by one; their folder would count them twice
        elif not unlabelled.intersection(name for each in folder.walk() for name in each.names()):
            meaning.left_out[BESIDE].append(folder.name)


def _rule(root: Folder, plain: str, wrapped: str, **names: str) -> str:
    """Fill in one of two sentences for `Meaning.rule`: the second names the root, where folders wrap the data set."""
    return (wrapped if root.name else plain).format(root=printable(root.name), **names)
