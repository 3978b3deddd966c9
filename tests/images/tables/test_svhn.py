from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cifarlab.errors import DataError
from cifarlab.images.source import Source
from cifarlab.images.sources import data_spec, open_source

X = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
Y = np.arange(1, 11, dtype=np.uint8)


def write(path: Path, images: np.ndarray = X, labels: np.ndarray = Y, **options) -> Path:
    """As SVHN has it: the images last in X."""
    savemat(path, {"X": np.moveaxis(images, 0, 3), "y": labels[:, None]}, **options)
    return path


def opened(path: Path, **options) -> Source:
    return open_source(data_spec(path, **options))


@pytest.mark.parametrize("do_compression", [False, True])
def test_n23_svhn(do_compression: bool, tmp_path: Path) -> None:
    write(tmp_path / "train_32x32.mat", do_compression=do_compression)
    write(tmp_path / "test_32x32.mat", X[:3], Y[7:])
    write(tmp_path / "extra_32x32.mat")
    source = opened(tmp_path)
    assert source.kind == "mat" and source.splits == ("train", "test")
    assert source.understanding.left_out == {"not called after a split": ["extra_32x32.mat"]}
    images = source.load("train")
    assert np.array_equal(images.pixels, X.transpose(0, 3, 1, 2))
    assert images.class_names == tuple("0123456789"), "10 means the digit 0"
    assert images.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert source.load("test").labels.tolist() == [8, 9, 0]


def test_n23_a_single_file(tmp_path: Path) -> None:
    assert opened(write(tmp_path / "test_32x32.mat")).splits == ("test",)
    savemat(tmp_path / "row.mat", {"X": np.moveaxis(X, 0, 3), "y": Y.astype(np.float64)})
    assert opened(tmp_path / "row.mat").load("train").labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert opened(write(tmp_path / "digits.mat", labels=Y - 1)).load("train").labels.tolist() == [*range(10)]


@pytest.mark.parametrize(
    "arrays", [{"a": [1]}, {"X": X, "y": Y}, {"X": X[0], "y": Y}, {"X": X, "y": "text"}, {"X": {"a": X}, "y": Y}, {}]
)
def test_n23_other_arrays_are_refused(arrays: dict[str, object], tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", arrays)
    with pytest.raises(DataError, match=r"is not like SVHN's files.*\nIt has: |images, but 10 labels"):
        opened(tmp_path / "a.mat").load("train")


def test_n23_labels_that_are_not_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels must be whole numbers or names, found float64"):
        opened(write(tmp_path / "train_32x32.mat", labels=Y + 0.5))


def test_n23_hdf5_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n"
    )
    with pytest.raises(DataError, match=r"MATLAB's format 7\.3.*\n.*-v7"):
        opened(tmp_path)


@pytest.mark.parametrize("do_compression", [False, True])
def test_d04_files_that_are_damaged(do_compression: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "train_32x32.mat", do_compression=do_compression)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 20, 40).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"damaged|not a MATLAB file|is not like SVHN's"):
            opened(tmp_path).load("train")
    for position in [*range(116, 260), *np.linspace(260, len(whole) - 1, 60).astype(int)]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert len(opened(tmp_path).load("train")) == 10
        except DataError:
            continue


def test_n67_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_32x32.mat")
    with pytest.raises(DataError, match="not a regular file"):
        opened(tmp_path)
