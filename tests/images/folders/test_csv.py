"""CSV lists of pictures: columns, splits, rows that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.read import open_csv
from cifarlab.images.images import Images
from cifarlab.recipe import DataSpec


def read_csv(path: Path, split: str, *, cache_dir: Path, **options) -> Images:
    return open_csv(path, DataSpec(**options), cache_dir).load(split)


def csv_splits(path: Path) -> tuple[str, ...]:
    return open_csv(path, DataSpec(), path.parents[1] / "cache").splits


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def draw(path: Path, level: int, size: int = 32, kind: str = "PNG") -> Path:
    """Store a plain grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (level,) * 3).save(path, kind)
    return path


def levels(images) -> list[int]:
    return images.pixels[:, 0, 0, 0].tolist()


def write_csv(root: Path, *rows: str, columns: str = "image,label,split") -> Path:
    root.mkdir(exist_ok=True)
    path = root / "list.csv"
    path.write_text("\n".join([columns, *rows, ""]), "utf-8")
    return path


def test_csv_with_splits(root, cache):
    for number in range(4):
        draw(root / "images" / f"{number}.png", number)
    rows = [
        "images/3.png,dog,train",
        "./images/2.png,cat,train",
        "images/1.png, dog ,valid",
        "images/0.png,cat,Test",
    ]
    path = write_csv(root, *rows)
    assert csv_splits(path) == ("train", "val", "test")
    train = read_csv(path, "train", cache_dir=cache)
    assert train.class_names == ("cat", "dog") and levels(train) == [2, 3]
    assert levels(read_csv(path, "val", cache_dir=cache)) == [1]
    assert levels(read_csv(path, "test", cache_dir=cache)) == [0]


def test_csv_without_splits(root, cache):
    for number in range(10):
        draw(root / f"{number}.png", number)
    path = write_csv(root, *(f"{number}.png,{number % 2}" for number in range(10)), columns="image,label")
    assert csv_splits(path) == ("train", "test")
    train, test = (read_csv(path, split, cache_dir=cache) for split in ("train", "test"))
    assert sorted(levels(train) + levels(test)) == list(range(10)) and test.counts.tolist() == [1, 1]
    assert all(level % 2 == label for level, label in zip(levels(train), train.labels, strict=True))


def test_d18_csv_names_files_that_are_missing(root, cache):
    draw(root / "1.png", 1)
    path = write_csv(root, "1.png,a,train", "2.png,a,train")
    with pytest.raises(DataError, match=r"1 of 2 train pictures.*\n2.png: no such file"):
        read_csv(path, "train", cache_dir=cache)
    assert len(read_csv(path, "train", skip_bad=True, cache_dir=cache)) == 1


def test_d17_csv(root, cache):
    draw(root / "1.png", 1)
    draw(root / "2.png", 1)
    with pytest.raises(DataError, match="without a picture in train: b"):
        read_csv(write_csv(root, "1.png,a,train", "2.png,b,test"), "train", cache_dir=cache)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1.png,,train", "has no label"),
        ("1.png", "has no label"),
        ("1.png,a,tomorrow", "has the split 'tomorrow'; allowed: train, training, val"),
        ("1.png,a,", "has the split ''"),
        (",a,train", "names no picture"),
        ("/etc/passwd,a,train", "lies outside"),
        ("../1.png,a,train", "lies outside"),
        ("images/../../1.png,a,train", "lies outside"),
        ("ok.png,a,train", "names a picture again"),
        ("link.png,a,train", "leads out of the folder"),
        ("linked/1.png,a,train", "leads out of the folder"),
    ],
)
def test_csv_rows_that_cannot_be_used(root, cache, tmp_path, row, problem):
    draw(root / "ok.png", 1)
    outside = draw(tmp_path / "outside" / "1.png", 9)
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    path = write_csv(root, "ok.png,a,train", row)
    with pytest.raises(DataError, match=r"(?s)row 2 \(.*" + problem):
        read_csv(path, "train", cache_dir=cache)


@pytest.mark.parametrize("text", ["", "picture,class\n1.png,a\n", "image\n1.png\n"])
def test_csv_without_its_columns(root, cache, text):
    root.mkdir()
    (root / "list.csv").write_text(text)
    with pytest.raises(DataError, match="lacks the column"):
        read_csv(root / "list.csv", "train", cache_dir=cache)


def test_csv_that_is_not_there_or_no_text(root, cache):
    with pytest.raises(DataError, match="Cannot read"):
        read_csv(root / "list.csv", "train", cache_dir=cache)
    root.mkdir()
    (root / "list.csv").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(DataError):
        read_csv(root / "list.csv", "train", cache_dir=cache)


def test_n08_labels_that_look_alike(root, cache):
    draw(root / "1.png", 1)
    draw(root / "2.png", 2)
    for pair in (("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("1", "1.0")):
        path = write_csv(root, f"1.png,{pair[0]},train", f"2.png,{pair[1]},test")
        with pytest.raises(AmbiguousDataError, match=r"names look alike: .* and .*\n.*one name") as caught:
            read_csv(path, "train", cache_dir=cache)
        assert all(ascii(label) in str(caught.value) for label in pair)


def test_n10_numbers_as_labels_are_in_the_order_of_numbers(root, cache):
    labels = ["10.0", "-1", "9.5", "9" * 5000]
    for number in range(4):
        draw(root / f"{number}.png", number)
    path = write_csv(root, *(f"{number}.png,{label},train" for number, label in enumerate(labels)))
    assert read_csv(path, "train", cache_dir=cache).class_names == ("-1", "9.5", "10.0", "9" * 5000)
