"""The most frequent mistakes, as a person who chose Chinese reads them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.retold import retold
from cifarlab.images.source import Source, left_out_lines
from cifarlab.images.sources import data_spec, open_source
from cifarlab.language import speak

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture())


def read(root: Path, **options: object) -> Source:
    return open_source(data_spec(root, **options))


def refusal(root: Path, kind: type[DataError] = DataError) -> str:
    """The error for a folder, without the place of the folder."""
    with pytest.raises(kind) as caught:
        for split in (source := read(root)).splits:
            source.load(split)
        source.require_test()
    return str(caught.value).replace(str(root), "data")


def test_a_folder_without_pictures(root: Path) -> None:
    (root / "cats").mkdir()
    for name in ("notes.txt", ".hidden"):
        (root / name).write_text("")
    first, second = refusal(root).split("\n")
    assert first == "data 中没有图片（未使用：隐藏文件 1 个；不是图片的文件 1 个）。"
    assert second.startswith("查找位置：train/<类别>/ 和 test/<类别>/，或 <类别>/；查找的文件：.apng，.avif，")


def test_pictures_without_class_folders(root: Path) -> None:
    write(root, "1.png", "2.png")
    assert refusal(root) == (
        "data 中没有类别文件夹，图片直接放在：该文件夹本身。\n"
        "请把每个类别的图片放进各自的文件夹，或者用一个有 image 和 label 两列的 CSV 写明类别。"
    )


def test_folders_that_may_be_splits_or_classes(root: Path) -> None:
    write(root, "train/1.png", "test/1.png", "bus/1.png")
    first, second = refusal(root, AmbiguousDataError).split("\n")
    assert first == ("data 有两种读法：train/，test/ 可能是划分，也可能和 bus/ 一样是类别。")
    assert second.startswith("请指明是哪种：--layout splits（划分）或 --layout classes（类别）（data.layout）。")


def test_classes_at_several_depths(root: Path) -> None:
    write(root, "cat/1.png", "dog/big/1.png", "dog/small/1.png")
    assert refusal(root, AmbiguousDataError) == (
        "data 有两种读法：dog/ 里还有装着图片的文件夹（big/，small/）。\n"
        "如果 cat/，dog/（连同其中的所有子文件夹）各是一个类别，请用 --layout classes；"
        "如果每个装有图片的文件夹都是一个类别，请用 --layout leaves（data.layout）。"
    )


def test_no_test_split(root: Path) -> None:
    write(root, *(f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(2)))
    assert refusal(root) == "data 没有测试集。现有：train。\n如果训练后不测试，请加 --no-test。"


def test_a_class_that_only_test_has(root: Path) -> None:
    write(root, "train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/bird/1.png")
    assert refusal(root).startswith("data 有 1 个类别在 train 中没有图片：bird。\ntrain 中有：cat，dog。")


def test_names_that_look_alike(root: Path) -> None:
    write(root, "cat/1.png", "Cat /1.png")
    assert refusal(root, AmbiguousDataError).startswith("data 中有些类别名看起来一样：'Cat ' 和 'cat'。\n")


def test_a_list_with_wrong_columns(root: Path) -> None:
    (root.parent / "labels.csv").write_text("photo,kind\n1.png,cat\n")
    assert refusal(root.parent / "labels.csv") == (
        "data 缺少 label 列。现有的列：photo，kind。\n"
        "第一行必须是列名，例如 image,label。列名不同时，这样指定：--columns 'label=列名'。"
    )


def test_rows_that_cannot_be_used_and_what_helps(root: Path) -> None:
    write(root, "0.png", "1.png", "2.png")
    (root / "link.png").symlink_to("/dev/null")
    rows = (
        "0.png,cat,train",
        "1.png,,train",
        "2.png,dog,trian",
        "0.png,dog,train",
        "../x.png,dog,test",
        "link.png,a,test",
    )
    (root / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    first, second = refusal(root).split("\n")
    for problem in (
        "第 3 行（1.png）没有标签",
        "第 4 行（2.png）的划分“trian”无效（可用：train，training，",
        "第 5 行（0.png）与第 2 行是同一张图片（标签是 dog 而不是 cat）",
        "第 6 行（../x.png）在列表所在的文件夹之外",
        "第 7 行（link.png）指向文件夹之外的 /dev/null",
    ):
        assert problem in first
    assert second == (
        "请改正这些行。如果表示划分的不是这一列，请用 --columns split=列名；"
        "要由 cifarlab 来划分，请用 --columns split=。要跟随链接，请加 --follow-links。"
    )


def test_a_row_that_is_too_long(root: Path) -> None:
    (root / "labels.csv").write_text("image,label\n1.png,cat, blue\n")
    assert refusal(root / "labels.csv") == (
        "data 的表头有 2 列，有些行却与之不符：第 2 行（1.png, cat, blue）有 3 个单元格。\n"
        "分隔符是逗号；单元格里如果有逗号，必须用双引号括起来。"
    )


def test_an_archive_that_would_leave_its_folder(root: Path) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("../evil.png", "x")
    assert refusal(root / "a.zip") == "data 无法使用：其中有一个名为“../evil.png”的文件。\n请重新打包。"


def test_pictures_that_cannot_be_read_in_whatever_language_they_were_decoded(root: Path) -> None:
    names = [f"{split}/{name}/{number}.png" for split in ("train", "test") for name in "ab" for number in range(2)]
    write(root, *names)
    (root / "train/a/0.png").write_bytes(b"")
    (root / "train/a/1.png").write_bytes(picture()[:300])
    speak("en")
    assert "train/a/0.png: empty (0 bytes), train/a/1.png: damaged or cut short (" in refusal(root)  # kept in the cache
    speak("zh")
    first, second, third = refusal(root).split("\n")
    assert first == "data 的 train 有 4 张图片，其中 2 张无法读取："
    assert second.startswith("train/a/0.png：文件为空（0 字节），train/a/1.png：文件损坏或不完整（")
    assert third == "请修复或移除它们，或用 data.skip_bad = true（--skip-bad）跳过。"


def test_how_a_folder_is_understood_is_stored_in_english(root: Path) -> None:
    write(root, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png", "more/1.png")
    found = read(root).understanding
    assert found.to_dict()["rule"] == "The splits are train/ and test/, the folders in them are the classes."
    assert list(found.to_dict()["left_out"]) == ["folders beside the splits"]
    assert retold(found.rule) == "划分是 train/ 和 test/，其中的文件夹是类别。"
    assert left_out_lines(found.left_out) == ["划分之外的文件夹：1（more）"]
