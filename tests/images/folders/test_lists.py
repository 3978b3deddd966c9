"""Folders in which lists name the classes: Hugging Face's metadata, Kaggle's competitions, well-known data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders import locate
from cifarlab.images.folders.lists import list_listed
from cifarlab.images.folders.read import recognise_lists
from cifarlab.images.folders.scan import scan
from cifarlab.images.source import UNLISTED, Understanding
from cifarlab.images.sources import data_spec, load_images, open_source
from cifarlab.recipe.schema import DataSpec


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def draw(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number,) * 3).save(root / name, "PNG")


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))


def read(root: Path, **options) -> tuple[dict[str, dict[str, str]], Understanding]:
    """Split -> name -> class, and how the folder was understood."""
    found = list_listed(root, DataSpec(**options), None)
    assert found is not None
    listing, understanding = found
    splits = {split: {file.name: file.class_name for file in files} for split, files in listing.splits.items()}
    return splits, understanding


def test_n23_metadata_at_the_top(root):
    draw(root, "1.png", "more/2.png", "more/3.png")
    write(root / "metadata.csv", "file_name,label,caption", '1.png,cat,"a cat, asleep"', "more/2.png,dog,")
    splits, understanding = read(root)
    assert splits == {"train": {"1.png": "cat", "more/2.png": "dog"}} and understanding.own_split
    assert understanding.kind == "metadata" and understanding.left_out == {UNLISTED: ["more/3.png"]}
    assert understanding.rule.startswith("In metadata.csv the column file_name names the pictures, label their classes")


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_n23_metadata_in_each_split(root, name):
    draw(root, "train/1.png", "train/sub/2.png", "validation/1.png", "test/3.png")
    rows = {"train": ["1.png,cat", "sub/2.png,dog"], "validation": ["1.png,dog"]}
    for split, lines in rows.items():
        if name.endswith(".csv"):
            write(root / split / name, "file_name,label", *lines)
        else:
            pairs = (line.split(",") for line in lines)
            write(root / split / name, *(f'{{"file_name": "{file}", "label": "{label}"}}' for file, label in pairs))
    splits, understanding = read(root)
    assert splits == {
        "train": {"train/1.png": "cat", "train/sub/2.png": "dog"},
        "val": {"validation/1.png": "dog"},
    }
    assert understanding.splits == ("train", "val")
    assert understanding.left_out == {UNLISTED: ["test/3.png"]}


def test_n23_metadata_in_splits_under_unusual_names(root):
    draw(root, "learn/1.png", "check/2.png")
    for split in ("learn", "check"):
        write(root / split / "metadata.csv", "file_name,label", *(["1.png,cat"] if split == "learn" else ["2.png,cat"]))
    splits, _ = read(root, split_names="train=learn,test=check")
    assert splits == {"train": {"learn/1.png": "cat"}, "test": {"check/2.png": "cat"}}


def test_n23_metadata_twice(root):
    draw(root, "train/1.png")
    for name in ("train/metadata.csv", "train/metadata.jsonl"):
        write(root / name, "file_name,label", "1.png,cat")
    with pytest.raises(
        AmbiguousDataError, match=r"several lists .*: train/metadata.csv, train/metadata.jsonl\.\nKeep one"
    ):
        read(root)
    (root / "train/metadata.jsonl").rename(root / "metadata.csv")
    with pytest.raises(AmbiguousDataError, match=r"several lists of the same pictures: metadata.csv, train"):
        read(root)


def test_n23_metadata_without_classes(root):
    draw(root, "cat/1.png", "dog/2.png")
    write(root / "metadata.csv", "file_name,caption", "cat/1.png,a cat")
    assert list_listed(root, DataSpec(), None) is None  # class folders with captions
    assert load_images(root, "train").class_names == ("cat", "dog")
    flat = root.parent / "flat"
    draw(flat, "train/1.png")
    write(flat / "train" / "metadata.csv", "file_name,caption", "1.png,a cat")
    with pytest.raises(DataError, match=r"train/metadata.csv lacks the column label\. Found: file_name, caption"):
        read(flat)


def kaggle(root: Path) -> None:
    draw(root, *(f"{folder}/{number}.png" for folder in ("train", "test") for number in range(1, 7)))
    write(root / "trainLabels.csv", "id,label", *(f"{number},{('cat', 'dog')[number % 2]}" for number in range(1, 7)))
    write(root / "sampleSubmission.csv", "id,label", *(f"{number},cat" for number in range(1, 7)))


def test_n23_kaggles_cifar10(root):
    kaggle(root)
    splits, understanding = read(root)
    assert splits == {"train": {f"train/{number}.png": ("cat", "dog")[number % 2] for number in range(1, 7)}}
    assert understanding.left_out == {UNLISTED: [f"test/{number}.png" for number in range(1, 7)]}
    assert not understanding.own_split
    images = load_images(root, "train")
    assert images.class_names == ("cat", "dog") and images.counts.tolist() == [3, 3]
    from_list = load_images(root / "trainLabels.csv", "train")
    assert from_list.fingerprint == images.fingerprint


def test_n23_a_list_for_each_split(root):
    draw(root, "Train/0/a.png", "Train/12/b.png", "Test/0.png", "Test/1.png", "Meta/0.png", "Meta/12.png")
    write(root / "Train.csv", "Width,ClassId,Path", "8,0,Train/0/a.png", "8,12,Train/12/b.png")
    write(root / "Test.csv", "Width,ClassId,Path", "8,12,Test/0.png", "8,0,Test/1.png")
    write(root / "Meta.csv", "Path,ClassId,SignId", "Meta/0.png,0,3.29", "Meta/12.png,12,1")
    splits, understanding = read(root)
    assert splits == {
        "train": {"Train/0/a.png": "0", "Train/12/b.png": "12"},
        "test": {"Test/1.png": "0", "Test/0.png": "12"},
    }
    assert understanding.left_out == {UNLISTED: ["Meta/0.png", "Meta/12.png"]}


def test_n23_a_list_that_contradicts_its_name(root):
    draw(root, "1.png", "2.png")
    write(root / "train.csv", "image,label,split", "1.png,cat,train", "2.png,dog,test")
    with pytest.raises(AmbiguousDataError, match=r"called like the train split, but has pictures of test in it"):
        read(root)


def test_n23_several_lists(root):
    draw(root, "1.png", "2.png")
    for name in ("labels.csv", "more.tsv"):
        write(root / name, "image,label", "1.png,cat", "2.png,dog")
    with pytest.raises(AmbiguousDataError, match=r"several lists of pictures: labels.csv, more.tsv\.\nGive the one"):
        read(root)


def test_n23_one_list_beside_its_pictures(root):
    draw(root, "photos/1.png", "photos/2.png")
    write(root / "labels.csv", "id,breed", "1,pug", "2,boxer")
    write(root / "sizes.csv", "id,width", "1,8")
    splits, understanding = read(root)
    assert {name for files in splits.values() for name in files} == {"photos/1.png", "photos/2.png"}
    assert understanding.own_split and understanding.kind == "csv"


def test_n23_class_folders_and_a_list_of_something_else(root):
    """Numbers of classes are not pictures, even where pictures have numbers for names."""
    draw(root, "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    write(root / "classes.csv", "id,label", "0,cat", "1,dog")
    assert list_listed(root, DataSpec(), None) is None


@pytest.mark.parametrize("labels", ["cat,dog", "0,1"])
def test_n23_class_folders_and_a_list_that_agrees(root, labels):
    draw(root, "cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png")
    cat, dog = labels.split(",")
    names = [f"cat/0.png,{cat}", f"cat/1.png,{cat}", f"dog/2.png,{dog}", f"dog/3.png,{dog}"]
    write(root / "train.csv", "image,label", *names[::2])
    write(root / "validation.csv", "image,label", *names[1::2])
    splits, _ = read(root)
    assert splits == {"train": {"cat/0.png": cat, "dog/2.png": dog}, "val": {"cat/1.png": cat, "dog/3.png": dog}}


@pytest.mark.parametrize(
    "rows",
    [
        ["cat/0.png,cat", "cat/1.png,cat", "dog/2.png,dog", "dog/3.png,cat"],
        ["cat/0.png,cat", "cat/1.png,kitten", "dog/2.png,dog", "dog/3.png,dog"],
        ["cat/0.png,animal", "cat/1.png,animal", "dog/2.png,animal", "dog/3.png,animal"],
        ["cat/0.png,cat", "dog/2.png,dog"],
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_n23_class_folders_and_a_list_that_disagrees(root, rows, name):
    draw(root, "cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png")
    write(root / name, "file_name,label", *rows)
    with pytest.raises(AmbiguousDataError, match=rf"two ways: its folders name classes, {name} others or .*\n.*lists"):
        read(root)
    assert recognise_lists(root, DataSpec(layout="classes"), root.parent / "cache") is None
    labels = {row.split(",")[1] for row in rows}
    assert {label for files in read(root, layout="lists")[0].values() for label in files.values()} == labels


def test_n23_lists_that_are_asked_for_and_not_there(root):
    draw(root, "cat/0.png", "dog/2.png")
    with pytest.raises(DataError, match=r"has no list of its pictures with their classes.\nLooked for CSV files"):
        open_source(data_spec(root, layout="lists"))


def test_n23_a_folder_around_a_data_set_with_lists(root):
    kaggle(root / "download" / "cifar-10")
    (root / "__MACOSX").mkdir()
    for layout in ("auto", "lists"):
        understanding = open_source(data_spec(root, layout=layout)).understanding
        assert understanding.counts == {"train": {"cat": 3, "dog": 3}}
        assert understanding.settled == {
            "source": str(root / "download" / "cifar-10"),
            "layout": "lists",
            "columns": "image=id,label=label",
        }


def test_n23_tiny_imagenet(root):
    draw(root, *(f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in ("n02", "n01") for number in range(3)))
    draw(root, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    write(root / "val" / "val_annotations.txt", "val_0.JPEG\tn02\t0\t32\t44\t62", "val_1.JPEG\tn01\t52\t55\t57\t59")
    write(root / "wnids.txt", "n02", "n01")
    write(root / "train" / "n01" / "n01_boxes.txt", "n01_0.JPEG\t0\t10\t63\t58")
    splits, understanding = read(root)
    assert splits["val"] == {"val/images/val_1.JPEG": "n01", "val/images/val_0.JPEG": "n02"}
    assert [len(files) for files in splits.values()] == [6, 2]
    assert understanding.counts["train"] == {"n01": 3, "n02": 3}
    assert understanding.kind == "tiny-imagenet"
    assert understanding.left_out == {UNLISTED: ["test/images/test_0.JPEG"]}
    write(root / "val" / "val_annotations.txt", "val_0.JPEG\tn02", "val_1.JPEG")
    with pytest.raises(DataError, match=r"val_annotations.txt cannot be read: line 2 \(val_1.JPEG\) lacks a word"):
        read(root)


def test_n23_food_101(root):
    draw(root, *(f"images/{name}.jpg" for name in ("apple_pie/1", "apple_pie/2", "waffles/3", "waffles/4")))
    for split, names in {"train": ("apple_pie/1", "waffles/3"), "test": ("waffles/4", "apple_pie/2")}.items():
        write(root / "meta" / f"{split}.txt", *names)
    splits, understanding = read(root)
    assert splits == {
        "train": {"images/apple_pie/1.jpg": "apple_pie", "images/waffles/3.jpg": "waffles"},
        "test": {"images/apple_pie/2.jpg": "apple_pie", "images/waffles/4.jpg": "waffles"},
    }
    assert understanding.kind == "food-101"


def test_n23_cub_200(root):
    draw(root, "images/001.Albatross/a.jpg", "images/002.Gull/b.jpg", "images/002.Gull/c.jpg")
    write(root / "images.txt", "1 001.Albatross/a.jpg", "2 002.Gull/b.jpg", "3 002.Gull/c.jpg")
    write(root / "classes.txt", "1 001.Albatross", "2 002.Gull")
    write(root / "image_class_labels.txt", "1 1", "2 2", "3 2")
    write(root / "train_test_split.txt", "1 1", "2 0", "3 1")
    splits, understanding = read(root)
    assert splits == {
        "train": {"images/001.Albatross/a.jpg": "001.Albatross", "images/002.Gull/c.jpg": "002.Gull"},
        "test": {"images/002.Gull/b.jpg": "002.Gull"},
    }
    assert understanding.kind == "cub-200"
    write(root / "train_test_split.txt", "1 1", "2 0")
    with pytest.raises(DataError, match=r"do not fit together: one of images.txt, .* lacks '3'"):
        read(root)


def test_a_folder_without_lists_is_left_to_others(root):
    draw(root, "cat/1.png", "dog/2.png")
    write(root / "results.csv", "epoch,loss", "1,0.5")
    (root / "broken.csv").write_bytes(b"\xff\xfe\x00")
    assert list_listed(root, DataSpec(), None) is None
    assert load_images(root, "train").class_names == ("cat", "dog")


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv"])
def test_a_folder_with_lists_is_scanned_once(root, monkeypatch, name):
    draw(root, "cat/1.png", "dog/2.png")
    write(root / name, "file_name,label", "cat/1.png,cat", "dog/2.png,dog")
    scanned = []
    monkeypatch.setattr(locate, "scan", lambda path, **options: scanned.append(path) or scan(path, **options))
    read(root)
    assert scanned == [root]
