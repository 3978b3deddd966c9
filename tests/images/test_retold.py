"""What was stored in English is shown in the language that is spoken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cifarlab.errors import DataError
from cifarlab.images.decode import decode
from cifarlab.images.retold import retold, retold_reason
from cifarlab.images.words import UNREAD
from cifarlab.language import speak


@pytest.fixture
def chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("empty (0 bytes)", "文件为空（0 字节）"),
        ("damaged or cut short (image file is truncated)", "文件损坏或不完整（image file is truncated）"),
        (UNREAD[".heic"], "不支持 HEIC（iPhone 照片），可用 libheif 的 heif-convert 转换为 PNG 或 JPEG"),
        # numbers as they were written
        (
            "9,000 x 20,000 pixels: at most 134 megapixels are decoded, of a JPEG that is shrunk 268",
            "9,000 x 20,000 像素：最多解码 134 兆像素，缩小解码的 JPEG 最多 268 兆像素",
        ),
        # clauses, of which one has a semicolon of its own
        (
            "from a; b/c, stored as 2 RGB, 1 L, several sizes; decoded to RGB, 32 px",
            "from a；b/c, stored as 2 RGB, 1 L, several sizes；解码为 RGB，32 像素",
        ),
        ("from c, stored as 2 RGB, 1 L, several sizes", "来自 c，存储格式为 2 RGB, 1 L，尺寸不一"),
        # rules within rules
        (
            "The folders in a/ are the classes, as the options say; train and test are drawn from them. "
            "(Unpacked from the archive.)",
            "a/ 中的文件夹就是类别（按选项指定）；训练集和测试集从中抽取。（从压缩包解压。）",
        ),
        (
            "In a.csv the column x names the pictures, y their classes; In b.csv the column u names the pictures, "
            "v their classes and w their splits.",
            "a.csv 中，x 列是图片，y 列是类别；b.csv 中，u 列是图片，v 列是类别，w 列是划分。",
        ),
        # a field that comes twice has to be the same
        (
            "meta/test.txt names the test pictures, their folders are their classes",
            "meta/test.txt 列出 test 的图片，所在文件夹就是类别",
        ),
        ("meta/a.txt names the b pictures, their folders are their classes",) * 2,
        ("something else", "something else"),
        ("something in something else",) * 2,  # "{epochs} in {duration}" is a message, too
        ("", ""),
    ],
)
def test_a_stored_text_is_translated(stored: str, shown: str, chinese: None) -> None:
    assert retold(stored) == shown


def test_names_are_not_translated(chinese: None) -> None:
    assert retold_reason("test: data/hidden.png: empty (0 bytes)").startswith("test：data/hidden.png: ")
    assert retold("In data the column test names the pictures, hidden their classes") == (
        "data 中，test 列是图片，hidden 列是类别"
    )


def test_in_english_it_stays_as_it_is() -> None:
    for text in (*UNREAD.values(), "a; b.", "The folders are the classes; c."):
        assert retold(text) == text
    assert retold_reason("a.png: empty (0 bytes)") == "a.png: empty (0 bytes)"


def test_reasons_are_stored_in_english(chinese: None) -> None:
    with pytest.raises(DataError, match=r"^empty \(0 bytes\)$"):
        decode(b"", None)
