"""Official files in small: pickles as Python 2 wrote them, batches, archives."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from cifarlab.images.archives.official import CIFAR10, CIFAR10_BINARY, CIFAR100, CIFAR100_BINARY, Layout

FINE_NAMES = [f"fine_{number}".encode() for number in range(100)]
CIFAR10_NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()


class Pickle2:
    """Writes what cPickle of Python 2 writes with protocol 2, for the types that CIFAR's files contain."""

    def __init__(self) -> None:
        self.num_memos = 0

    def dump(self, value: object) -> bytes:
        return b"\x80\x02" + self.encode(value) + b"."

    def encode(self, value: object) -> bytes:
        if isinstance(value, dict):
            head = b"}" + self.memo() + b"("
            return head + b"".join(self.encode(k) + self.encode(v) for k, v in value.items()) + b"u"
        if isinstance(value, list):
            head = b"]" + self.memo()
            groups = [value[start : start + 1000] for start in range(0, len(value), 1000)]
            return head + b"".join(b"(" + b"".join(map(self.encode, group)) + b"e" for group in groups)
        if isinstance(value, bytes):
            short = len(value) < 256
            size = b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value))
            return size + value + self.memo()
        if isinstance(value, int):
            return self.integer(value)
        assert isinstance(value, np.ndarray)
        return self.array(value)

    def integer(self, value: int) -> bytes:
        if 0 <= value < 256:
            return b"K" + bytes([value])
        if 0 <= value < 65536:
            return b"M" + struct.pack("<H", value)
        return b"J" + struct.pack("<i", value)

    def array(self, value: np.ndarray) -> bytes:
        shape = b"".join(map(self.integer, value.shape)) + b"\x86" + self.memo()
        return b"".join(
            [
                b"cnumpy.core.multiarray\n_reconstruct\n" + self.memo(),
                b"cnumpy\nndarray\n" + self.memo(),
                b"K\x00\x85" + self.memo() + b"U\x01b" + self.memo() + b"\x87" + self.memo() + b"R" + self.memo(),
                b"(K\x01" + shape,
                b"cnumpy\ndtype\n" + self.memo() + b"U\x02u1" + self.memo(),
                b"K\x00K\x01\x87" + self.memo() + b"R" + self.memo(),
                b"(K\x03U\x01|" + self.memo() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t" + self.memo() + b"b",
                b"\x89" + self.encode(value.tobytes()) + b"t" + self.memo() + b"b",
            ]
        )

    def memo(self) -> bytes:
        self.num_memos += 1
        number = self.num_memos
        return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)


@dataclasses.dataclass(frozen=True)
class Official:
    """A small copy of an official data set: its layout, its files, and what reading them must give."""

    layout: Layout
    files: Mapping[str, bytes]
    pixels: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    def archive(self, path: Path, files: Mapping[str, bytes] | None = None) -> Path:
        """Write a tar.gz with the files in an order other than the numbers'."""
        with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as tar:
            folder = tarfile.TarInfo(self.layout.folder)
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            members = self.files if files is None else files
            for name, content in sorted(members.items(), reverse=True):
                member = tarfile.TarInfo(f"{self.layout.folder}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    def extracted(self, path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        return path


def _official(layout: Layout, names: list[bytes], per_file: int) -> Official:
    splits = {split: dict.fromkeys(files, per_file) for split, files in layout.splits.items()}
    random = np.random.default_rng(0)
    files: dict[str, bytes] = {"readme.html": b"<p>CIFAR</p>"}
    pixels, labels = {}, {}
    for split, members in splits.items():
        pixels[split] = random.integers(0, 256, (len(members) * per_file, 3, 32, 32), np.uint8)
        labels[split] = random.integers(0, layout.num_classes, len(members) * per_file)
        for number, name in enumerate(members):
            rows = slice(number * per_file, (number + 1) * per_file)
            files[name] = _batch(layout, name, pixels[split][rows], labels[split][rows])
    if layout.label_bytes:
        files[layout.meta] = b"\n".join(names) + b"\n\n"
    else:
        meta = {b"num_cases_per_batch": 10000, layout.names_key: names, b"num_vis": 3072}
        files[layout.meta] = Pickle2().dump(meta)
    md5 = {name: hashlib.md5(files[name]).hexdigest() for members in splits.values() for name in members}
    small = dataclasses.replace(layout, splits=splits, md5=md5 if layout.md5 else {})
    return Official(small, files, pixels, labels)


def _batch(layout: Layout, name: str, pixels: np.ndarray, labels: np.ndarray) -> bytes:
    flat = pixels.reshape(len(pixels), 3072)
    coarse = labels % 20
    if layout.label_bytes:
        columns = [labels] if layout.label_bytes == 1 else [coarse, labels]
        return np.column_stack([*columns, flat]).astype(np.uint8).tobytes()
    batch: dict[bytes, object] = {b"batch_label": name.encode(), layout.labels_key: labels.tolist()}
    if layout.dataset == "cifar100":
        batch[b"coarse_labels"] = coarse.tolist()
    file_names = [b"image_%d.png" % number for number in range(len(pixels))]
    return Pickle2().dump({**batch, b"data": flat, b"filenames": file_names})


@pytest.fixture
def pickle2() -> Callable[[object], bytes]:
    return lambda value: Pickle2().dump(value)


@pytest.fixture
def cifar10() -> Official:
    return _official(CIFAR10, CIFAR10_NAMES, 4)


@pytest.fixture
def cifar10_binary() -> Official:
    return _official(CIFAR10_BINARY, CIFAR10_NAMES, 4)


@pytest.fixture
def cifar100() -> Official:
    return _official(CIFAR100, FINE_NAMES, 6)


@pytest.fixture
def cifar100_binary() -> Official:
    return _official(CIFAR100_BINARY, FINE_NAMES, 6)


@pytest.fixture
def raw_tar() -> Callable[..., bytes]:
    """Headers that no archiver writes."""

    def header(name: str, size: bytes, kind: bytes = b"0", link: str = "") -> bytes:
        block = bytearray(512)
        block[: len(name)] = name.encode()
        block[100:108], block[124 : 124 + len(size)] = b"0000644\0", size
        block[156:157], block[157 : 157 + len(link)] = kind, link.encode()
        block[257:265], block[148:156] = b"ustar\x0000", b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    return header


@pytest.fixture
def packed(tmp_path: Path) -> Callable[[bytes], Path]:
    def pack(content: bytes) -> Path:
        path = tmp_path / "packed.tar.gz"
        path.write_bytes(gzip.compress(content, 1))
        return path

    return pack
