"""Decoded images: found again, shared, renewed when damaged or outdated, in memory where no file can be."""

from __future__ import annotations

import errno
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import MachineError
from cifarlab.files import TEMPORARY_PREFIX, lock
from cifarlab.images import decoded
from cifarlab.images.decoded import files_state, keep, list_kept, remove, size_bytes
from cifarlab.images.images import Images

RNG = np.random.default_rng(2)
IMAGES = Images(
    RNG.integers(0, 256, (3, 3, 4, 4), dtype=np.uint8),
    np.array([1, 0, 1]),
    ("a", "ü"),
    original=False,
    note="note",
    skipped=("x: bad",),
    names=("1.png", "2\udcff.png", "3.png"),
    warnings=("dark",),
)


class Maker:
    """Makes images and counts how often it was asked to."""

    def __init__(self, images: Images = IMAGES) -> None:
        self.count, self.images = 0, images

    def __call__(self, scratch: Path | None) -> Images:
        self.count += 1
        return self.images


def kept(cache: Path, make: Maker, *, split: str = "train", options: tuple = (), state: str = "1", source: str = "s"):
    return keep(Path(source), split, options, state, make, cache)


def files(cache: Path, ending: str) -> list[Path]:
    return [path for path in (cache / "decoded").iterdir() if path.name.endswith(ending)]


def test_made_once_and_then_mapped(tmp_path: Path) -> None:
    make = Maker()
    assert kept(tmp_path, make) is IMAGES
    again = kept(tmp_path, make)
    assert make.count == 1
    assert isinstance(again.pixels, np.memmap) and again.pixels.flags.writeable
    assert np.array_equal(again.pixels, IMAGES.pixels) and np.array_equal(again.labels, IMAGES.labels)
    for name in ("class_names", "original", "note", "skipped", "names", "warnings", "fingerprint"):
        assert getattr(again, name) == getattr(IMAGES, name), name
    again.pixels[:] = 0
    assert np.array_equal(kept(tmp_path, make).pixels, IMAGES.pixels), "copy on write"


def test_pixels_that_were_written_on_the_way_are_taken_over(tmp_path: Path) -> None:
    def make(scratch: Path | None) -> Images:
        assert scratch is not None and scratch.parent == tmp_path / "decoded"
        IMAGES.pixels.tofile(scratch)
        return replace(IMAGES, pixels=np.memmap(scratch, np.uint8, "c", shape=IMAGES.pixels.shape))

    first = keep(Path("s"), "train", [], "1", make, tmp_path)
    assert np.array_equal(first.pixels, IMAGES.pixels) and first.fingerprint == IMAGES.fingerprint
    assert sorted(path.suffix for path in (tmp_path / "decoded").iterdir()) == [".card", ".lock", ".u8"]


def test_n26_equal_images_are_kept_once(tmp_path: Path) -> None:
    make = Maker()
    for source, split, size in (("s", "train", 32), ("s", "train", 64), ("s", "test", 32), ("t", "train", None)):
        assert len(kept(tmp_path, make, source=source, split=split, options=(size,))) == 3
    assert make.count == 4
    assert len(files(tmp_path, ".card")) == 4
    [pixels] = files(tmp_path, ".u8")
    assert pixels.name == f"{IMAGES.fingerprint}.u8" and pixels.read_bytes() == IMAGES.pixels.tobytes()


def test_n26_what_was_made_of_files_that_changed_goes(tmp_path: Path) -> None:
    kept(tmp_path, Maker())
    kept(tmp_path, Maker(), split="test")
    other = Maker(replace(IMAGES, pixels=255 - IMAGES.pixels))
    assert kept(tmp_path, other, state="2") is other.images
    assert {path.stem for path in files(tmp_path, ".u8")} == {IMAGES.fingerprint, other.images.fingerprint}
    kept(tmp_path, other, split="test", state="2")
    assert [path.stem for path in files(tmp_path, ".u8")] == [other.images.fingerprint], "the last that needed it"
    assert kept(tmp_path, Maker(), state="2").fingerprint == other.images.fingerprint
    assert len(files(tmp_path, ".card")) == 2


def test_n26_what_is_kept_is_listed_and_can_be_removed(tmp_path: Path) -> None:
    assert list_kept(tmp_path) == []
    make, other = Maker(), Maker(replace(IMAGES, pixels=255 - IMAGES.pixels))
    kept(tmp_path, make, source=str(tmp_path / "a"))
    kept(tmp_path, other, source=str(tmp_path / "a"), split="test")
    kept(tmp_path, make, source=str(tmp_path / "b\n"))
    first, second, third = list_kept(tmp_path)
    assert (first.source, first.split, second.split) == (f"{tmp_path}/a", "test", "train")
    assert third.source == f"{tmp_path}/b\\n" and third.pixels == second.pixels
    assert (first.num_images, first.side, first.size_bytes) == (3, 4, IMAGES.pixels.nbytes)
    assert size_bytes([first, second, third]) == 2 * IMAGES.pixels.nbytes, "shared pixels count once"
    assert json.loads(json.dumps(first.to_dict()))["split"] == "test"
    assert first.days_unused < 1
    os.utime(second.card, (0, 0))
    assert list_kept(tmp_path)[1].days_unused > 10_000
    kept(tmp_path, make, source=str(tmp_path / "a"))
    assert list_kept(tmp_path)[1].days_unused < 1, "reading counts as using"

    mapped = kept(tmp_path, make, source=str(tmp_path / "a"))
    remove(tmp_path, [second])
    assert third.pixels.exists()
    remove(tmp_path, [third, first])
    assert not files(tmp_path, ".u8") and list_kept(tmp_path) == []
    assert np.array_equal(mapped.pixels, IMAGES.pixels), "whoever has them mapped keeps them"
    assert make.count == 2 and kept(tmp_path, make, source=str(tmp_path / "a")) is IMAGES


def test_n26_what_is_damaged_or_half_written_can_be_removed_too(tmp_path: Path) -> None:
    kept(tmp_path, Maker())
    [card] = files(tmp_path, ".card")
    card.write_text("damaged")
    written, dead = "1" * 20, "2" * 20
    for key in (written, dead):
        (tmp_path / f"decoded/{TEMPORARY_PREFIX}123-{key}.u8").write_bytes(b"half")
    [found] = list_kept(tmp_path)
    assert (found.source, found.num_images, found.size_bytes) == ("(damaged)", 0, IMAGES.pixels.nbytes)
    with lock(tmp_path / f"decoded/{written}.lock", wait=True):
        remove(tmp_path, [found])
    assert [path.name for path in files(tmp_path, ".u8")] == [f"{TEMPORARY_PREFIX}123-{written}.u8"]
    assert not files(tmp_path, ".card")
    remove(tmp_path / "nothing is there", [])


def test_n26_a_file_that_the_system_holds_on_to(tmp_path: Path, monkeypatch) -> None:
    kept(tmp_path, Maker())

    def refuse(path, missing_ok=False):
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MachineError, match="cannot access"):
        remove(tmp_path, list_kept(tmp_path))


def test_the_state_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    os.utime(path, ns=(0, 1))
    states = [files_state([path]), files_state([path])]
    os.utime(path, ns=(0, 2))
    states.append(files_state([path]))
    path.write_text("12")
    os.utime(path, ns=(0, 2))
    states.append(files_state([path]))
    assert states[0] == states[1] and len(set(states)) == 3


@pytest.mark.parametrize("ending", [".u8", ".card"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "absent"])
def test_d29_a_damaged_copy_is_made_anew(ending: str, damage: str, tmp_path: Path, caplog) -> None:
    make = Maker()
    kept(tmp_path, make)
    [file] = files(tmp_path, ending)
    if damage == "absent":
        file.unlink()
    else:
        os.truncate(file, file.stat().st_size // 2 if damage == "truncated" else 0)
    assert kept(tmp_path, make) is IMAGES and make.count == 2
    assert damage == "absent" or "making them anew" in caplog.text
    assert np.array_equal(kept(tmp_path, make).pixels, IMAGES.pixels) and make.count == 2


def test_d29_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    make = Maker()
    kept(tmp_path, make)
    for file in files(tmp_path, ".u8") + files(tmp_path, ".card"):
        content = file.read_bytes()
        for place in RNG.integers(0, len(content), 100):
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(RNG.integers(8))
            file.write_bytes(damaged)
            before = make.count
            assert kept(tmp_path, make) is IMAGES and make.count == before + 1, (file, place)
            assert file.read_bytes() == content


def test_a_card_of_another_version_is_not_read(tmp_path: Path, monkeypatch) -> None:
    make = Maker()
    kept(tmp_path, make)
    monkeypatch.setattr(decoded, "FORMAT", [*decoded.FORMAT, "another field"])
    assert kept(tmp_path, make) is IMAGES and make.count == 2
    assert len(files(tmp_path, ".card")) == 1


def test_no_images_are_not_kept(tmp_path: Path, caplog) -> None:
    empty = Images(np.empty((0, 3, 4, 4), np.uint8), np.empty(0, np.int64), ("a",), skipped=("1.png: empty",))
    make = Maker(empty)
    assert [kept(tmp_path, make) for _ in range(2)] == [empty, empty] and make.count == 2
    assert not caplog.text and not files(tmp_path, ".card")


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_d24_a_cache_that_cannot_be_written(error: int, tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(*arguments, **options):
        raise OSError(error, os.strerror(error))

    make = Maker()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert kept(tmp_path / "cache", make) is IMAGES and make.count == 1
    assert f"cannot be kept in {tmp_path}/cache/decoded ({os.strerror(error).lower()})" in caplog.text
    assert not (tmp_path / "cache").exists()


def test_d24_a_read_only_cache_with_a_copy_is_used(tmp_path: Path, monkeypatch, caplog) -> None:
    make = Maker()
    kept(tmp_path, make)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    caplog.set_level(logging.WARNING)
    assert len(kept(tmp_path, make)) == 3 and make.count == 1 and not caplog.text


def test_d28_a_disk_that_fills_up_keeps_what_is_in_memory(tmp_path: Path, monkeypatch, caplog) -> None:
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    make = Maker()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert kept(tmp_path, make) is IMAGES
    assert "are not kept" in caplog.text and "No space left" in caplog.text
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]
    assert kept(tmp_path, make) is IMAGES and make.count == 2


def test_an_error_of_the_maker_leaves_nothing(tmp_path: Path) -> None:
    def make(scratch: Path | None) -> Images:
        assert scratch is not None
        scratch.write_bytes(b"half")
        raise MachineError("no space")

    with pytest.raises(MachineError):
        keep(Path("s"), "train", [], "1", make, tmp_path)
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_removed_but_nothing_of_others(tmp_path: Path) -> None:
    kept(tmp_path, Maker())
    [lock] = files(tmp_path, ".lock")
    dead = lock.with_name(f"{TEMPORARY_PREFIX}123-{lock.stem}.u8")
    alive = lock.with_name(f"{TEMPORARY_PREFIX}123-{'0' * 20}.u8")
    dead.write_bytes(b"half")
    alive.write_bytes(b"half")
    kept(tmp_path, Maker(), state="2")
    assert alive.exists() and not dead.exists()


def test_d26_several_at_once_make_it_once(tmp_path: Path) -> None:
    make = Maker()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: kept(tmp_path, make), range(8)))
    assert make.count == 1 and all(result.fingerprint == IMAGES.fingerprint for result in results)


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    make = Maker()
    assert keep(Path("s"), "train", [], "1", make, None) is IMAGES and make.count == 1
