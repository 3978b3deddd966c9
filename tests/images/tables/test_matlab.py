from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from cifarlab.images.tables.matlab import mat_arrays


@pytest.mark.parametrize("do_compression", [False, True])
def test_matlab_arrays_are_those_that_scipy_reads(do_compression: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    arrays = {
        "doubles": random.random((3, 4, 5)),
        "whole_doubles": np.array([[0.0, 1.0, 255.0]]),
        "singles": random.random((2, 7)).astype(np.float32),
        "a": np.array([[7]], np.uint8),
        "shorts": random.integers(-9, 9, (5, 1), np.int16),
        "longs": random.integers(0, 2**62, (2, 2)),
        "truth": np.array([[True, False]]),
        "empty": np.zeros((0, 3)),
        "many": random.integers(0, 256, (300, 301), np.uint8),
    }
    savemat(tmp_path / "a.mat", {**arrays, "text": "abc", "imaginary": np.array([1j])}, do_compression=do_compression)
    found = mat_arrays(tmp_path / "a.mat")
    assert found.keys() == arrays.keys(), "text and complex numbers are passed over"
    reference = loadmat(tmp_path / "a.mat")
    for name, stored in found.items():
        values = stored.read()
        assert np.array_equal(values, reference[name]) and values.dtype == stored.dtype == arrays[name].dtype
        assert values.shape == stored.shape


def test_matlab_of_the_other_byte_order(tmp_path: Path) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">2I", kind, len(content)) + content + bytes(-len(content) % 8)

    flags, values = struct.pack(">2I", 11, 0), np.array([[1, 2], [3, 4]], ">u2").tobytes(order="F")
    name = struct.pack(">2H", 1, 1) + b"a\0\0\0"
    content = element(6, flags) + element(5, struct.pack(">2i", 2, 2)) + name + element(4, values)
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\1\0MI" + element(14, content))
    assert mat_arrays(tmp_path / "a.mat")["a"].read().tolist() == [[1, 2], [3, 4]]
