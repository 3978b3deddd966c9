"""Arrays whose names say what they are: an .npz file (Keras, MedMNIST), or a folder of .npy files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.source import NO_IMAGES, NO_SPLIT, Source
from cifarlab.images.tables.arrays import Part, Stored, array_source, to_labels
from cifarlab.images.tables.labels import none
from cifarlab.images.tables.npy import npy_array, npz_arrays
from cifarlab.images.words import SplitRule, split_rule, words_in
from cifarlab.recipe import DataSpec
from cifarlab.section import named_splits

ROLES = {
    **dict.fromkeys(("x", "image", "images", "img", "imgs", "picture", "pictures", "data", "pixels"), "images"),
    **dict.fromkeys(("y", "label", "labels", "target", "targets", "class", "classes"), "labels"),
}
"""Words in the name of an array, in lower case -> what it holds: x_train, y_train, train_images, train_labels, X, y."""
RULE = "The names of the arrays say which are images, which labels, and of which split."


def open_npz(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """An .npz file as a source."""
    return _source(path, "npz", npz_arrays(path), spec)


def recognise_npy(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """A folder of .npy files that are called after what they hold as a source; None for one without."""
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".npy" and file.is_file())
    roles = {_role(file.stem, split_rule({}))[1] for file in files}
    if not {"images", "labels"} <= roles:
        return None
    return _source(path, "npy", {file.stem: npy_array(file) for file in files}, spec)


def _source(path: Path, kind: str, arrays: Mapping[str, Stored], spec: DataSpec) -> Source:
    names, left_out = _sorted(path, arrays, split_rule(named_splits(spec.split_names)))
    parts = {}
    for split, roles in names.items():
        if "images" not in roles:
            left_out.setdefault(NO_IMAGES, []).append(printable(roles["labels"]))
            continue
        images = arrays[roles["images"]]
        its_labels = to_labels(arrays[roles["labels"]]) if "labels" in roles else none(images.origin, images.num_rows)
        parts[split] = Part([images], its_labels)
    if not parts:
        shown = [f"{printable(name)} {stored}" for name, stored in arrays.items()]
        raise DataError(
            f"{path} has no array called like images: x_train and y_train, train_images and train_labels, or X and y.\n"
            f"It has: {some(shown, 12) or 'no arrays'}."
        )
    return array_source(path, kind, RULE, parts, left_out, spec)


def _sorted(
    path: Path, names: Iterable[str], split_of: SplitRule
) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Split -> role -> name of the array, and what is left out for which reason."""
    found: dict[str | None, dict[str, str]] = defaultdict(dict)
    left_out: dict[str, list[str]] = defaultdict(list)
    for name in names:
        split, role = _role(name, split_of)
        if role is None:
            left_out["not called after images or labels"].append(printable(name))
        elif role in found[split]:
            shown = f"{printable(found[split][role])}, {printable(name)}"
            raise AmbiguousDataError(f"{path} has several arrays for the {role} of {split or 'train'}: {shown}.")
        else:
            found[split][role] = name
    unnamed = found.pop(None, {})
    if "train" in found:
        left_out[NO_SPLIT] += map(printable, unnamed.values())
    elif unnamed:  # X and y, beside x_test and y_test or alone
        found["train"] = unnamed
    return {split: roles for split, roles in found.items() if split}, {k: v for k, v in left_out.items() if v}


def _role(name: str, split_of: SplitRule) -> tuple[str | None, str | None]:
    """The split that an array's name says, and what it says that the array holds; None for what it does not say."""
    words = words_in(name)
    splits = [word for word in words if split_of(word) is not None]
    roles = [word for word in words if word.lower() in ROLES and word not in splits]
    if len(splits) > 1 or len(roles) != 1 or len(splits) + len(roles) < len(words):
        return None, None
    return split_of(splits[0]) if splits else None, ROLES[roles[0].lower()]
