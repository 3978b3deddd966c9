"""Well-known data sets with lists in forms of their own, as they unpack: Tiny ImageNet, Food-101, CUB-200-2011."""

from __future__ import annotations

from pathlib import Path

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.folders.csv import PictureList
from cifarlab.images.folders.locate import entries
from cifarlab.images.folders.text_table import read_text, shown
from cifarlab.images.words import is_picture
from cifarlab.language import listed, tr, translatable


def tiny_imagenet(root: Path) -> list[PictureList]:
    """Training pictures lie in `train/<class>/images`; a file names the classes of val; those of test are unknown."""
    annotations = root / "val" / "val_annotations.txt"
    if not (annotations.is_file() and (root / "train").is_dir() and (root / "val" / "images").is_dir()):
        return []
    images, classes = list[str](), list[str]()
    for name in (entry.name for entry in entries(root / "train") if entry.is_dir()):
        # many scripts move the pictures up into train/<class>, to be read as class folders
        folder = f"{name}/images" if (root / "train" / name / "images").is_dir() else name
        found = [entry.name for entry in entries(root / "train" / folder) if is_picture(entry.name)]
        images += [f"{folder}/{file}" for file in found]
        classes += [name] * len(found)
    rule = translatable("The folders in train are the classes")
    # train has no list of its own: the rows are made up from its folders, and numbered from 0
    train = PictureList(root / "train", range(len(images)), images, classes, ["train"] * len(images), "train/", rule)
    # val_0.JPEG  n03444034  0  32  44  62: name, class, and a bounding box that is not used
    lines, rows = _words(annotations, at_least=2)
    images, classes = [words[0] for words in rows], [words[1] for words in rows]
    rule = translatable("val/val_annotations.txt names those of val")
    return [train, PictureList(annotations, lines, images, classes, ["val"] * len(images), "val/images/", rule)]


def food_101(root: Path) -> list[PictureList]:
    """Pictures lie in `images/<class>`; `meta/train.txt` and `meta/test.txt` name them without their suffix."""
    files = [root / "meta" / name for name in ("train.txt", "test.txt")]
    if not (all(path.is_file() for path in files) and (root / "images").is_dir()):
        return []
    lists = []
    for path in files:
        # apple_pie/1005649; without these lists the official test pictures would be drawn into train
        lines, rows = _words(path, at_least=1)
        images = [words[0] for words in rows]
        classes = [image.rpartition("/")[0] for image in images]
        rule = translatable("meta/{split}.txt names the {split} pictures, their folders are their classes")
        rule = rule.format(split=path.stem)
        lists.append(PictureList(path, lines, images, classes, [path.stem] * len(images), "images/", rule))
    return lists


def cub_200(root: Path) -> list[PictureList]:
    """Pictures lie in `images`; four files give their numbers, their classes, the classes' names, and their splits."""
    names = ("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")
    if not (all((root / name).is_file() for name in names) and (root / "images").is_dir()):
        return []
    lines, images = _words(root / names[0], at_least=2)
    # each of the other files is a table of two columns: picture -> class, class -> its name, picture -> 1 for train
    class_of, name_of, is_train = (
        {words[0]: words[1] for words in _words(root / name, at_least=2)[1]} for name in names[1:]
    )
    try:
        classes = [name_of[class_of[number]] for number, _ in images]
        splits = [{"1": "train", "0": "test"}[is_train[number]] for number, _ in images]
    except KeyError as error:
        text = tr("The lists in {folder} do not fit together: one of {names} lacks {key}.")
        raise DataError(text.format(folder=printable(str(root)), names=listed(names), key=error)) from error
    rule = translatable(
        "images.txt numbers the pictures, image_class_labels.txt and train_test_split.txt say what they are"
    )
    return [PictureList(root / names[0], lines, [path for _, path in images], classes, splits, "images/", rule)]


def _words(path: Path, at_least: int) -> tuple[list[int], list[list[str]]]:
    """The lines that are not empty: their numbers from 1, and their first `at_least` words."""
    lines, rows = list[int](), list[list[str]]()
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        words = text.split()
        if 0 < len(words) < at_least:
            problem = tr("{file} cannot be read: line {line} ({text}) lacks a word.")
            raise DataError(problem.format(file=printable(str(path)), line=line, text=shown(text)))
        if words:
            lines.append(line)
            rows.append(words[:at_least])
    return lines, rows
