"""Folders of all kinds, generated: what is clear is read as it was made, what can be read in two ways ends with exit 3.

Each tree is marked when it is made, before anything reads it. There are 200 of each kind here and 2,000 in `make long`.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.read import open_folder
from cifarlab.images.source import Source
from cifarlab.images.words import look_alikes
from cifarlab.recipe.schema import DataSpec

EXAMPLES = max(200, settings.default.max_examples)
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
"""A PNG of one red pixel."""


def words(text: str) -> list[str]:
    return text.split()


CLASSES = (
    *words(
        "cat dog Bird horse ship n01443537 n01629819 0 1 2 7 10 007x tench,_Tinca 猫 café наука Ærø bus car plane a.b"
    ),
    *("sea lion", "hot dog", "T-shirt & top", "test tube", "train_station", "training shoes", "no mask"),
)
TRAIN = words("train Train TRAIN training Training train_data seg_train training_set trainset train-images train2017")
VAL = words("val Val valid validation Validation dev eval val_set valset")
TEST = words("test Test testing Testing test_set seg_test TEST test-data testset test_images")
WRAPPERS = ["photos", "flower_photos", "archive", "2750", "images", "data", "dataset (1)", "v1.0"]
SUFFIXES = words(".png .PNG .jpg .JPEG .bmp .webp .tiff")
"""What a file holds is told by its bytes, so a PNG may be called anything."""
RUN = {"runs/quick/recipe.toml", "runs/quick/figures/curves.png", "runs/x-seeds/recipe.toml", "runs/x-seeds/mean.png"}
LITTER = [
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "README.md",
    "labels.txt",
    "._1.png",
    ".cache/1.png",
    "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "__MACOSX/train/cat/._1.png",
    "$RECYCLE.BIN/1.png",
    "lost+found/1.png",
    "System Volume Information/1.png",
    ".ipynb_checkpoints/1.png",
    "annotations/1.xml",
    "IMG_1.HEIC",
]


@dataclass
class Tree:
    """Files by name, and what they have to be read as: split -> class -> pictures ("" for a split that we draw)."""

    files: set[str] = field(default_factory=set)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, folder: str, number: int, split: str, class_name: str, suffix: str = ".png") -> None:
        self.files |= {f"{folder}/{index}{suffix}" for index in range(number)}
        counts = self.counts.setdefault(split, {})
        counts[class_name] = counts.get(class_name, 0) + number

    def write(self, root: Path) -> Path:
        for name in self.files:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PIXEL)
        return root


class_names = st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True)
numbers = st.integers(1, 4)
suffixes = st.sampled_from(SUFFIXES)


@st.composite
def split_words(draw: st.DrawFn, at_least: int = 1) -> dict[str, str]:
    """Some of the splits, always with train, and what their folders are called."""
    words = {"train": draw(st.sampled_from(TRAIN))}
    for split, names in (("val", VAL), ("test", TEST)):
        if draw(st.booleans()):
            words[split] = draw(st.sampled_from(names))
    if len(words) < at_least:
        words["test"] = draw(st.sampled_from(TEST))
    return words


@st.composite
def clear_trees(draw: st.DrawFn) -> Tree:
    """Class folders; split folders that hold class folders; class folders that hold split folders."""
    tree, names = Tree(), draw(class_names)
    kind = draw(st.sampled_from(["classes", "classes", "splits", "splits", "class-first", "vehicles"]))
    deeper = draw(st.sampled_from(["", "", "/images", "/images/original"])) if kind != "class-first" else ""
    if kind == "vehicles":
        names, deeper = ["bus", "car", "plane", "train"][draw(st.integers(0, 2)) :], deeper.removesuffix("/original")
    if kind in ("classes", "vehicles"):
        for name in names:
            tree.add(f"{name}{deeper}", draw(numbers), "", name, draw(suffixes))
    else:
        for split, word in draw(split_words()).items():
            inner = f"{word}/{draw(st.sampled_from(['', '', f'{word}/', 'data/']))}" if kind == "splits" else ""
            for name in names:
                folder = f"{inner}{name}{deeper}" if kind == "splits" else f"{name}/{word}"
                tree.add(folder, draw(numbers), split, name, draw(suffixes))
    for name in draw(st.lists(st.sampled_from(LITTER), max_size=4, unique=True)):
        places = sorted({file.rpartition("/")[0] for file in tree.files if file.endswith("/0.png")} | {""})
        place = draw(st.sampled_from(places))
        tree.files.add(f"{place}/{name}".lstrip("/"))
    tree.files |= draw(st.sampled_from([set(), set(), RUN, {"cover.png"}, {"empty/notes.txt"}]))
    for wrapper in draw(st.lists(st.sampled_from(WRAPPERS), max_size=2)):
        tree.files = {f"{wrapper}/{name}" for name in tree.files}
    return tree


@st.composite
def ambiguous_trees(draw: st.DrawFn) -> Tree:
    """A clear tree in which one thing can be read in two ways."""
    kind = draw(st.sampled_from(sorted(AMBIGUITIES)))
    tree, names = Tree(), draw(class_names)
    AMBIGUITIES[kind](draw, tree, names)
    for wrapper in draw(st.lists(st.sampled_from(WRAPPERS), max_size=2)):
        tree.files = {f"{wrapper}/{name}" for name in tree.files}
    return tree


def look_alike(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Two names of one class, in one split or in two."""
    pairs = [("Cat", "cat"), ("cat", "cat "), ("café", "cafe\u0301"), ("sea lion", "Sea  lion"), ("01", "1")]
    first, second = draw(st.sampled_from(pairs))
    others = [name for name in names if not look_alikes([name, first])]
    if draw(st.booleans()):
        for name in (first, second, *others):
            tree.add(name, draw(numbers), "", name)
    else:
        for split, name in (("train", first), ("test", second)):
            for each in (name, *others):
                tree.add(f"{split}/{each}", draw(numbers), split, each)


def mixed_depth(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Some classes hold their pictures, one holds folders that do, with or without pictures beside them."""
    split = draw(st.sampled_from(["", "train/"]))
    for name in names[1:]:
        tree.add(f"{split}{name}", draw(numbers), "", name)
    inner = draw(st.lists(st.sampled_from(["persian", "siamese", "more", "images"]), min_size=1, unique=True))
    for each in inner:
        tree.add(f"{split}{names[0]}/{each}", draw(numbers), "", names[0])
    if draw(st.booleans()):
        tree.add(f"{split}{names[0]}", draw(numbers), "", names[0])


def classes_of_classes(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Every folder at the top holds folders of other names."""
    for number, name in enumerate(names):
        for inner in ("a", "b"):
            tree.add(f"{name}/{inner}{number}", draw(numbers), "", name)


def versions(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Folders that hold the same class folders: colour and grey, pictures and masks, or splits under other names."""
    pairs = [("color", "grayscale"), ("images", "masks"), ("learn", "check"), ("training part", "rest")]
    for each in draw(st.sampled_from(pairs)):
        for name in names:
            tree.add(f"{each}/{name}", draw(numbers), "", name)


def parts(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Pictures of all classes in one folder, something about them in others."""
    for each in draw(st.sampled_from([("images", "masks"), ("Images", "labels"), ("JPEGImages", "SegmentationClass")])):
        tree.add(each, draw(numbers), "", each)


def splits_without_classes(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Pictures right inside the folders of splits."""
    for split, word in draw(split_words()).items():
        tree.add(word, draw(numbers), split, word)


def classes_called_like_splits(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Class folders beside a folder with pictures that is called like a split, other than a train among vehicles."""
    words = [word for word in (*TRAIN, *VAL, *TEST) if word.casefold() != "train"]
    for name in (*names, draw(st.sampled_from(words))):
        tree.add(name, draw(numbers), "", name)


def split_beside_classes(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """A folder called like a split that holds folders, beside folders with pictures."""
    word = draw(st.sampled_from([*TRAIN, *VAL, *TEST]))
    for inner in ("steam", "electric"):
        tree.add(f"{word}/{inner}", draw(numbers), "", word)
    for name in names:
        tree.add(name, draw(numbers), "", name)


def two_of_one_split(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Two folders for one split."""
    split, words = draw(st.sampled_from([("train", TRAIN), ("val", VAL), ("test", TEST)]))
    usual = draw(st.lists(st.sampled_from(words), min_size=2, max_size=2, unique_by=str.casefold))
    for word in {*usual, "train"} if split != "train" else usual:
        for name in names:
            tree.add(f"{word}/{name}", draw(numbers), split, name)


def unknown_split(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """A folder that is not called like a split, with the same classes as the splits beside it."""
    words = draw(split_words())
    words.pop("test", None)
    for word in (*words.values(), draw(st.sampled_from(["holdout", "rest", "check", "unseen pictures"]))):
        for name in names:
            tree.add(f"{word}/{name}", draw(numbers), "", name)


def some_class_first(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """Splits in some class folders, pictures right inside others."""
    for split in ("train", "test"):
        tree.add(f"{names[0]}/{split}", draw(numbers), split, names[0])
    for name in names[1:]:
        tree.add(name, draw(numbers), "", name)


def class_lost_to_its_format(draw: st.DrawFn, tree: Tree, names: list[str]) -> None:
    """A class all of whose pictures are in a format that is not read."""
    split = draw(st.sampled_from(["", "train/"]))
    for name in names:
        tree.add(f"{split}{name}", draw(numbers), "", name, ".heic" if name == names[0] else ".png")
    if len(names) == 2:
        tree.add(f"{split}zebra", 1, "", "zebra")


AMBIGUITIES = {
    each.__name__: each
    for each in (
        *(look_alike, mixed_depth, classes_of_classes, versions, parts, splits_without_classes, unknown_split),
        *(classes_called_like_splits, split_beside_classes, two_of_one_split, some_class_first),
        class_lost_to_its_format,
    )
}


def read(tree: Tree, root: Path) -> Source:
    return open_folder(tree.write(root / "data"), DataSpec(image_size=8), root / "cache")


@settings(max_examples=EXAMPLES)
@given(clear_trees())
def test_clear_trees_are_read_as_they_were_made(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = read(tree, Path(folder))
        counts = source.understanding.counts
        if "" in tree.counts:
            assert source.understanding.own_split
            drawn = {name: sum(each[name] for each in counts.values()) for name in counts["train"]}
            assert drawn == tree.counts[""]
        else:
            assert counts == tree.counts


@settings(max_examples=EXAMPLES // 10)
@given(clear_trees())
def test_the_counts_are_those_of_the_images(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = read(tree, Path(folder))
        for split in source.splits:
            images = source.load(split)
            found = dict(zip(images.class_names, images.counts.tolist(), strict=True))
            assert found == source.understanding.counts[split]


@settings(max_examples=EXAMPLES)
@given(ambiguous_trees())
def test_what_can_be_read_in_two_ways_ends_with_exit_3(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.raises(DataError) as caught:
        read(tree, Path(folder))
    assert caught.value.exit_code == 3
    assert 2 <= len(str(caught.value).splitlines()) <= 3
    if isinstance(caught.value, AmbiguousDataError) and "look alike" not in str(caught.value):
        assert "--layout" in str(caught.value) or "--split-names" in str(caught.value)


NAMES = st.sampled_from([*CLASSES[:6], *TRAIN[:3], *VAL[:2], *TEST[:2], "images", "masks", "@eaDir", ".hidden", "runs"])
FILES = st.sampled_from(["1.png", "2.JPG", "notes.txt", "x.heic", ".DS_Store", "recipe.toml", "Thumbs.db"])
LAYOUTS = st.sampled_from(["auto", "auto", "splits", "classes", "class-first", "leaves"])
SOME_FILES = st.dictionaries(FILES, st.none(), max_size=3)
ANY_TREE = st.recursive(SOME_FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


def flattened(tree: dict[str, Any], prefix: str = "") -> set[str]:
    """The names of all files of a tree of dictionaries, relative to its root."""
    inside = [flattened(inner, f"{prefix}{name}/") for name, inner in tree.items() if inner is not None]
    return {f"{prefix}{name}" for name, inner in tree.items() if inner is None}.union(*inside)


@settings(max_examples=EXAMPLES)
@given(st.dictionaries(NAMES, ANY_TREE, min_size=1, max_size=4), LAYOUTS)
def test_no_picture_of_any_tree_is_lost_in_silence(tree: dict[str, Any], layout: str) -> None:
    """Each picture is used once, or it or a folder around it is named among what is left out."""
    files = flattened(tree)
    with tempfile.TemporaryDirectory() as folder:
        root = Tree(files).write(Path(folder) / "data")
        root.mkdir(exist_ok=True)
        try:
            source = open_folder(root, DataSpec(layout=layout), Path(folder) / "cache")
        except DataError as error:
            assert error.exit_code == 3 and len(str(error).splitlines()) <= 3
            return
    unused = {name for names in source.understanding.left_out.values() for name in names}
    pictures = {name for name in files if name.lower().endswith((".png", ".jpg", ".heic"))}
    used = {name for name in pictures if not any(f"{name}/".startswith(f"{each}/") for each in unused)}
    assert sum(sum(counts.values()) for counts in source.understanding.counts.values()) == len(used)
