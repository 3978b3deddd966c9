"""CSV lists of pictures: columns, splits, rows that cannot be used."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders.csv import list_csv
from cifarlab.images.folders.read import open_csv
from cifarlab.images.images import Images
from cifarlab.images.source import UNLISTED, WITHOUT_LABELS
from cifarlab.images.sources import data_spec, load_images, open_source
from cifarlab.recipe.schema import DataSpec


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
        ("1.png,a,tomorrow", "has the split 'tomorrow', which is none of train"),
        ("1.png,a,", "has no split, but others have"),
        (",a,train", "names no picture"),
        (".,a,train", "names no picture"),
        ("/etc/passwd,a,train", "lies outside"),
        ("../1.png,a,train", "lies outside"),
        ("images/../../1.png,a,train", "lies outside"),
        ("C:\\pictures\\1.png,a,train", "lies outside"),
        ("ok.png,a,train", "names the picture of line 2 again$"),
        ("./ok.png,b,train", "names the picture of line 2 again, as b instead of a"),
        ("two,a,train", "may be two.jpg or two.png"),
        ("link.png,a,train", "leads out of the folder"),
        ("linked/1.png,a,train", "leads out of the folder"),
        ("dangling.png,a,train", "leads nowhere"),
    ],
)
def test_n10_rows_that_cannot_be_used(root, tmp_path, row, problem):
    draw(root / "ok.png", 1)
    draw(root / "two.png", 2)
    draw(root / "two.jpg", 2)
    outside = draw(tmp_path / "outside" / "1.png", 9)
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    (root / "dangling.png").symlink_to(root / "nothing.png")
    path = write_csv(root, "ok.png,a,train", row)
    with pytest.raises(DataError) as caught:
        list_csv(path, DataSpec(), None)
    first, second = str(caught.value).split("\n")
    assert re.search(r"cannot be used: line 3 \(.*\) " + problem, first.removesuffix("."))
    assert second.startswith("Correct these rows.") and ("--follow-links" in second) == ("leads out" in problem)


def test_n22_links_are_followed_when_asked(root, tmp_path, cache):
    pool = draw(tmp_path / "pool" / "1.png", 9)
    root.mkdir()
    (root / "link.png").symlink_to(pool)
    (root / "linked").symlink_to(pool.parent)
    path = write_csv(root, "link.png,a,train", "linked/1.png,b,train")
    assert levels(read_csv(path, "train", cache_dir=cache, follow_links=True)) == [9, 9]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "picture\n1.png\n", "class\na\n", "1.png,a\n2.png,b\n", "image label\n1.png a\n", "sep=;\n"]
)
def test_csv_without_its_columns(root, text):
    root.mkdir()
    (root / "list.csv").write_text(text)
    with pytest.raises(DataError, match=r"lacks the column (image|label)\. Found: .*\n.*such as image,label\."):
        list_csv(root / "list.csv", DataSpec(), None)


def test_n10_a_list_without_a_head_is_told_to_have_one(root):
    path = write_csv(root, "2.png,b", columns="1.png,a")
    with pytest.raises(DataError, match="Its first row is about a picture already"):
        list_csv(path, DataSpec(), None)


def test_n10_a_list_of_nothing(root):
    for rows in ([], [",,", " , ,"]):
        with pytest.raises(DataError, match="lists no picture"):
            list_csv(write_csv(root, *rows), DataSpec(), None)


def test_csv_that_is_not_there_or_no_text(root):
    with pytest.raises(DataError, match=r"Cannot read .*No such file"):
        list_csv(root / "list.csv", DataSpec(), None)
    root.mkdir()
    (root / "list.csv").write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(DataError, match="is not UTF-8"):
        list_csv(root / "list.csv", DataSpec(), None)


def test_n67_what_is_not_a_file_is_not_opened(root):
    root.mkdir()
    os.mkfifo(root / "list.csv")
    (root / "folder.csv").mkdir()
    for name in ("list.csv", "folder.csv"):
        with pytest.raises(DataError, match="is not a regular file"):
            list_csv(root / name, DataSpec(), None)


def test_n67_names_that_no_file_can_have(root):
    draw(root / "1.png", 1)
    os.mkfifo(root / "pipe.png")
    long = "x" * 5000
    path = write_csv(
        root, "1.png,a,train", f"{long},a,train", f"{long}/1.png,a,train", "1.png/2.png,a,train", "pipe.png,a,train"
    )
    listing, _ = list_csv(path, DataSpec(), None)
    assert [file.size_bytes > 0 for file in listing.splits["train"]] == [True, False, False, False, False]
    jsonl = root / "list.jsonl"
    for name in ("\\ud800.png", "a\\u0000b.png"):
        jsonl.write_text(f'{{"image": "{name}", "label": "a"}}\n')
        with pytest.raises(DataError, match=r"line 1 .* names no picture"):
            list_csv(jsonl, DataSpec(), None)


def splits_of(path: Path, **options) -> dict[str, dict[str, str]]:
    """Split -> name -> class."""
    listing, _ = list_csv(path, DataSpec(**options), None)
    return {split: {file.name: file.class_name for file in files} for split, files in listing.splits.items()}


def four(root: Path) -> None:
    for name in ("cat/1", "cat/2", "dog/3", "dog/4"):
        draw(root / "img" / f"{name}.png", int(name[-1]))


FOUR = {
    "train": {"img/cat/1.png": "cat", "img/dog/3.png": "dog"},
    "val": {"img/cat/2.png": "cat"},
    "test": {"img/dog/4.png": "dog"},
}


@pytest.mark.parametrize(
    "head", ["image,label,Split", " Image , LABEL,SPLIT ", "\ufefffile_name,ClassName,subset", "FileName,species,set"]
)
def test_n09_columns_in_any_case_under_usual_names(root, head):
    four(root)
    rows = ["img/cat/1.png,cat,train", "img/cat/2.png,cat, Val ", "img/dog/3.png,dog,TRAIN", "img/dog/4.png,dog,test"]
    assert splits_of(write_csv(root, *rows, columns=head)) == FOUR


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_n10_dialects(root, separator, line_end, encoding):
    four(root)
    rows = [
        ["path", "category", "partition", "note"],
        ["img/cat/1.png", '"cat"', "train", '"two\r\nlines, a ""quote"" ; | and more"'],
        ["img\\cat\\2.png", " cat", "valid", ""],
        [f'"{root}/img/dog/3.png"', "dog ", "train", ""],
        ["./img//dog/4", "dog", '"test"', ""],
    ]
    text = line_end.join(separator.join(row) for row in [*rows, [""], ["", "", "", ""]])
    (root / "list.csv").write_bytes(text.encode(encoding))
    assert splits_of(root / "list.csv") == FOUR


def test_n10_a_line_for_excel_before_the_head(root):
    four(root)
    rows = ["img/cat/1.png;cat", "img/dog/3.png;dog"]
    path = write_csv(root, "image;label", *rows, columns="sep=;")
    assert splits_of(path) == {"train": {"img/cat/1.png": "cat", "img/dog/3.png": "dog"}}


def test_n10_json_lines(root):
    four(root)
    rows = [
        {"file_name": "img/cat/1.png", "label": 0, "split": "train", "box": [1, 2], "flag": True},
        {"label": 0, "split": "val", "file_name": "img/cat/2.png"},
        {"file_name": "img/dog/3.png", "label": 1, "split": "train", "more": None},
        {"file_name": "img/dog/4.png", "label": 1, "split": "test"},
    ]
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    numbers = {
        split: {name: str(int(label == "dog")) for name, label in files.items()} for split, files in FOUR.items()
    }
    assert splits_of(root / "list.jsonl") == numbers


def test_n10_names_of_columns_are_given(root):
    four(root)
    rows = [
        "img/cat/1.png,cat,0,train",
        "img/cat/2.png,cat,1,val",
        "img/dog/3.png,dog,1,train",
        "img/dog/4.png,dog,0,test",
    ]
    path = write_csv(root, *rows, columns='photo,"kind, of",label,when')
    asked = '"label=kind, of",image=photo,split=When'
    assert splits_of(path, columns=asked) == FOUR
    assert splits_of(path, columns="split=when")["test"] == {"img/dog/4.png": "0"}
    with pytest.raises(DataError, match="lacks the column size"):
        splits_of(path, columns="image=size")


@pytest.mark.parametrize(
    ("head", "row", "candidates"),
    [
        ("image,label,class", ["cat,0", "dog,0", "cat,1", "dog,1"], "label: label, class"),
        ("image,label,Label", ["cat,0", "dog,0", "cat,1", "dog,1"], "label: label, Label"),
        ("image,label,file", ["cat,a", "dog,b", "cat,c", "dog,d"], "image: image, file"),
    ],
)
def test_n10_two_columns_that_may_be_meant(root, head, row, candidates):
    four(root)
    names = [*FOUR["train"], *FOUR["val"], *FOUR["test"]]
    path = write_csv(root, *map(",".join, zip(names, row, strict=True)), columns=head)
    role, _, first = candidates.partition(",")[0].partition(": ")
    with pytest.raises(AmbiguousDataError, match=rf"may be the {candidates}\.\n.*--columns '{role}={first}'"):
        splits_of(path)
    assert splits_of(path, columns=f"{role}={first}")


def test_n10_splits_that_may_be_two(root):
    four(root)
    path = write_csv(root, "img/cat/1.png,cat,train,test", columns="image,label,split,subset")
    with pytest.raises(AmbiguousDataError, match="may be the split: split, subset"):
        splits_of(path)
    assert splits_of(path, columns="split=split") == {"train": {"img/cat/1.png": "cat"}}


def test_n09_a_column_twice(root):
    four(root)
    path = write_csv(root, "img/cat/1.png,cat,dog", columns="image,label, label")
    for columns in ("", "label=label"):
        with pytest.raises(DataError, match="has the column label twice"):
            splits_of(path, columns=columns)
    unused = write_csv(root, "img/cat/1.png,cat,1,2,,", columns="image,label,x,x,,")
    assert splits_of(unused) == {"train": {"img/cat/1.png": "cat"}}


def test_n10_columns_that_say_the_same_are_not_ambiguous(root):
    four(root)
    rows = ["0,1.png,img/cat/1.png,0,cat", "1,3.png,img/dog/3.png,1,dog"]
    path = write_csv(root, *rows, columns="id,filename,filepath,class id,labels")
    listing, understanding = list_csv(path, DataSpec(), None)
    assert listing.class_names == ("cat", "dog")
    assert understanding.settled == {"columns": "image=filepath,label=labels,split="}


def test_n10_splits_under_unusual_names(root):
    four(root)
    names = [*FOUR["train"], *FOUR["val"], *FOUR["test"]]
    words = ("Learn", "learn", "Testing", "check")
    path = write_csv(root, *(f"{name},x,{word}" for name, word in zip(names, words, strict=True)))
    with pytest.raises(DataError, match="has the split 'Learn'"):
        splits_of(path)
    with pytest.raises(DataError, match="has the split 'Testing'"):
        splits_of(path, split_names="train=learn,test=check")
    assert {
        split: len(files) for split, files in splits_of(path, split_names="train=learn,val=testing,test=check").items()
    } == {
        "train": 2,
        "val": 1,
        "test": 1,
    }


def test_n10_folds(root):
    four(root)
    names = [*FOUR["train"], *FOUR["val"], *FOUR["test"]]
    words = write_csv(
        root,
        *(f"{name},x,{split}" for name, split in zip(names, ("train", "train", "dev", "test"), strict=True)),
        columns="image,label,fold",
    )
    assert set(splits_of(words)) == {"train", "val", "test"}
    numbers = write_csv(root, *(f"{name},x,{number}" for number, name in enumerate(names)), columns="image,label,fold")
    with pytest.raises(AmbiguousDataError, match=r"do not name splits: 0, 1, 2, 3.\n.*--columns split="):
        splits_of(numbers)
    assert set(splits_of(numbers, columns="split=")) == {"train", "test"}
    both = write_csv(
        root, *(f"{name},x,{number},test" for number, name in enumerate(names)), columns="image,label,fold,set"
    )
    assert set(splits_of(both)) == {"test"}


def test_n18_a_test_whose_classes_are_secret_is_left_out(root):
    four(root)
    rows = ["img/cat/1.png,cat,train", "img/dog/3.png,dog,train", "img/cat/2.png,,test", "img/dog/4.png, ,test"]
    listing, understanding = list_csv(write_csv(root, *rows), DataSpec(), None)
    assert {split: len(files) for split, files in listing.splits.items()} == {"train": 2}
    assert understanding.left_out == {WITHOUT_LABELS: ["img/cat/2.png", "img/dog/4.png"]}
    for row in ("img/dog/4.png,dog,test", "img/dog/4.png,,train"):
        with pytest.raises(DataError, match=r"line [45] \(.*\) has no label"):
            splits_of(write_csv(root, *rows[:3], row))


def test_n23_numbers_as_labels_get_names(root):
    four(root)
    rows = ["img/cat/1.png,1,train", "img/dog/3.png,2,train", "img/dog/4.png,2,test"]
    path = write_csv(root, *rows)
    source = open_source(data_spec(path, class_names="bird,cat,dog"))
    assert source.understanding.counts == {
        "train": {"bird": 0, "cat": 1, "dog": 1},
        "test": {"bird": 0, "cat": 0, "dog": 1},
    }
    assert source.load("test").labels.tolist() == [2]
    with pytest.raises(DataError, match=r"data.class_names has 2 names, but .* has the label 2: it needs one for each"):
        open_source(data_spec(path, class_names="cat,dog"))
    with pytest.raises(DataError, match="names its classes itself"):
        open_source(data_spec(write_csv(root, *rows, "img/cat/2.png,cat,train"), class_names="a,b,c"))


def test_n10_a_split_column_without_a_split_is_none(root):
    four(root)
    path = write_csv(root, "img/cat/1.png,cat,", "img/cat/2.png,cat, ")
    listing, understanding = list_csv(path, DataSpec(), None)
    assert set(listing.splits) == {"train", "test"} and listing.own_split
    assert "; split is empty; no splits are named, so a part of each class is drawn for test." in understanding.rule


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/1.png", "test/2.png"], {"train": ["train/1.png"], "test": ["test/2.png"]}),
        (["img/Training/a/1.png", "img/val/2.png"], {"train": ["img/Training/a/1.png"], "val": ["img/val/2.png"]}),
        (["train/a/1.png", "train/b/2.png"], {"train": ["train/a/1.png", "train/b/2.png"]}),
        (["x/a/1.png", "x/b/2.png"], None),
        (["a/train/1.png", "b/2.png"], None),
    ],
)
def test_n10_folders_called_like_splits_are_splits(root, names, expected):
    for number, name in enumerate(names):
        draw(root / name, number)
    path = write_csv(root, *(f"{name},x" for name in names), columns="image,label")
    listing, _ = list_csv(path, DataSpec(), None)
    found = {split: [file.name for file in files] for split, files in listing.splits.items()}
    assert found == expected if expected else listing.own_split
    assert list_csv(path, DataSpec(columns="split="), None)[0].own_split


def test_n10_some_folders_are_called_like_splits(root):
    draw(root / "train" / "1.png", 1)
    draw(root / "more" / "2.png", 1)
    path = write_csv(root, "train/1.png,x", "more/2.png,y", columns="image,label")
    with pytest.raises(
        AmbiguousDataError, match=r"the folders more, train, of which some are called like splits.\n.*split="
    ):
        splits_of(path)
    assert set(splits_of(path, columns="split=")) == {"train"}
    vehicles = write_csv(root, "train/1.png,train", "more/2.png,more", columns="image,label")
    assert list_csv(vehicles, DataSpec(), None)[0].own_split  # they are the classes


def test_n10_names_without_their_folder_or_ending(root):
    for name in ("1.png", "2.v1.jpg", "10.png"):
        draw(root / "images" / name, 1)
    draw(root / "other" / "1.png", 1)
    path = write_csv(root, "1,a", "2.v1,a", "10,b", columns="id,label")
    listing, understanding = list_csv(path, DataSpec(), None)
    names = sorted(file.name for files in listing.splits.values() for file in files)
    assert names == ["images/1.png", "images/10.png", "images/2.v1.jpg"]
    assert understanding.left_out == {}
    draw(root / "images" / "3.png", 1)
    assert list_csv(path, DataSpec(), None)[1].left_out == {UNLISTED: ["images/3.png"]}


def test_n10_two_folders_have_all_pictures(root):
    for name in ("train/1.png", "test/1.png", "more/1.png"):
        draw(root / name, 1)
    path = write_csv(root, "1,a", columns="id,label")
    with pytest.raises(
        AmbiguousDataError, match=r"Several folders in .* have all 1 pictures of the list: more, test, train"
    ):
        splits_of(path)
    path.rename(root / "testLabels.csv")
    assert splits_of(root / "testLabels.csv") == {"test": {"test/1.png": "a"}}


def test_n10_no_picture_is_there(root):
    draw(root / "a" / "1.png", 1)
    path = write_csv(root, "pictures/1.png,a,train", "2.png,a,train")
    with pytest.raises(
        DataError, match=r"None of the 2 pictures .* is there: .*/data/pictures/1.png, .*/data/2.png\.\n"
    ):
        splits_of(path)


def test_n10_a_name_in_another_unicode_form(root):
    draw(root / "cafe\u0301.png", 1)
    path = write_csv(root, "caf\u00e9.png,a,train")
    assert splits_of(path) == {"train": {"caf\u00e9.png": "a"}}, "the same name on every system"
    [file] = list_csv(path, DataSpec(), None)[0].splits["train"]
    assert file.path == str(root / "cafe\u0301.png"), "but the file that is there"


def test_n10_pictures_that_no_row_names_are_counted(root):
    four(root)
    for name in ("img/.hidden/1.png", "else/1.png", "beside.png", "img/notes.txt"):
        draw(root / name, 1, kind="PNG")
    _, understanding = list_csv(write_csv(root, "img/cat/1.png,a,train", "img/dog/3.png,a,train"), DataSpec(), None)
    assert understanding.left_out == {UNLISTED: ["img/cat/2.png", "img/dog/4.png"]}
    assert understanding.counts == {"train": {"a": 2}}


def test_n10_splits_csv_beside_a_list(root):
    four(root)
    path = write_csv(root, *(f"{name},x" for name in [*FOUR["train"], *FOUR["val"]]), columns="image,label")
    rows = [f"{name};{split}" for split in ("train", "val") for name in FOUR[split]]
    (root / "splits.csv").write_text("\n".join(["File Name;Subset", *rows]))
    listing, understanding = list_csv(path, DataSpec(), None)
    assert {split: len(files) for split, files in listing.splits.items()} == {"train": 2, "val": 1}
    assert not listing.own_split and understanding.rule.endswith("; splits.csv names their splits.")


def test_n10_a_large_list_is_read_at_once(root):
    """60,000 rows of which one picture is there; a quadratic step would take minutes."""
    draw(root / "59999.png", 1)
    path = write_csv(root, *(f"{number}.png,{number % 100},train" for number in range(60_000)))
    assert len(list_csv(path, DataSpec(), None)[0].splits["train"]) == 60_000


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


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl"])
def test_n10_lists_are_known_by_the_ends_of_their_names(root, name):
    draw(root / "1.png", 3)
    rows = '{"image": "1.png", "label": "a"}' if name.endswith("l") else "image\tlabel\n1.png\ta"
    (root / name).write_text(rows)
    assert levels(load_images(root / name, "train")) == [3]


def test_n10_one_of_two_folders_with_all_pictures_is_not_guessed(root):
    for name in ("one/1.png", "two/1.png"):
        draw(root / name, 1)
    with pytest.raises(AmbiguousDataError, match=r"Several folders in .* have all 1 pictures of the list: one, two"):
        splits_of(write_csv(root, "1,a", columns="id,label"))
