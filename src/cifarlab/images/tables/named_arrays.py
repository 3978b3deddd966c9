"""Read arrays whose names say what they are: in an .npz file (Keras, MedMNIST), or in a folder of .npy files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.scan import litter
from cifarlab.images.source import NO_IMAGES, NO_SPLIT, Source
from cifarlab.images.tables.arrays import Part, Stored, array_source, to_labels
from cifarlab.images.tables.labels import none
from cifarlab.images.tables.npy import npy_array, npz_arrays
from cifarlab.images.words import SplitRule, is_picture, split_rule, suffix_of, words_in
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS, named_splits

ROLES = {
    **dict.fromkeys(("x", "image", "images", "img", "imgs", "picture", "pictures", "data", "pixels"), "images"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets", "class", "classes"), "labels"),
}
"""Words in the name of an array, in lower case -> what it holds: x_train, y_train, train_images, train_labels, X, y."""
RULE = translatable("The names of the arrays say which are images, which labels, and of which split.")
NO_ROLE, OTHER_SET = (
    translatable("not called after images or labels"),
    translatable("of another data set by their names"),
)
"""Reasons for leaving arrays out."""


def open_npz(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open an .npz file as a source."""
    return _source(path, "npz", npz_arrays(path), spec)


def recognise_npz(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder that holds an .npz file, and no folders or pictures, as a source; return None for any other."""
    entries = [entry for entry in sorted(path.iterdir()) if not litter(entry.name)]
    files = [entry for entry in entries if suffix_of(entry.name) == ".npz"]
    if not files or any(entry.is_dir() or is_picture(entry.name) for entry in entries):
        return None
    if len(files) > 1:
        raise AmbiguousDataError(
            tr(
                "{path} holds {n} .npz files.\nGive the path of one: {files}.",
                path=path,
                n=len(files),
                files=some([str(file) for file in files], 20),
            )
        )
    return open_npz(files[0], spec, cache_dir)


def recognise_npy(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder of .npy files whose names say what they hold as a source; return None for any other."""
    files = _npy_files(path)
    # Only a folder with both images and labels counts: CIFAR-10-C's has labels.npy, and names its images otherwise.
    roles = {named.role for file in files if (named := _parse_name(file.stem, split_rule({}))) is not None}
    return _source(path, "npy", {file.stem: npy_array(file) for file in files}, spec) if len(roles) == 2 else None


def recognise_neighbours(path: Path, spec: DataSpec) -> Source | None:
    """Open an .npy file with those beside it that belong to it by name; return None if its name says nothing."""
    parsed = {file: _parse_name(file.stem, split_rule({})) for file in _npy_files(path.parent)}
    own = parsed.get(path)
    if own is None:
        return None
    files = [file for file, each in parsed.items() if each is not None and each.data_set == own.data_set]
    return _source(path, "npy", {file.stem: npy_array(file) for file in files}, spec)


def _npy_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if suffix_of(file.name) == ".npy")


def _source(path: Path, kind: str, arrays: Mapping[str, Stored], spec: DataSpec) -> Source:
    named, left_out = _one_data_set(path, arrays, split_rule(named_splits(spec.split_names)))
    parts = {}
    for split, roles in _by_split(path, named, left_out).items():
        if "images" not in roles:
            left_out[NO_IMAGES].append(printable(roles["labels"]))
            continue
        images = arrays[roles["images"]]
        labels = to_labels(arrays[roles["labels"]]) if "labels" in roles else none(images.origin, images.num_rows)
        parts[split] = Part([images], labels)
    if not parts:
        # Shapes and types are shown, too: often they tell the reader which array holds the images.
        shown = [f"{printable(name)} {stored}" for name, stored in arrays.items()]
        raise DataError(
            tr(
                "{path} has no images by the names of its arrays: x_train, train_images, or X.\nIt has: {arrays}.",
                path=path,
                arrays=some(shown, 12) or tr("no arrays"),
            )
        )
    return array_source(path, kind, RULE, parts, left_out, spec)


@dataclass(frozen=True)
class _NameParts:
    """What the name of an array says: its split, its role, and its data set, from the words that are left."""

    split: str | None
    role: str
    data_set: str


def _one_data_set(
    path: Path, names: Iterable[str], split_of: SplitRule
) -> tuple[dict[str, _NameParts], defaultdict[str, list[str]]]:
    """Return the arrays of one data set, and the names of the others by the reason for leaving them out."""
    parsed = {name: _parse_name(name, split_of) for name in names}
    # Names without further words, such as x_train, are the data set ""; x_train_small beside them is left out. Where
    # all names have further words (pathmnist_train_images, bloodmnist_train_images), nothing says which is meant.
    data_sets = sorted({each.data_set for each in parsed.values() if each is not None and each.role == "images"})
    if len(data_sets) > 1 and "" not in data_sets:
        shown = [printable(name) for name, each in parsed.items() if each is not None and each.role == "images"]
        raise AmbiguousDataError(
            tr(
                "{path} holds {n} data sets: {arrays}.\n"
                "Of .npy files, give the path of one; save an .npz file for each.",
                path=path,
                n=len(data_sets),
                arrays=some(shown),
            )
        )
    chosen, left_out = {}, defaultdict[str, list[str]](list)
    for name, each in parsed.items():
        if each is None:
            left_out[NO_ROLE].append(printable(name))
        elif each.data_set not in data_sets[:1]:  # "" sorts first
            left_out[OTHER_SET].append(printable(name))
        else:
            chosen[name] = each
    return chosen, left_out


def _by_split(
    path: Path, named: Mapping[str, _NameParts], left_out: defaultdict[str, list[str]]
) -> dict[str, dict[str, str]]:
    """Return split -> role -> the name of the array; X and y are train, unless other arrays are called so."""
    found: dict[str | None, dict[str, str]] = defaultdict(dict)
    for name, each in named.items():
        if (other := found[each.split].get(each.role)) is not None:
            message = (
                tr("{path} has several arrays for the images of {split}: {arrays}.")
                if each.role == "images"
                else tr("{path} has several arrays for the labels of {split}: {arrays}.")
            )
            shown = some([printable(other), printable(name)])
            raise AmbiguousDataError(message.format(path=path, split=each.split or SPLITS[0], arrays=shown))
        found[each.split][each.role] = name
    unnamed = found.pop(None, {})  # arrays whose names say no split
    if unnamed and "train" in found:
        left_out[NO_SPLIT] += map(printable, unnamed.values())
    elif unnamed:
        found["train"] = unnamed
    return {split: roles for split, roles in found.items() if split is not None}


def _parse_name(name: str, split_of: SplitRule) -> _NameParts | None:
    """Interpret a name; return None if it says neither images nor labels, or both, or several splits."""
    words = words_in(name)
    splits = [word for word in words if split_of(word) is not None]
    roles = [word for word in words if word.lower() in ROLES and word not in splits]
    if len(splits) > 1 or len(roles) != 1:
        return None
    # The words that are left, so that x_train_small and y_train_small belong together.
    others = [word.lower() for word in words if word not in splits + roles]
    return _NameParts(split_of(splits[0]) if splits else None, ROLES[roles[0].lower()], " ".join(others))
