"""The mistakes that people make most often with arrays and tables are explained in Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import DataError
from cifarlab.images.sources import data_spec, open_source
from cifarlab.language import speak

X, Y = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 1, 0])


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


def refused(path: Path, **options: object) -> str:
    """The error about a file or folder, which is called by its name alone."""
    with pytest.raises(DataError) as caught:
        open_source(data_spec(path, **options)).load("train")
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"foo": X, "bar": Y},
            "从数组名看，a.npz 中没有图像。图像数组应命名为 x_train、train_images 或 X。\n"
            "现有的数组：foo uint8 (4, 8, 8, 3)，bar int64 (4,)。",
        ),
        ({}, "从数组名看，a.npz 中没有图像。图像数组应命名为 x_train、train_images 或 X。\n现有的数组：无。"),
        ({"x": X, "y": Y[:3]}, "a.npz: x 的图像和标签数量不一致：4 张图像，3 个标签。"),
        (
            {"x": X + 2.5, "y": Y},
            "a.npz: x 是 float64，取值 2.5 到 2.5。图像可以是 uint8、uint16、bool，或 0（黑）到 1（白）的小数。\n"
            "0 到 255 的值请存为 uint8：images.astype(np.uint8)",
        ),
        (
            {"x": X[..., 0, 0], "y": Y},
            "a.npz: x 的形状是 (4, 8)。灰度图像的形状应为 (N, H, W)，彩色图像应为 (N, H, W, 3) 或 (N, 3, H, W)。",
        ),
        ({"x": X, "y": Y - 3}, "a.npz: y：第 0 行的标签是 -3；标签应从 0 开始。"),
        ({"x": X, "y": Y - 1}, "a.npz: y：第 0 行没有标签（为空或 -1）；train 中这样的行共有 2 行。"),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y + 1},
            "a.npz 有 1 个类别在训练集中没有图像：2。\n"
            "训练集中有：0，1。请在训练集中加入这些类别的图像，或删除这些类别。",
        ),
    ],
)
def test_arrays(arrays: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert refused(tmp_path / "a.npz") == said


def test_tables(write, encode, picture, tmp_path: Path) -> None:
    images = [encode(picture()) for _ in range(2)]
    whole = write(tmp_path / "a.parquet", images, [0, 1])
    assert refused(whole, columns="label=kind") == (
        "a.parquet 中没有名为“kind”的标签列。现有的列：img (struct<bytes: binary, path: string>)，label (int64)。\n"
        "请指定标签列：--columns label=列名"
    )
    assert refused(whole, columns="image=label") == (
        "a.parquet：label 列应存放图像文件（PNG、JPEG 等）的字节，它的类型却是 int64。"
    )
    for name in ("train-0", "train-2"):
        write(tmp_path / "gap" / f"{name}.parquet", images, [0, 1])
    assert refused(tmp_path / "gap") == (
        "gap 中同一划分（train）的文件编号不连续：train-0.parquet，train-2.parquet。\n"
        "请补上缺少的文件，或从 0 开始重新编号。"
    )
    for name in ("first", "second"):
        write(tmp_path / "two" / f"{name}.parquet", images, [0, 1])
    assert refused(tmp_path / "two").startswith(
        "two 中有多个表可能是同一划分（名称未说明）：first.parquet，second.parquet。"
    )


def test_what_is_stored_stays_english(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    source = open_source(data_spec(tmp_path / "a.npz"))
    assert source.understanding.rule.startswith("The names of the arrays")
    assert source.load("train").note.endswith("a.npz, stored as uint8 (4, 8, 8, 3)")
