"""Damaged archives and failed downloads are explained in Chinese."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarlab.errors import DataError
from cifarlab.images.archives.cifar import read_archive, read_extracted
from cifarlab.images.archives.download import Patience, download
from cifarlab.images.archives.official import Archive
from cifarlab.images.archives.pickles import read_pickle
from cifarlab.language import speak


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


def test_an_archive_that_is_cut_off(cifar10, tmp_path: Path) -> None:
    path = cifar10.archive(tmp_path / "a.tar.gz")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError) as caught:
        read_archive(path, "train", [cifar10.layout])
    assert str(caught.value) == f"{path} 不完整：它有 1,000 字节。\n请删除它，再运行一次命令重新下载。"


def test_a_folder_with_a_batch_missing(cifar10, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    (folder / "data_batch_2").unlink()
    with pytest.raises(DataError, match="不完整：缺少以下文件，或文件为空：data_batch_2。\n请重新下载 "):
        read_extracted(folder, "train", [cifar10.layout])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n(S'echo'\ntR.", "它要调用“os.system”"),
        (pickle.dumps([1], 2), "内容是 list，而不是 dict"),
        (b"\x80\x02}q", "要从第 4 字节起读取 1 字节，而文件只有 4 字节"),
        (b"\x80\x02K\x01K\x02e.", "读取时出现 IndexError"),
    ],
)
def test_a_pickle_that_is_none_of_cifars(content: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        read_pickle(content, "data_batch_1", 100)
    assert str(caught.value).split("\n") == [
        f"data_batch_1 不是官方的 CIFAR 文件：{reason}。",
        "文件内容没有被执行。请重新下载压缩包；自己的数据集请用 numpy.savez 保存。",
    ]


def test_a_download_without_a_server(tmp_path: Path) -> None:
    archive = Archive("a.tar.gz", "0" * 32, size_bytes=1234, mirrors=("http://example.org/a.tar.gz",))
    with pytest.raises(DataError) as caught:
        download(archive, tmp_path, Patience(num_retries=0))
    assert str(caught.value).split("\n") == [
        "本机没有 a.tar.gz，也没能从服务器下载：example.org（拒绝从 https 转到 http://example.org/a.tar.gz）。",
        f"请将文件放入 {tmp_path}：a.tar.gz（1,234 字节）；或将 CIFARLAB_DATA 设为该文件所在的文件夹。",
        "不想下载、现在就开始：--data sample。",
    ]
