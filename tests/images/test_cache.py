from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from cifarlab.images.cache import keep_decoded
from cifarlab.images.images import Images


class Reader:
    """Makes images and counts how often it was asked to."""

    def __init__(self, value: int = 7) -> None:
        self.count, self.value = 0, value

    def __call__(self) -> Images:
        self.count += 1
        pixels = np.full((3, 3, 4, 5), self.value, np.uint8)
        return Images(pixels, np.array([1, 0, 1]), ("a", "ü"), False, "note", ("x: bad",))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


def test_read_once_and_then_mapped(source: Path, tmp_path: Path) -> None:
    read = Reader()
    first = keep_decoded([source], ["train"], read, tmp_path / "cache")
    second = keep_decoded([source], ["train"], read, tmp_path / "cache")
    assert read.count == 1
    assert isinstance(second.pixels, np.memmap) and second.pixels.flags.writeable
    assert second.fingerprint == first.fingerprint
    assert (second.class_names, second.original, second.note, second.skipped) == (
        ("a", "ü"),
        False,
        "note",
        ("x: bad",),
    )
    second.pixels[:] = 0
    assert keep_decoded([source], ["train"], read, tmp_path / "cache").pixels[0, 0, 0, 0] == 7


def test_other_options_and_changed_files_are_read_anew(source: Path, tmp_path: Path) -> None:
    read = Reader()
    keep_decoded([source], ["train"], read, tmp_path / "cache")
    keep_decoded([source], ["test"], read, tmp_path / "cache")
    assert read.count == 2
    os.utime(source, ns=(0, 1))
    keep_decoded([source], ["train"], Reader(9), tmp_path / "cache")
    assert keep_decoded([source], ["train"], read, tmp_path / "cache").pixels.max() == 9
    assert len(list((tmp_path / "cache/decoded").glob("*/card.json"))) == 2, "the outdated copy is replaced"


@pytest.mark.parametrize("name", ["pixels.u8", "card.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "absent"])
def test_d29_a_damaged_copy_is_made_anew(name: str, damage: str, source: Path, tmp_path: Path, caplog) -> None:
    read = Reader()
    keep_decoded([source], ["train"], read, tmp_path)
    (file,) = tmp_path.glob(f"decoded/*/{name}")
    content = bytearray(file.read_bytes())
    if damage == "absent":
        file.unlink()
    elif damage == "flipped":
        position = content.index(b"labels") + 10 if name == "card.json" else 5
        content[position] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    images = keep_decoded([source], ["train"], read, tmp_path)
    assert read.count == 2 and (images.pixels == 7).all() and images.labels.tolist() == [1, 0, 1]
    assert damage == "absent" or "making them anew" in caplog.text
    keep_decoded([source], ["train"], read, tmp_path)
    assert read.count == 2


def test_a_card_of_another_shape_is_not_believed(source: Path, tmp_path: Path) -> None:
    read = Reader()
    keep_decoded([source], ["train"], read, tmp_path)
    (file,) = tmp_path.glob("decoded/*/card.json")
    for shape in ([3, 4, 3, 5], [3, 3, 20], [10**9, 3, 4, 5], [2, 3, 4, 5], "abcd"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "shape": shape}))
        assert keep_decoded([source], ["train"], read, tmp_path).pixels.shape == (3, 3, 4, 5)
    assert read.count == 6


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_d24_a_cache_that_cannot_be_written(error: int, source: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(*arguments, **options):
        raise OSError(error, os.strerror(error))

    caplog.set_level(logging.INFO)
    read = Reader()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        images = keep_decoded([source], ["train"], read, tmp_path / "cache")
    assert len(images) == 3 and read.count == 1
    assert "not kept" in caplog.text and not (tmp_path / "cache").exists()


def test_d24_a_read_only_cache_with_a_copy_is_used(source: Path, tmp_path: Path, monkeypatch) -> None:
    read = Reader()
    keep_decoded([source], ["train"], read, tmp_path)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("cifarlab.files.tempfile.mkdtemp", refuse)
    assert len(keep_decoded([source], ["train"], read, tmp_path)) == 3
    assert read.count == 1


def test_d28_a_disk_that_fills_up_keeps_the_images_in_memory(source: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    read = Reader()
    with monkeypatch.context() as patch:
        patch.setattr("cifarlab.files.flush_folder", full)
        assert len(keep_decoded([source], ["train"], read, tmp_path)) == 3
    assert read.count == 1
    assert not list(tmp_path.glob("decoded/.tmp-*")) and not list(tmp_path.glob("decoded/*/card.json"))
