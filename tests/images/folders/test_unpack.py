"""Archives of folders: read like the folder, unpacked once, and trusted in nothing."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import filelock  # noqa: F401  before a test says that this is Windows
import pytest
from PIL import Image
from typer.testing import CliRunner

from cifarlab.cli.data import app
from cifarlab.errors import AmbiguousDataError, DataError, MachineError
from cifarlab.images import sources
from cifarlab.images.folders import unpack as module
from cifarlab.images.folders.unpack import list_unpacked, unpack
from cifarlab.images.source import HIDDEN, NOT_PICTURES, SYSTEM
from cifarlab.images.sources import data_spec, load_images, open_source
from cifarlab.images.words import UNREAD


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(sources, "cache_dir", lambda: folder)
    return folder


def png(name: str) -> bytes:
    target = io.BytesIO()
    Image.frombytes("RGB", (2, 2), hashlib.sha256(name.encode()).digest()[:12]).save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [f"photos/{each}/{number}.png" for each in ("cat", "dög, big", "猫") for number in range(5)]:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(name))
    return tmp_path / "data"


def packed(folder: Path, ending: str) -> Path:
    path = folder.with_name(f"packed{ending}")
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, f"w:{ending.rpartition('.')[2].removesuffix('tar').replace('tgz', 'gz')}") as archive:
            archive.add(folder, ".")
    return path


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_n23_an_archive_is_read_like_its_folder(folder: Path, ending: str, cache: Path) -> None:
    path = packed(folder, ending)
    for split in ("train", "test"):
        plain, images = load_images(folder, split), load_images(path, split)
        assert images.fingerprint == plain.fingerprint and images.names == plain.names
        assert str(path) in images.note and str(cache) not in images.note
    source = open_source(data_spec(path))
    assert source.path == path and source.understanding.settled["source"] == str(path)
    again = open_source(data_spec(**source.understanding.settled))
    assert again.load("train").fingerprint == source.load("train").fingerprint


def test_n23_an_archive_is_unpacked_once_and_anew_when_it_changes(folder: Path, cache: Path) -> None:
    path = packed(folder, ".zip")
    first, _ = unpack(path, cache)
    written = first.stat().st_mtime_ns
    assert unpack(path, cache)[0] == first and first.stat().st_mtime_ns == written
    (folder / "photos" / "cat" / "0.png").unlink()
    second, _ = unpack(packed(folder, ".zip"), cache)
    assert second != first and not first.exists()
    assert not (second / "photos" / "cat" / "0.png").exists()
    (second.parent / "card.json").write_text("{")
    shutil.rmtree(second / "photos" / "cat")
    assert (unpack(path, cache)[0] / "photos" / "cat").is_dir(), "made again where its card is damaged"


def test_n26_unpacked_archives_are_listed_and_removed(folder: Path, cache: Path) -> None:
    path = packed(folder, ".zip")
    place, _ = unpack(path, cache)
    [found] = list_unpacked(cache)
    sizes = [file.stat().st_size for file in folder.rglob("*.png")]
    assert (found.source, found.num_files, found.size_bytes) == (str(path), 15, sum(sizes))
    call = partial(CliRunner().invoke, app, catch_exceptions=False)
    assert "1 unpacked archives kept" in call(["cache"]).stdout
    assert json.loads(call(["cache", "--json"]).stdout)[0]["source"] == str(path)
    assert "1 unpacked archives removed" in call(["cache", "packed", "--clear"]).stdout
    assert list_unpacked(cache) == [] and not place.exists()


def test_n23_what_is_not_unpacked_is_said(folder: Path) -> None:
    for name in (".DS_Store", "__MACOSX/photos/cat/._0.png", "model.pkl", "photos/cat/new.heic", "list.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    source = open_source(data_spec(packed(folder, ".zip")))
    assert source.understanding.left_out == {
        HIDDEN: [".DS_Store"],
        SYSTEM: ["__MACOSX/photos/cat/._0.png"],
        NOT_PICTURES: ["list.txt", "model.pkl"],
        UNREAD[".heic"]: ["photos/cat/new.heic"],
    }


def test_n23_errors_name_the_archive(folder: Path, cache: Path) -> None:
    (folder / "photos" / "cat" / "bad.png").write_bytes(b"text")
    path = packed(folder, ".zip")
    with pytest.raises(DataError, match=r"pictures in .*packed\.zip cannot be read") as caught:
        load_images(path)
    assert str(cache) not in str(caught.value)
    (folder / "photos" / "train").mkdir()
    (folder / "photos" / "train" / "a").mkdir()
    (folder / "photos" / "train" / "a" / "1.png").write_bytes(png("1"))
    with pytest.raises(AmbiguousDataError, match=r"packed\.zip can be read in two ways"):
        open_source(data_spec(packed(folder, ".zip")))
    assert open_source(data_spec(path, layout="splits")).splits == ("train",)


def zip_of(path: Path, *names: str | zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, png("x"))
    return path


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(png("x")) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(png("x")) if kind == tarfile.REGTYPE else 0
    return info


def refused(path: Path, cache: Path, message: str) -> None:
    """Nothing is left of an archive that is refused, inside of the cache or outside."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(DataError, match=message) as caught:
        unpack(path, cache)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1000
    rest = set(path.parent.rglob("*")) - set(before)
    assert {each.name for each in rest} <= {"cache", "unpacked", ".lock"}


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "a/../../evil.png", "a/" * 2000 + "1.png", "x" * 300 + ".png", "a/../b.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_d10_names_that_leave_the_folder(tmp_path: Path, cache: Path, name: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(path, "cat/1.png", name)
    else:
        tar_of(tmp_path / "a.tar.gz", member("cat/1.png"), member(name))
        path = tmp_path / "a.tar.gz"
    refused(path, cache, "it holds a file called")


@pytest.mark.parametrize(
    "bad",
    [
        member("cat/2.png", tarfile.SYMTYPE, "/etc/passwd"),
        member("cat/2.png", tarfile.LNKTYPE, "cat/1.png"),
        member("cat/2.png", tarfile.CHRTYPE),
        member("cat/2.png", tarfile.FIFOTYPE),
        member("dog", tarfile.SYMTYPE, "cat"),
    ],
    ids=["symlink", "hardlink", "device", "fifo", "folder"],
)
def test_d11_links_and_devices(tmp_path: Path, cache: Path, bad: tarfile.TarInfo) -> None:
    refused(tar_of(tmp_path / "a.tgz", member("cat/1.png"), bad), cache, "is a link|is not a file")


def test_d11_a_link_in_a_zip(tmp_path: Path, cache: Path) -> None:
    link = zipfile.ZipInfo("cat/2.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    refused(zip_of(tmp_path / "a.zip", "cat/1.png", link), cache, "is a link")


def test_d12_archives_that_unpack_to_far_more(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.bmp", bytes(10_000_000))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.bmp").write_bytes(bytes(10_000_000))
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(tmp_path / "data" / "1.bmp", "cat/1.bmp")
        tar.add(tmp_path / "data" / "1.bmp", "other.bin")
    monkeypatch.setattr(module, "ALWAYS_ALLOWED", 1000)
    for name in ("a.zip", "a.tgz"):
        refused(tmp_path / name, cache, "unpacks to more than")
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST_BYTES", 1_000_000)
    for name in ("a.zip", "a.tgz"):
        refused(tmp_path / name, cache, "1.bmp has 10 MB, more than the 1 allowed")


def test_d12_a_header_that_wants_all_memory(tmp_path: Path, cache: Path, raw_tar: Callable[..., bytes]) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(raw_tar("x", b"77777777777\0", b"x") + bytes(2048)))
    refused(path, cache, "it has a header of")


def test_d13_names_that_come_twice(tmp_path: Path, cache: Path) -> None:
    refused(tar_of(tmp_path / "a.tgz", member("cat/1.png"), member("./cat/1.png")), cache, "holds cat/1.png twice")
    clash = tar_of(tmp_path / "b.tgz", member("cat/1.png"), member("cat/1.png/2.png"))
    refused(clash, cache, "a file or a folder of the same name")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar", ".tar.xz"])
def test_d04_archives_that_are_cut_off_or_damaged(folder: Path, cache: Path, ending: str) -> None:
    path = packed(folder, ending)
    content = path.read_bytes()
    for place in range(0, len(content.rstrip(b"\0")) - 1, 1 + len(content) // 25):  # the zeros at its end are many
        path.write_bytes(content[:place])
        with pytest.raises(DataError):
            open_source(data_spec(path))
    for place in range(0, len(content), 1 + len(content) // 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            load_images(path)
        except DataError as error:
            assert error.exit_code == 3


def test_an_encrypted_zip(tmp_path: Path, cache: Path) -> None:
    path = zip_of(tmp_path / "a.zip", "cat/1.png")
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    refused(path, cache, "cannot be unpacked: .*encrypted")


def test_a_zip_from_windows(tmp_path: Path) -> None:
    infos = [zipfile.ZipInfo("x") for _ in range(4)]
    for number, info in enumerate(infos):
        info.filename, info.create_system = f"train\\{['cat', 'dog'][number % 2]}\\{number}.png", 0
    source = open_source(data_spec(zip_of(tmp_path / "a.zip", *infos)))
    assert source.understanding.counts == {"train": {"cat": 2, "dog": 2}}


def test_nothing_in_it_that_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.zip holds no pictures"):
        open_source(data_spec(zip_of(tmp_path / "a.zip", "notes.md", "inner.zip")))


def test_d28_a_cache_that_cannot_be_written(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "move", refuse)
    with pytest.raises(MachineError, match="Read-only file system"):
        unpack(packed(folder, ".zip"), cache)


@pytest.mark.parametrize("name", ["aux.png", "cat/con/1.png", "cat./1.png", "..\\1.png", "C:1.png", "1.png:2.png"])
def test_names_that_windows_does_not_have_or_that_lead_out_there(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tar_of(tmp_path / "a.tgz", member(name))
    monkeypatch.setattr(sys, "platform", "win32")
    refused(path, cache, "it holds a file called")


def test_a_path_that_the_system_refuses(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: Path, mode: str = "r", *arguments: str | int | None, **options: str | int | None) -> IO[Any]:
        if mode == "xb":
            raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified")  # as Windows says it
        return real(self, mode, *arguments, **options)

    path = tar_of(tmp_path / "a.tgz", member("cat/1.png"))
    real = Path.open
    monkeypatch.setattr(Path, "open", opened)
    refused(path, cache, r"(?s)refuses a file called cat/1\.png .*where paths are shorter")
