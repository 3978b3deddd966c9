from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.source import Source
from cifarlab.images.sources import data_spec, open_source

X = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
Y = np.array([0, 1, 1, 0], np.uint8)


def idx(array: np.ndarray, code: int = 8) -> bytes:
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + big_endian.tobytes()


def write(folder: Path, *, prefix: str = "", test: str = "t10k", pack: bool = False, dot: str = "-") -> Path:
    """The four files of MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, number in (("train", 4), (test, 2)):
        for name, array in ((f"images{dot}idx3", X[:number]), (f"labels{dot}idx1", Y[:number])):
            file = folder / f"{prefix}{split}-{name}-ubyte{'.gz' if pack else ''}"
            file.write_bytes(gzip.compress(idx(array)) if pack else idx(array))
    return folder


def opened(path: Path, **options) -> Source:
    return open_source(data_spec(path, **options))


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
def test_n23_mnist(pack: bool, dot: str, tmp_path: Path) -> None:
    source = opened(write(tmp_path, pack=pack, dot=dot))
    assert source.kind == "idx" and source.splits == ("train", "test")
    images = source.load("train")
    assert np.array_equal(images.pixels, np.stack([X] * 3, axis=1)) and images.labels.tolist() == Y.tolist()
    assert len(source.load("test")) == 2


@pytest.mark.parametrize("given", [".", "MNIST", "MNIST/raw", "MNIST/raw/train-images-idx3-ubyte"])
def test_n23_where_torchvision_puts_it(given: str, tmp_path: Path) -> None:
    """Both as it came and unpacked: the same files twice."""
    write(tmp_path / "MNIST/raw")
    write(tmp_path / "MNIST/raw", pack=True)
    assert opened(tmp_path / given).splits == ("train", "test")


def test_n23_several_data_sets_are_ambiguous(tmp_path: Path) -> None:
    write(tmp_path, prefix="emnist-letters-", test="test", pack=True)
    write(tmp_path, prefix="emnist-digits-", test="test", pack=True)
    with pytest.raises(AmbiguousDataError, match=r"2 data sets in IDX\.\n.*emnist-digits-.*emnist-letters-"):
        opened(tmp_path)
    assert opened(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz").splits == ("train", "test")
    assert opened(tmp_path / "emnist-digits-test-labels-idx1-ubyte.gz").splits == ("train", "test")


def test_n23_class_names(tmp_path: Path) -> None:
    assert opened(write(tmp_path), class_names="shirt,boot").load("test").class_names == ("shirt", "boot")


def test_n18_files_that_are_missing(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert opened(tmp_path).understanding.left_out == {"without labels": ["test"]}
    (tmp_path / "t10k-images-idx3-ubyte").rename(tmp_path / "extra-images-idx3-ubyte")
    assert opened(tmp_path).understanding.left_out == {"not called after a split": ["extra-images-idx3-ubyte"]}
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="has labels in IDX, but no images"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\x89PNG", "not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x08\x03\0\0", "cut off in its header"),
        (b"\0\0\x07\x01\0\0\0\1a", "not an IDX file"),
        (idx(X)[:-1], "says 3,136 bytes of values, and it has 3,135"),
        (idx(X) + b"\0", "says 3,136 bytes of values, and it has more"),
        (idx(X[0]), "holds 28 images, but 4 labels|has the shape"),
        (idx(X.astype(np.int32), 12), "int32 from"),
    ],
)
@pytest.mark.parametrize("pack", [False, True])
def test_d04_files_that_are_damaged(content: bytes, message: str, pack: bool, tmp_path: Path) -> None:
    write(tmp_path, pack=pack)
    file = tmp_path / f"train-images-idx3-ubyte{'.gz' if pack else ''}"
    file.write_bytes(gzip.compress(content) if pack else content)
    with pytest.raises(DataError, match=message):
        opened(tmp_path).load("train")


def test_d04_gzip_that_is_damaged(tmp_path: Path) -> None:
    file = write(tmp_path, pack=True) / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:100], whole[:5], b"no gzip", whole[:50] + b"\0" * 20 + whole[70:]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"Cannot read .*train-images|is not an IDX file"):
            opened(tmp_path).load("train")


def test_d12_a_bomb_stops_at_the_size_in_its_header(tmp_path: Path) -> None:
    file = write(tmp_path, pack=True) / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx(X)) + gzip.compress(bytes(10 * 2**20)) * 1000)
    with pytest.raises(DataError, match="and it has more"):
        opened(tmp_path).load("train")


def test_n67_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    file = write(tmp_path) / "train-images-idx3-ubyte"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match="not a regular file"):
        opened(tmp_path)


def test_a_name_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "digits-ubyte").write_bytes(idx(X))
    with pytest.raises(DataError, match="does not say what it holds"):
        opened(tmp_path / "digits-ubyte")
