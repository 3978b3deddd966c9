from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import DataError
from cifarlab.images.archives.cifar import extracted_layout, read_archive, read_extracted

KINDS = ("cifar10", "cifar10_binary", "cifar100", "cifar100_binary")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_archive_and_folder_hold_the_same(kind: str, split: str, request, tmp_path: Path) -> None:
    official = request.getfixturevalue(kind)
    archive = official.archive(tmp_path / "a.tar.gz")
    folder = official.extracted(tmp_path / official.layout.folder)
    for images in (
        read_archive(archive, split, [official.layout]),
        read_extracted(folder, split, [official.layout]),
    ):
        assert np.array_equal(images.pixels, official.pixels[split])
        assert np.array_equal(images.labels, official.labels[split])
        assert images.num_classes == official.layout.num_classes
        assert images.class_names[1] == ("automobile" if images.num_classes == 10 else "fine_1")


def test_the_layout_is_told_by_the_content(cifar10, cifar10_binary, cifar100, tmp_path: Path) -> None:
    layouts = [cifar10.layout, cifar10_binary.layout, cifar100.layout]
    images = read_archive(cifar100.archive(tmp_path / "cifar-10-python.tar.gz"), "test", layouts)
    assert images.num_classes == 100
    assert extracted_layout(cifar10_binary.extracted(tmp_path / "b"), layouts) is cifar10_binary.layout
    assert extracted_layout(tmp_path, layouts) is None
    with pytest.raises(DataError, match="no official batches"):
        read_extracted(tmp_path, "train", layouts)


def test_original_is_proven_by_checksums(cifar10, tmp_path: Path) -> None:
    archive, folder = cifar10.archive(tmp_path / "a.tar.gz"), cifar10.extracted(tmp_path / "f")
    assert read_archive(archive, "train", [cifar10.layout]).original is True
    assert read_extracted(folder, "train", [cifar10.layout]).original is True
    changed = bytearray(cifar10.files["data_batch_2"])
    changed[changed.index(cifar10.pixels["train"][4].tobytes())] ^= 1
    (folder / "data_batch_2").write_bytes(changed)
    images = read_extracted(folder, "train", [cifar10.layout])
    assert images.original is None and "checksums" in images.note
    assert read_extracted(folder, "test", [cifar10.layout]).original is True


def test_a_binary_archive_is_original_by_its_own_checksum(cifar10_binary, tmp_path: Path) -> None:
    path = cifar10_binary.archive(tmp_path / "a.tar.gz")
    assert read_archive(path, "test", [cifar10_binary.layout]).original is None
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    published = dataclasses.replace(cifar10_binary.layout.archive, md5=md5)
    layout = dataclasses.replace(cifar10_binary.layout, archive=published)
    assert read_archive(path, "test", [layout]).original is True


def test_d04_truncated_archive(cifar10, tmp_path: Path) -> None:
    whole = cifar10.archive(tmp_path / "whole.tar.gz").read_bytes()
    sized = dataclasses.replace(cifar10.layout.archive, size_bytes=len(whole))
    layout = dataclasses.replace(cifar10.layout, archive=sized)
    path = tmp_path / cifar10.layout.archive.name
    path.write_bytes(whole)
    assert len(read_archive(path, "test", [layout])) == 4
    for length in np.linspace(0, len(whole) - 1, 256).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError) as caught:
            read_archive(path, "test", [layout])
        assert f"{length:,} bytes" in str(caught.value) and f"{len(whole):,}" in str(caught.value)
        assert "download it anew" in str(caught.value)


def test_a_flipped_bit_in_the_archive_is_found(cifar10, tmp_path: Path) -> None:
    path = cifar10.archive(tmp_path / "a.tar.gz")
    whole = path.read_bytes()
    for position in np.linspace(len(whole) // 10, len(whole) - 9, 60).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            read_archive(path, "train", [cifar10.layout])


def test_d10_names_that_leave_the_archive_are_ignored(cifar10, raw_tar, packed, tmp_path: Path) -> None:
    evil = [
        f"../../{tmp_path.name}-x",
        f"{tmp_path}/x",
        "cifar-10-batches-py/../x",
        "cifar-10-batches-py/extra",
    ]
    plain = gzip.decompress(cifar10.archive(tmp_path / "a.tar.gz").read_bytes())
    headers = b"".join(raw_tar(name, b"00000000004") + b"evil".ljust(512, b"\0") for name in evil)
    path = packed(headers + plain)
    before = sorted(path.parent.parent.rglob("*"))
    images = read_archive(path, "test", [cifar10.layout])
    assert np.array_equal(images.pixels, cifar10.pixels["test"])
    assert sorted(path.parent.parent.rglob("*")) == before


def test_d10_an_extended_header_cannot_rename_a_member(cifar10, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("harmless")
        member.pax_headers = {"path": "cifar-10-batches-py/test_batch"}
        tar.addfile(member)
    with pytest.raises(DataError, match="no CIFAR archive"):
        read_archive(path, "test", [cifar10.layout])


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"S", b"x"])
def test_d11_a_needed_name_that_is_no_regular_file(kind: bytes, cifar10, raw_tar, packed) -> None:
    header = raw_tar("cifar-10-batches-py/test_batch", b"00000000000", kind, link="/etc/passwd")
    with pytest.raises(DataError, match="test_batch is not a regular file"):
        read_archive(packed(header + bytes(1024)), "test", [cifar10.layout])


def test_d11_links_under_other_names_are_ignored(cifar10, raw_tar, packed, tmp_path: Path) -> None:
    plain = gzip.decompress(cifar10.archive(tmp_path / "a.tar.gz").read_bytes())
    headers = raw_tar("link", b"00000000000", b"2", "/etc/passwd") + raw_tar("fifo", b"00000000000", b"6")
    assert len(read_archive(packed(headers + plain), "test", [cifar10.layout])) == 4


def test_d11_a_fifo_in_the_folder(cifar10, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    (folder / "test_batch").unlink()
    os.mkfifo(folder / "test_batch")
    with pytest.raises(DataError, match="not a regular file"):
        read_extracted(folder, "test", [cifar10.layout])


def test_d12_bombs_stop_at_the_known_size(cifar10, raw_tar, tmp_path: Path) -> None:
    ten_gigabytes = b"%011o" % (10 * 2**30)
    zeros = gzip.compress(bytes(10 * 2**20)) * 1000
    path = tmp_path / "bomb.tar.gz"
    starts = {
        "bomb unpacks to more": b"",
        "unpacks to more": gzip.compress(raw_tar("readme.html", ten_gigabytes)),
        "at most": gzip.compress(raw_tar("cifar-10-batches-py/test_batch", ten_gigabytes)),
        "unpacks to more than": gzip.compress(raw_tar("long", ten_gigabytes, b"L")),
        "unpacks to more than an": gzip.compress(raw_tar("extended", ten_gigabytes, b"x")),
    }
    tracemalloc.start()
    for message, start in starts.items():
        path.write_bytes(start + zeros)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(DataError, match=message.removeprefix("bomb ")):
            read_archive(path, "test", [cifar10.layout])
        assert tracemalloc.get_traced_memory()[1] - before < 20_000_000
    tracemalloc.stop()


def test_d12_an_extracted_file_that_is_too_large(cifar10, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    with (folder / "test_batch").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="more than the"):
        read_extracted(folder, "test", [cifar10.layout])


def test_d13_a_name_that_comes_twice(cifar10, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("cifar-10-batches-py/test_batch"))
    with pytest.raises(DataError, match="test_batch comes twice"):
        read_archive(path, "test", [cifar10.layout])


@pytest.mark.parametrize("size", [b"-0000000001", b"\xff" * 12, b"\x80" + b"\0" * 10 + b"\x01", b"0x000000010"])
def test_d13_sizes_that_are_none(size: bytes, cifar10, raw_tar, packed) -> None:
    with pytest.raises(DataError, match="damaged header"):
        read_archive(packed(raw_tar("cifar-10-batches-py/test_batch", size) + bytes(1024)), "test", [cifar10.layout])


def test_d13_a_header_with_a_wrong_checksum(cifar10, raw_tar, packed) -> None:
    header = bytearray(raw_tar("cifar-10-batches-py/test_batch", b"00000000000"))
    header[0] ^= 1
    with pytest.raises(DataError, match="wrong checksum"):
        read_archive(packed(bytes(header) + bytes(1024)), "test", [cifar10.layout])


def test_d14_label_out_of_range(cifar10, cifar100_binary, pickle2, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    pixels = cifar10.pixels["test"].reshape(4, 3072)
    for label in (10, -1):
        (folder / "test_batch").write_bytes(pickle2({b"data": pixels, b"labels": [1, 9, label, 3]}))
        with pytest.raises(DataError, match=f"record 2 has the label {label}; there are 10 classes"):
            read_extracted(folder, "test", [cifar10.layout])
    folder = cifar100_binary.extracted(tmp_path / "b")
    content = bytearray(cifar100_binary.files["test.bin"])
    content[3 * 3074] = 255  # a coarse label, which nobody reads
    content[3 * 3074 + 1] = 100
    (folder / "test.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"test\.bin: record 3 has the label 100; there are 100 classes"):
        read_extracted(folder, "test", [cifar100_binary.layout])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            {b"data": np.zeros((3, 3072), np.uint8), b"labels": [0] * 4},
            "3 labels are needed, found 4",
        ),
        ({b"data": np.zeros((4, 3071), np.uint8), b"labels": [0] * 4}, "data must be uint8"),
        ({b"data": [1], b"labels": [0] * 4}, "found no array"),
        ({b"labels": [0] * 4}, "found no array"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0] * 3}, "4 labels are needed, found 3"),
        ({b"data": np.zeros((4, 3072), np.uint8)}, "found no list"),
        ({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, b"2", 3]}, "whole numbers"),
    ],
)
def test_d15_wrong_number_or_size_of_records(batch, message: str, cifar10, pickle2, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    (folder / "test_batch").write_bytes(pickle2(batch))
    with pytest.raises(DataError, match=message):
        read_extracted(folder, "test", [cifar10.layout])


@pytest.mark.parametrize("protocol", range(2, 6))
def test_n23_a_set_of_ones_own_in_this_format(protocol: int, tmp_path: Path) -> None:
    """Pickled by Python 3, with as many records and classes as its maker wanted."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3072), np.uint8)
    for number, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        batch = {"data": pixels[: 7 - number], "labels": [0, 1, 2, 0, 1, 2, 0][: 7 - number]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog", "caf\u00e9"]}, protocol))
    train, test = (read_extracted(folder, split) for split in ("train", "test"))
    assert len(train) == 7 + 6 + 5 + 4 + 3 and len(test) == 2
    assert np.array_equal(train.pixels[:7].reshape(7, 3072), pixels)
    assert train.class_names == ("cat", "dog", "caf\u00e9") and test.labels.tolist() == [0, 1]
    (folder / "test_batch").write_bytes(pickle.dumps({"data": pixels[:1], "labels": [3]}, protocol))
    with pytest.raises(DataError, match="record 0 has the label 3; there are 3 classes"):
        read_extracted(folder, "test")


@pytest.mark.parametrize("change", [slice(0, -1), slice(1, None), slice(0, -3073)])
def test_d15_a_binary_batch_that_lacks_bytes(change: slice, cifar10_binary, tmp_path: Path) -> None:
    folder = cifar10_binary.extracted(tmp_path / "f")
    (folder / "test_batch.bin").write_bytes(cifar10_binary.files["test_batch.bin"][change])
    with pytest.raises(DataError, match="4 records of 3,073 bytes make 12,292"):
        read_extracted(folder, "test", [cifar10_binary.layout])


@pytest.mark.parametrize("missing", ["data_batch_3", "batches.meta"])
def test_d15_a_missing_file_is_named(missing: str, cifar10, tmp_path: Path) -> None:
    files = {name: content for name, content in cifar10.files.items() if name != missing}
    path = cifar10.archive(tmp_path / "a.tar.gz", files)
    with pytest.raises(DataError, match=f"incomplete: {missing} missing"):
        read_archive(path, "train", [cifar10.layout])


@pytest.mark.parametrize("names", [[], [b"a"] * 10, [b"\xff"] * 10, [1] * 10])
def test_class_names_that_are_none(names: list[object], cifar10, pickle2, tmp_path: Path) -> None:
    folder = cifar10.extracted(tmp_path / "f")
    (folder / "batches.meta").write_bytes(pickle2({b"label_names": names}))
    with pytest.raises(DataError, match=r"batches\.meta"):
        read_extracted(folder, "test", [cifar10.layout])


def test_a_file_that_is_no_archive(cifar10, tmp_path: Path) -> None:
    path = tmp_path / "page.tar.gz"
    path.write_bytes(b"<html>Please log in</html>" * 100)
    with pytest.raises(DataError, match="is damaged"):
        read_archive(path, "train", [cifar10.layout])
    with pytest.raises(DataError, match="Cannot read"):
        read_archive(tmp_path / "absent.tar.gz", "train", [cifar10.layout])
