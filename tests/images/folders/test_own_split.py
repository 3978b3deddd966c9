"""Drawing train and test, keeping them, and obeying a file of the user's."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images.folders import own_split
from cifarlab.images.folders.listing import ImageFile
from cifarlab.images.folders.read import open_csv, open_folder
from cifarlab.recipe.schema import DataSpec


def named(*names: str) -> list[ImageFile]:
    return [ImageFile.at(f"/data/{name}", name, name.split("/")[0], None) for name in names]


def many(class_name: str, start: int, stop: int) -> dict[str, str]:
    return {f"{class_name}/{number}.png": class_name for number in range(start, stop)}


@pytest.mark.parametrize(("num_images", "num_test"), [(1, 0), (2, 1), (4, 1), (10, 2), (57, 11), (1000, 200)])
def test_a_fifth_of_each_class_is_for_testing(num_images, num_test):
    splits = own_split.draw(many("cat", 0, num_images) | many("dog", 0, 50), {})
    assert Counter(split for name, split in splits.items() if name.startswith("cat"))["test"] == num_test
    assert Counter(split for name, split in splits.items() if name.startswith("dog"))["test"] == 10


def test_the_draw_does_not_depend_on_order_and_is_not_by_name():
    classes = many("cat", 0, 100)
    splits = own_split.draw(classes, {})
    assert own_split.draw(dict(reversed(classes.items())), {}) == splits
    in_test = [number for number in range(100) if splits[f"cat/{number}.png"] == "test"]
    assert len(in_test) == 20 and in_test != list(range(20)) and max(in_test) > 60 and min(in_test) < 40


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_images_added_later_do_not_move_the_old_ones(additions):
    kept, total = {}, 0
    for count in additions:
        total += count
        splits = own_split.draw(many("cat", 0, total), kept)
        assert kept.items() <= splits.items()
        kept = splits
    assert Counter(kept.values())["test"] >= round(0.2 * total)


def contents(**groups: list[str]) -> dict[str, bytes]:
    return {name: content.encode() for content, names in groups.items() for name in names}


def test_n16_copies_get_one_split():
    classes = many("cat", 0, 60)
    copies = contents(**{f"c{number}": [f"cat/{3 * number + place}.png" for place in range(3)] for number in range(20)})
    splits = own_split.draw(classes, {}, copies)
    assert Counter(splits.values()) == {"train": 48, "test": 12}
    sides = {content: {splits[name] for name in copies if copies[name] == content} for content in copies.values()}
    assert all(len(side) == 1 for side in sides.values())
    assert own_split.draw(dict(reversed(classes.items())), {}, copies) == splits


def test_n16_a_copy_of_a_kept_picture_joins_it():
    classes = many("cat", 0, 10)
    kept = own_split.draw(classes, {})
    old = {split: next(name for name in kept if kept[name] == split) for split in ("train", "test")}
    more = many("cat", 10, 12)
    copies = contents(a=[old["train"], "cat/10.png"], b=[old["test"], "cat/11.png"])
    splits = own_split.draw(classes | more, kept, copies)
    assert (splits["cat/10.png"], splits["cat/11.png"]) == ("train", "test")
    torn = {"cat/0.png": "test", "cat/1.png": "train"}
    found = own_split.draw(many("cat", 0, 3), torn, contents(a=["cat/0.png", "cat/1.png", "cat/2.png"]))
    assert found["cat/2.png"] == "train"


def test_n17_every_class_keeps_a_picture_in_train():
    two = many("cat", 0, 2) | many("dog", 0, 5)
    splits = own_split.draw(two, {}, contents(a=["cat/0.png", "cat/1.png"]))
    assert {splits["cat/0.png"], splits["cat/1.png"]} == {"train"}
    # a copy under another label takes a class's last picture along, if nobody looks
    for number in range(5):
        splits = own_split.draw(two, {}, contents(a=["cat/0.png", "cat/1.png", f"dog/{number}.png"]))
        assert {splits["cat/0.png"], splits["cat/1.png"]} == {"train"}


def test_n16_copies_are_files_of_the_same_bytes(tmp_path):
    files = []
    for number, content in enumerate([b"same", b"same", b"else", b"longer", b"same", b"same"]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content)
        files.append(ImageFile.at(str(path), path.name, "a", path.stat()))
    files.append(ImageFile.at(str(tmp_path / "missing.png"), "missing.png", "a", None))
    found = own_split._contents(files, {"0.png", "3.png"})
    assert found.keys() == {"0.png", "1.png", "2.png", "4.png", "5.png"} and len(set(found.values())) == 2
    assert own_split._contents(files, {"3.png"}) == {} and own_split._contents(files, set()) == {}
    splits = own_split.assign(files, None, tmp_path / "kept.csv")
    assert len({splits[f"{number}.png"] for number in (0, 1, 4, 5)}) == 1


def test_the_split_is_kept_and_images_that_vanish_keep_their_place(tmp_path):
    kept = tmp_path / "splits.csv"
    names = [f"a/{number}.png" for number in range(10)]
    first = own_split.assign(named(*names), None, kept)
    own_split.assign(named(*names[:3]), None, kept)
    assert own_split.assign(named(*names), None, kept) == first
    grown = own_split.assign(named(*names, *(f"a/more{number}.png" for number in range(10))), None, kept)
    assert first.items() <= grown.items()
    assert Counter(grown.values()) == {"train": 16, "test": 4}


def test_d20_odd_names_are_kept(tmp_path):
    names = ["a/line\nbreak.png", 'a/"quoted", <b>.png', "a/\udcff\udcfe.png", "a/😀.png", "a/ñ.png"]
    kept = tmp_path / "splits.csv"
    assert own_split.assign(named(*names), None, kept) == own_split.assign(named(*names), None, kept)
    assert own_split._read(kept).keys() == set(names)


def test_nothing_is_kept_without_a_place(tmp_path):
    assert own_split.assign(named("a/1.png", "a/2.png"), tmp_path / "splits.csv", None)
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_cannot_be_kept_is_said_and_used(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    splits = own_split.assign(named("a/1.png", "a/2.png"), None, tmp_path / "file" / "splits.csv")
    assert sorted(splits.values()) == ["test", "train"]
    assert "Cannot keep the split" in caplog.text


def test_n10_the_users_file_in_another_dialect(tmp_path):
    own = tmp_path / "splits.csv"
    own.write_bytes("Path;Subset;note\r\na\\1.png; Train ;1\r\n./a/2.png;TEST;2\r\n".encode("utf-16"))
    assert own_split.assign(named("a/1.png", "a/2.png"), own, None) == {"a/1.png": "train", "a/2.png": "test"}


def test_the_users_file_wins(tmp_path):
    own, kept = tmp_path / "own.csv", tmp_path / "kept.csv"
    own_split.assign(named("a/1.png", "a/2.png", "a/3.png"), None, kept)
    own.write_text("\ufeffimage,split\na/1.png,validation\na/2.png,train\na/3.png,test\n", "utf-8")
    expected = {"a/1.png": "val", "a/2.png": "train", "a/3.png": "test"}
    assert own_split.assign(named("a/1.png", "a/2.png", "a/3.png"), own, kept) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,split\na/1.png,train\n", "it lacks 1 picture: a/2.png"),
        ("image,split\na/1.png,train\na/2.png,test\na/9.png,test\n", "1 line without a picture: a/9.png"),
        ("image,split\na/1.png,train\na/2.png,holiday\n", r"line 3 \(a/2.png\) has the split 'holiday'\."),
        ("image,split\na/1.png,train\na/1.png,test\na/2.png,test\n", r"line 3 \(a/1.png\) names a picture again\."),
        ("image,split\na/1.png,train,1\na/2.png,test\n", r"line 2 \(a/1.png, train, 1\) has 3 cells"),
        ("file,where\na/1.png,train\n", r"lacks the column split\. Found: file, where\.\n.* such as image,split"),
        ("", r"lacks the column image\. Found: nothing"),
    ],
)
def test_a_users_file_that_does_not_fit(tmp_path, text, message):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        own_split.assign(named("a/1.png", "a/2.png"), tmp_path / "splits.csv", None)


def test_n18_a_split_of_our_own_is_told_from_one_that_came_with_the_data(tmp_path):
    root, names = tmp_path / "data", [f"{folder}/{number}.png" for folder in "ab" for number in range(5)]
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (level,) * 3).save(root / name)

    def opened(path, opener=open_folder):
        return opener(path, DataSpec(), tmp_path / "cache")

    assert opened(root).understanding.own_split and opened(root).splits == ("train", "test")
    every = opened(root).load_all()
    assert sorted(every.pixels[:, 0, 0, 0].tolist()) == list(range(10)) and set(every.names) == set(names)
    assert [every.class_names[label] for label in every.labels] == [name[0] for name in every.names]
    table = root / "list.csv"
    table.write_text("\n".join(["image,label", *(f"{name},{name[0]}" for name in names)]))
    assert opened(table, open_csv).understanding.own_split
    table.write_text("\n".join(["image,label,split", *(f"{name},{name[0]},train" for name in names)]))
    assert not opened(table, open_csv).understanding.own_split
    (root / "splits.csv").write_text("\n".join(["image,split", *(f"{name},train" for name in names)]))
    assert not opened(root).understanding.own_split
    root.rename(root.with_name("train"))
    assert not opened(tmp_path).understanding.own_split


def test_a_kept_split_that_is_cut_short_is_refused(tmp_path):
    kept = tmp_path / "splits.csv"
    kept.write_text("image,split\na/1.png,train\na/2.png\n")
    with pytest.raises(DataError, match="None is not a split"):
        own_split.assign(named("a/1.png", "a/2.png"), None, kept)


@pytest.mark.parametrize("row", ["a/1.png,tset", 'a/1.png,"tes"t', "a/1.png"])
def test_a_kept_split_that_was_damaged_is_not_drawn_anew(tmp_path, row):
    kept = tmp_path / "splits.csv"
    kept.write_text(f"image,split\na/2.png,train\n{row}\n")
    before = kept.read_bytes()
    with pytest.raises(DataError, match=r"splits\.csv cannot be used: .*\nIt needs the columns image and split"):
        own_split.assign(named("a/1.png", "a/2.png"), None, kept)
    assert kept.read_bytes() == before


def test_a_list_of_splits_may_have_names_in_another_form(tmp_path: Path) -> None:
    """Written on one system, and read on another: Finder stores names as NFD on some disks, and keyboards give NFC."""
    own = tmp_path / "splits.csv"
    name = "K\u00e4fer/1.png"
    own.write_text(f"image,split\n{unicodedata.normalize('NFD', name)},test\nK\u00e4fer\\2.png,train\n", "utf-8")
    assert own_split.assign(named(name, "K\u00e4fer/2.png"), own, None) == {name: "test", "K\u00e4fer/2.png": "train"}
    kept = tmp_path / "kept.csv"
    kept.write_bytes(own.read_bytes().replace(b"\\", b"/"))
    assert own_split.assign(named(name, "K\u00e4fer/2.png"), None, kept) == {
        name: "test",
        "K\u00e4fer/2.png": "train",
    }
