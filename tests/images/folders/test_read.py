"""Folders of pictures: layouts, classes, odd and bad files, links."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from cifarlab.console import log
from cifarlab.errors import DataError, UsageError
from cifarlab.images.folders.read import open_folder
from cifarlab.images.images import Images
from cifarlab.images.source import BESIDE, EMPTY, HIDDEN, LOOSE, NOT_PICTURES, SYSTEM, Understanding
from cifarlab.recipe.schema import DataSpec


def read_folder(root: Path, split: str, *, cache_dir: Path, **options) -> Images:
    return open_folder(root, DataSpec(**options), cache_dir).load(split)


def folder_splits(root: Path) -> tuple[str, ...]:
    return understanding(root).splits


def understanding(root: Path, **options) -> Understanding:
    return open_folder(root, DataSpec(**options), root.parent / "cache").understanding


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def notes(caplog):
    """Everything that is logged, whatever other tests have made of the logger."""
    log.addHandler(caplog.handler)
    caplog.set_level(logging.DEBUG, logger=log.name)
    yield caplog
    log.removeHandler(caplog.handler)


def draw(path: Path, level: int, size: int = 32, kind: str = "PNG") -> Path:
    """Store a plain grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (level,) * 3).save(path, kind)
    return path


def levels(images) -> list[int]:
    return images.pixels[:, 0, 0, 0].tolist()


def make_splits(root: Path) -> None:
    draw(root / "train" / "dog" / "b.png", 20)
    draw(root / "train" / "dog" / "a.png", 10)
    draw(root / "train" / "cat" / "z.png", 30)
    draw(root / "valid" / "cat" / "v.png", 40)
    draw(root / "test" / "dog" / "t.png", 50)


def test_n26_all_splits_follow_when_other_training_pictures_mean_another_size(root, cache):
    """What the cache holds of a split is of a size that the training pictures decided."""
    for split in ("train", "test"):
        for number in range(3):
            draw(root / split / "cat" / f"{number}.png", 10 * number, size=40 + number)
            draw(root / split / "dog" / f"{number}.png", 10 * number + 5, size=40 + number)
    assert {read_folder(root, split, cache_dir=cache).size for split in ("train", "test")} == {(32, 32)}
    for number, file in enumerate((root / "train").rglob("*.png")):
        draw(file, 100, size=200 + number)
    assert {read_folder(root, split, cache_dir=cache).size for split in ("train", "test")} == {(64, 64)}


def test_split_folders(root, cache):
    make_splits(root)
    assert folder_splits(root) == ("train", "val", "test")
    train = read_folder(root, "train", cache_dir=cache)
    assert train.class_names == ("cat", "dog")
    assert levels(train) == [30, 10, 20] and train.labels.tolist() == [0, 1, 1]
    assert levels(read_folder(root, "val", cache_dir=cache)) == [40]
    test = read_folder(root, "test", cache_dir=cache)
    assert levels(test) == [50] and test.labels.tolist() == [1] and test.class_names == train.class_names
    assert train.original is None and str(root) in train.note


def test_names_of_splits_in_capitals_and_folders_below_classes(root, cache):
    draw(root / "Train" / "a" / "images" / "deep" / "1.JPEG", 9, kind="JPEG")
    draw(root / "TEST" / "a" / "2.png", 7)
    assert folder_splits(root) == ("train", "test")
    assert len(read_folder(root, "train", cache_dir=cache)) == 1


def test_a_split_that_is_not_there(root, cache):
    draw(root / "train" / "a" / "1.png", 1)
    with pytest.raises(UsageError, match=r"has no val split; it has train.*\n.*validation.size"):
        read_folder(root, "val", cache_dir=cache)


def test_only_a_test_folder(root, cache):
    draw(root / "test" / "a" / "1.png", 1)
    assert folder_splits(root) == ("test",)
    assert read_folder(root, "test", cache_dir=cache).class_names == ("a",)


def test_class_folders_are_split_once_and_stay_so(root, cache):
    for number in range(10):
        draw(root / "a" / f"{number}.png", number)
        draw(root / "b" / f"{number}.png", 100 + number)
    assert folder_splits(root) == ("train", "test")
    train, test = (read_folder(root, split, cache_dir=cache) for split in ("train", "test"))
    assert train.counts.tolist() == [8, 8] and test.counts.tolist() == [2, 2]
    assert sorted(levels(train) + levels(test)) == [*range(10), *range(100, 110)]
    for number in range(10, 20):
        draw(root / "a" / f"0{number}.png", number)
    grown, grown_test = (read_folder(root, split, cache_dir=cache) for split in ("train", "test"))
    assert set(levels(train)) < set(levels(grown)) and set(levels(test)) < set(levels(grown_test))
    assert grown.counts.tolist() == [16, 8]


def test_a_split_file_in_the_folder_wins(root, cache):
    for number in range(4):
        draw(root / "a" / f"{number}.png", number)
    read_folder(root, "train", cache_dir=cache)
    rows = [f"a/{number}.png,{split}" for number, split in enumerate(("test", "val", "train", "train"))]
    (root / "splits.csv").write_text("\n".join(["image,split", *rows]))
    assert folder_splits(root) == ("train", "val", "test")
    assert levels(read_folder(root, "train", cache_dir=cache)) == [2, 3]
    assert levels(read_folder(root, "test", cache_dir=cache)) == [0]


def test_numbers_as_class_names_are_in_the_order_of_numbers(root, cache):
    for name in ("0", "9", "10"):
        draw(root / "train" / name / "1.png", int(name))
    assert read_folder(root, "train", cache_dir=cache).class_names == ("0", "9", "10")
    draw(root / "train" / "x" / "1.png", 11)
    assert read_folder(root, "train", cache_dir=cache).class_names == ("0", "10", "9", "x")


def test_d16_n02_a_folder_without_pictures_is_left_out_of_all_splits_and_said(root, cache):
    """No index shifts between splits: a class of test that train lacks is an error (d17)."""
    make_splits(root)
    for name in ("train/bird", "test/bird"):
        (root / name).mkdir()
    (root / "train" / "labels").mkdir()
    (root / "train" / "labels" / "1.txt").write_text("0 0.5 0.5")
    train = read_folder(root, "train", cache_dir=cache)
    assert train.class_names == ("cat", "dog") and train.counts.tolist() == [1, 2]
    assert read_folder(root, "test", cache_dir=cache).labels.tolist() == [1]
    assert understanding(root).left_out[EMPTY] == ["test/bird", "train/bird", "train/labels"]


def test_d16_a_class_without_a_picture_in_test_keeps_its_index(root, cache):
    make_splits(root)
    (root / "test" / "cat").mkdir()
    test = read_folder(root, "test", cache_dir=cache)
    assert test.class_names == ("cat", "dog") and test.labels.tolist() == [1]


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("empty_in_train", [False, True])
def test_d17_a_class_that_train_lacks(root, cache, split, empty_in_train):
    make_splits(root)
    draw(root / split / "unicorn" / "1.png", 1)
    if split == "val":
        (root / "valid").rename(root / "old")
    if empty_in_train:
        (root / "train" / "unicorn").mkdir()
    with pytest.raises(DataError, match=r"1 class without a picture in train: unicorn.\nTrain has: cat, dog"):
        read_folder(root, "train", cache_dir=cache)


def test_d17_in_a_split_file_of_the_user(root, cache):
    draw(root / "a" / "1.png", 1)
    draw(root / "b" / "1.png", 2)
    (root / "splits.csv").write_text("image,split\na/1.png,train\nb/1.png,test\n")
    with pytest.raises(DataError, match="without a picture in train: b"):
        read_folder(root, "train", cache_dir=cache)


def make_bad(root: Path) -> None:
    for number in range(4):
        draw(root / "train" / "a" / f"{number}.png", number)
    (root / "train" / "a" / "0empty.png").touch()
    (root / "train" / "a" / "2text.jpg").write_text("no picture")
    whole = (root / "train" / "a" / "3.png").read_bytes()
    (root / "train" / "a" / "9cut.png").write_bytes(whole[: len(whole) // 2])


def test_d18_bad_images_are_all_named(root, cache):
    make_bad(root)
    for _ in range(2):  # the second time from the card
        with pytest.raises(DataError) as caught:
            read_folder(root, "train", cache_dir=cache)
        text = str(caught.value)
        assert "3 of 7 train pictures" in text and text.count("\n") == 2 and "--skip-bad" in text
        for name, reason in (("0empty.png", "empty"), ("2text.jpg", "not an image"), ("9cut.png", "cut short")):
            assert f"train/a/{name}: {reason}" in text or f"train/a/{name}: damaged or {reason}" in text


def test_d18_bad_images_are_left_out_when_asked(root, cache):
    make_bad(root)
    for _ in range(2):
        images = read_folder(root, "train", skip_bad=True, cache_dir=cache)
        assert levels(images) == [0, 1, 2, 3] and images.labels.tolist() == [0, 0, 0, 0]
        assert [line.split(":")[0] for line in images.skipped] == [
            "train/a/0empty.png",
            "train/a/2text.jpg",
            "train/a/9cut.png",
        ]


def test_d18_only_a_few_of_many_are_named(root, cache):
    draw(root / "train" / "a" / "z.png", 1)
    for number in range(9):
        (root / "train" / "a" / f"{number}.png").touch()
    with pytest.raises(DataError, match=r"4.png: empty \(0 bytes\) and 4 more"):
        read_folder(root, "train", cache_dir=cache)


def test_d18_nothing_can_be_read(root, cache):
    (root / "train" / "a").mkdir(parents=True)
    (root / "train" / "a" / "1.png").touch()
    with pytest.raises(DataError, match="1 of 1 train pictures"):
        read_folder(root, "train", skip_bad=True, cache_dir=cache)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_d18_a_file_without_permission_is_read_again_when_permitted(root, cache):
    hidden = draw(root / "train" / "a" / "1.png", 5)
    draw(root / "train" / "a" / "2.png", 6)
    hidden.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        read_folder(root, "train", cache_dir=cache)
    hidden.chmod(0o644)
    assert levels(read_folder(root, "train", cache_dir=cache)) == [5, 6]


def test_d19_the_note_counts_what_was_converted(root, cache):
    folder = root / "train" / "a"
    draw(folder / "rgb.png", 1)
    for mode in ("L", "LA", "P", "I;16", "RGBA", "1"):
        Image.new(mode, (40, 30)).save(folder / f"{mode.replace(';', '')}.png")
    Image.new("CMYK", (40, 30)).save(folder / "cmyk.jpg")
    images = read_folder(root, "train", cache_dir=cache)
    assert images.pixels.shape == (8, 3, 32, 32)
    for mode in ("L", "LA", "P", "I;16", "RGBA", "1", "CMYK", "RGB"):
        assert f"1 {mode}" in images.note


ODD = [b"line\nbreak.png", "😀.png".encode(), b"<script>alert(1)</script>.png".replace(b"/", b"_")]
ODD += [
    b"x" * 251 + b".png",
    b"\xff\xfe\x80.png",
    b"\x1b[31mred.png",
    b" lead and trail .png",
    b"'q'\"uote,.png",
]


def test_d20_odd_file_names(root, cache, notes):
    folder = root / "train" / "a"
    folder.mkdir(parents=True)
    content = draw(root / "train" / "b" / "1.png", 3).read_bytes()
    for name in ODD:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(content)
    assert read_folder(root, "train", cache_dir=cache).counts.tolist() == [len(ODD), 1]
    for name in ODD:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    skipped = read_folder(root, "train", skip_bad=True, cache_dir=cache).skipped
    assert len(skipped) == len(ODD) and all(line.isprintable() for line in skipped)
    assert "train/a/\\xff\\xfe\\x80.png" in " ".join(skipped).replace("\\udc", "\\x")


def test_d20_odd_class_names_can_be_hashed_and_shown(root, cache):
    for name in (b"two\nlines", b"\xff\xfe", "猫".encode()):
        folder = Path(os.fsdecode(os.fsencode(root) + b"/train/" + name))
        draw(folder / "1.png", 1)
    images = read_folder(root, "train", cache_dir=cache)
    assert images.class_names == ("\\udcff\\udcfe", "two\\nlines", "猫") and len(images.fingerprint) == 64


def test_d21_links(root, cache, tmp_path):
    outside = draw(tmp_path / "outside" / "secret.png", 9)
    folder = root / "train" / "a"
    draw(folder / "1.png", 1)
    refused = {
        "out.png": (outside, "leads out of the folder"),
        "outfolder": (outside.parent, "leads out of the folder"),
        "loop": (root / "train", "leads in a circle"),
        "self.png": ("self.png", "leads nowhere or in a circle"),
        "gone.png": ("nothing.png", "leads nowhere"),
    }
    for name, (target, reason) in refused.items():
        (folder / name).symlink_to(target)
        with pytest.raises(DataError, match=f"train/a/{name} {reason}"):
            read_folder(root, "train", cache_dir=cache)
        (folder / name).unlink()
    (root / "train" / "b").mkdir()
    (root / "train" / "b" / "to_a").symlink_to(folder)
    (folder / "to_b").symlink_to(root / "train" / "b")
    with pytest.raises(DataError, match="leads in a circle"):
        read_folder(root, "train", cache_dir=cache)


def test_d21_a_link_inside_the_folder_is_followed(root, cache, tmp_path):
    draw(root / "train" / "a" / "1.png", 5)
    (root / "train" / "a" / "2.png").symlink_to("1.png")
    link = tmp_path / "link_to_data"
    link.symlink_to(root)
    assert levels(read_folder(link, "train", cache_dir=cache)) == [5, 5]


def test_n06_what_is_not_a_picture_is_left_out_and_said(root, cache):
    make_splits(root)
    for name in ("notes.txt", ".hidden.png", "Thumbs.db", "._a.png"):
        (root / "train" / "dog" / name).write_text("text")
    (root / "train" / ".cache").mkdir()
    draw(root / "__MACOSX" / "train" / "x.png", 1)
    os.mkfifo(root / "train" / "dog" / "pipe.png")
    assert len(read_folder(root, "train", cache_dir=cache)) == 3
    assert understanding(root).left_out == {
        HIDDEN: ["train/.cache", "train/dog/._a.png", "train/dog/.hidden.png"],
        SYSTEM: ["__MACOSX", "train/dog/Thumbs.db"],
        NOT_PICTURES: ["train/dog/notes.txt", "train/dog/pipe.png"],
    }


def test_pictures_outside_of_classes_are_said(root, cache):
    make_splits(root)
    draw(root / "train" / "loose.png", 1)
    draw(root / "extra" / "b" / "1.png", 1)
    assert len(read_folder(root, "train", cache_dir=cache)) == 3
    assert understanding(root).left_out == {LOOSE: ["train/loose.png"], BESIDE: ["extra"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "No pictures in"),
        (["1.png"], "has pictures right inside it, and no class folders"),
        (["a/readme.txt"], "No pictures in"),
        (["val/a/1.png", "validation/a/1.png", "train/a/1.png"], "several folders for val: val/, validation/"),
    ],
)
def test_folders_that_cannot_be_used(root, cache, names, message):
    root.mkdir()
    for name in names:
        draw(root / name, 1)
    with pytest.raises(DataError, match=message):
        read_folder(root, "train", cache_dir=cache)


def test_a_folder_that_is_not_there(root, cache):
    with pytest.raises(DataError, match=r"Cannot list .*data: No such file or directory"):
        read_folder(root, "train", cache_dir=cache)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [([32] * 5, 32), ([64] * 5, 64), ([20, 64, 65], 32), ([65] * 3, 64), ([40, 200, 200], 64)],
)
def test_the_image_size_that_is_chosen(root, cache, sides, expected):
    for number, side in enumerate(sides):
        draw(root / "train" / "a" / f"{number}.png", 1, side)
    draw(root / "test" / "a" / "1.png", 1, 500)
    assert read_folder(root, "train", cache_dir=cache).size == (expected, expected)
    assert read_folder(root, "test", cache_dir=cache).size == (expected, expected)
    if len(set(sides)) > 1:
        assert read_folder(root, "train", image_size=48, cache_dir=cache).size == (48, 48)
