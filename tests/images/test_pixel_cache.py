"""Pixels decoded once: found again, renewed when damaged or outdated, in memory where no file can be."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import MachineError
from cifarlab.files import TEMPORARY_PREFIX
from cifarlab.images import pixel_cache
from cifarlab.images.decode import RULE, decode
from cifarlab.images.folders.listing import ImageFile
from cifarlab.images.pixel_cache import load_pixels

RNG = np.random.default_rng(3)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path):
    """150 pictures: more than two runs of one thread."""
    (tmp_path / "data").mkdir()
    for number in range(150):
        pixels = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{number:03}.png")
    return listed(tmp_path / "data")


def listed(folder: Path) -> list[ImageFile]:
    return [ImageFile.at(str(path), path.name, "a", path.stat()) for path in sorted(folder.iterdir())]


def load(files: list[ImageFile], folder: Path, image_size: int = 16):
    return load_pixels(files, ["a"], image_size, folder, "train")


def expected(files: list[ImageFile]) -> np.ndarray:
    return np.stack([decode(Path(file.path).read_bytes(), (16, 16)) for file in files])


@pytest.fixture
def no_decoding(monkeypatch):
    """Make it an error to decode anything from now on."""

    def forbid() -> None:
        def refuse(content, size):
            raise AssertionError("decoded again")

        monkeypatch.setattr(pixel_cache, "decode_with_origin", refuse)

    return forbid


def stored(folder: Path, suffix: str) -> Path:
    return next(folder.glob(f"train-16px-*{suffix}"))


def test_pixels_are_in_order_and_found_again(files, folder, no_decoding):
    pixels, card = load(files, folder)
    assert np.array_equal(pixels, expected(files))
    no_decoding()
    again, same_card = load(files, folder)
    assert isinstance(again, np.memmap) and np.array_equal(again, pixels) and same_card == card
    assert card.stored_modes == {"RGB": 150} and card.stored_sizes == {"24 x 20": 150} and card.rule == RULE
    assert sorted(path.suffix for path in folder.iterdir() if path.name != ".lock") == [".json", ".npy"]


def test_writing_to_the_array_does_not_change_the_file(files, folder):
    pixels, _ = load(files, folder)
    pixels[:] = 0
    again, _ = load(files, folder)
    assert again.any()


def test_bad_files_have_no_row(files, folder):
    for number in (0, 70, 149):
        Path(files[number].path).write_bytes(b"")
    files = listed(Path(files[0].path).parent)
    for _ in range(2):
        pixels, card = load(files, folder)
        assert list(card.skipped) == ["000.png", "070.png", "149.png"] and card.num_images == 147
        good = [file for file in files if file.name not in card.skipped]
        assert np.array_equal(pixels, expected(good))


def test_a_changed_file_is_decoded_again_and_the_old_pixels_go(files, folder):
    load(files, folder)
    load(files, folder, image_size=8)
    Image.new("RGB", (20, 20), (1, 2, 3)).save(files[5].path)
    files = listed(Path(files[0].path).parent)
    pixels, _ = load(files, folder)
    assert pixels[5, :, 0, 0].tolist() == [1, 2, 3]
    assert len(list(folder.glob("train-16px-*.npy"))) == 1 and len(list(folder.glob("train-8px-*.npy"))) == 1


def test_other_classes_or_another_rule_are_another_cache(files, folder, monkeypatch):
    first = pixel_cache._fingerprint(files, ["a"], 16)
    assert pixel_cache._fingerprint(files, ["a", "b"], 16) != first != pixel_cache._fingerprint(files[1:], ["a"], 16)
    monkeypatch.setattr(pixel_cache, "RULE", "another")
    assert pixel_cache._fingerprint(files, ["a"], 16) != first


def test_d29_flipped_bits_are_noticed_and_repaired(files, folder, caplog):
    pixels, _ = load(files[:20], folder)
    reference = np.array(pixels)
    path = stored(folder, ".npy")
    content = path.read_bytes()
    for place in RNG.integers(0, len(content), 100):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(RNG.integers(8))
        path.write_bytes(damaged)
        assert (
            pixel_cache._stored(path.with_suffix(""), json.loads(stored(folder, ".json").read_text())["fingerprint"])
            is None
        )
    again, _ = load(files[:20], folder)
    assert np.array_equal(again, reference) and path.read_bytes() == content
    assert "are damaged" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "card cut", "card list", "card other", "card empty"])
def test_d29_damage_of_either_file_is_repaired(files, folder, damage, caplog):
    reference = np.array(load(files[:5], folder)[0])
    pixels, card = stored(folder, ".npy"), stored(folder, ".json")
    match damage:
        case "cut":
            os.truncate(pixels, 1000)
        case "empty":
            os.truncate(pixels, 0)
        case "gone":
            pixels.unlink()
        case "card cut":
            os.truncate(card, 100)
        case "card list":
            card.write_text("[1, 2]")
        case "card other":
            card.write_text(json.dumps(json.loads(card.read_text()) | {"num_images": 4}))
        case "card empty":
            card.write_text("")
    assert np.array_equal(load(files[:5], folder)[0], reference)
    assert "decoding them again" in caplog.text
    assert pixel_cache._stored(pixels.with_suffix(""), json.loads(card.read_text())["fingerprint"]) is not None


def test_d24_what_is_there_is_used_where_nothing_can_be_written(files, folder, monkeypatch, no_decoding):
    load(files, folder)
    no_decoding()
    monkeypatch.setattr(pixel_cache, "_obstacle", lambda folder: "read-only file system")
    pixels, _ = load(files, folder)
    assert len(pixels) == 150


def test_a_folder_that_cannot_be_written_means_memory_and_a_notice(files, tmp_path, caplog):
    (tmp_path / "file").touch()
    pixels, card = load(files, tmp_path / "file" / "cache")
    assert np.array_equal(pixels, expected(files)) and not isinstance(pixels, np.memmap)
    assert "decoded into memory" in caplog.text and card.num_images == 150


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_without_permission_means_memory_and_a_notice(files, folder, caplog):
    folder.mkdir(mode=0o500)
    assert np.array_equal(load(files, folder)[0], expected(files)) and "permission denied" in caplog.text


def test_d28_too_little_space_is_said_before_work_begins(files, folder, monkeypatch, no_decoding):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(50_000))
    no_decoding()
    with pytest.raises(MachineError, match=r"need 0 MB in .*\nThere, 0 MB are free"):
        load(files, folder)


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_d28_a_disk_that_fills_up_leaves_nothing_behind(files, folder, monkeypatch, failing):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder.mkdir()
    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(pixel_cache, "_write_header", full)
        with pytest.raises(MachineError, match="No space left"):
            load(files, folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert np.array_equal(load(files, folder)[0], expected(files))


def test_what_a_killed_process_left_is_removed(files, folder):
    folder.mkdir()
    (folder / f"{TEMPORARY_PREFIX}123-train-16px-00.npy").write_bytes(b"half")
    load(files, folder)
    assert not list(folder.glob(f"{TEMPORARY_PREFIX}*"))


def test_pixels_without_their_card_do_not_count(files, folder):
    load(files, folder)
    stored(folder, ".npy").write_bytes(b"half")
    stored(folder, ".json").unlink()
    assert np.array_equal(load(files, folder)[0], expected(files))


def test_d26_two_at_once_decode_once(files, folder, monkeypatch):
    decoded, decode_file = [], pixel_cache._decode_file
    monkeypatch.setattr(pixel_cache, "_decode_file", lambda *a: decoded.append(1) or decode_file(*a))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: load(files, folder)[0], range(3)))
    assert len(decoded) == 150 and all(np.array_equal(result, results[0]) for result in results)


def test_the_card_is_plain_json(files, folder):
    _, card = load(files, folder)
    assert json.loads(stored(folder, ".json").read_text("utf-8")) == asdict(card)


def test_what_is_no_file_or_too_large_is_not_opened(tmp_path, folder, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    large = tmp_path / "large.png"
    large.touch()
    os.truncate(large, pixel_cache.MAX_BYTES + 1)
    files = [ImageFile.at(str(path), path.name, "a", path.stat()) for path in (tmp_path / "pipe.png", large)]
    pixels, card = load(files, folder)
    assert len(pixels) == 0
    assert card.skipped == {
        "pipe.png": "not a regular file",
        "large.png": "128 MB, more than the 128 MB allowed",
    }
