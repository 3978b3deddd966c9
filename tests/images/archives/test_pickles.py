from __future__ import annotations

import hashlib
import pickle
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarlab.errors import DataError
from cifarlab.images.archives.pickles import read_pickle

NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()


def read(content: bytes, max_operations: int = 10_000):
    return read_pickle(content, "batch", max_operations)


def test_the_published_meta_file_is_read(pickle2) -> None:
    content = pickle2({b"num_cases_per_batch": 10000, b"label_names": NAMES, b"num_vis": 3072})
    # The MD5 that torchvision records for batches.meta: these are the published bytes.
    assert hashlib.md5(content).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"
    assert read(content) == {b"num_cases_per_batch": 10000, b"label_names": NAMES, b"num_vis": 3072}


def test_agrees_with_the_standard_library(pickle2) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 12), np.uint8)
    value = {
        b"data": pixels,
        b"labels": [*range(300), 70_000, -5],
        b"filenames": [b"%d.png" % i for i in range(300)],
    }
    content = pickle2(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2 has another name for numpy.core
        reference = pickle.loads(content, encoding="bytes")  # our own bytes, from a few lines above
    found = read(content)
    assert np.array_equal(found.pop(b"data"), reference.pop(b"data"))
    assert found == reference


def test_column_major_arrays_are_read(pickle2) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = pickle2({b"data": pixels}).replace(b"\x89U", b"\x88U")
    assert np.array_equal(read(content)[b"data"], pixels.ravel().reshape((2, 3), order="F"))


PIXELS = np.random.default_rng(2).integers(0, 256, (5, 3072), np.uint8)
PYTHON3 = {
    "bytes and a list": {b"data": PIXELS, b"labels": [0, 300, 70_000, -5, 2**40], b"batch_label": b"x"},
    "text and numbers of numpy": {
        "data": PIXELS,
        "labels": list(np.arange(5)),
        "filenames": ["a", "\u00e9"],
        "n": None,
    },
    "labels in an array": {
        "data": np.asfortranarray(PIXELS),
        "labels": np.arange(5),
        "fine": np.arange(5, dtype=">i2"),
    },
    "nothing but names": {"label_names": ["cat", "caf\u00e9"], "num_vis": 3072, "is_small": True, "pair": (1, 2)},
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", PYTHON3)
def test_n23_what_python_3_writes(name: str, protocol: int) -> None:
    value = PYTHON3[name]
    for content in {
        pickle.dumps(value, protocol),
        pickle.dumps(value, protocol).replace(b"cnumpy._core.", b"cnumpy.core."),  # as numpy 1 wrote it
    }:
        found = read(content)
        assert found.keys() == {key if isinstance(key, bytes) else key.encode() for key in value}
        for key, expected in value.items():
            result = found[key if isinstance(key, bytes) else key.encode()]
            if isinstance(expected, np.ndarray):
                assert np.array_equal(result, expected) and result.dtype == expected.dtype
            else:
                assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize("value", [np.arange(3.0), np.array(["a"]), np.array([None]), np.float64(1.5), {1, 2}, 2**70])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_n23_what_is_not_read_is_said_with_a_way_out(value: object, protocol: int) -> None:
    with pytest.raises(DataError, match=r"not an official CIFAR file: .*\n.*numpy\.savez"):
        read(pickle.dumps({"data": value}, protocol))


def gadgets(canary: Path) -> dict[str, bytes]:
    command = f"touch {canary}".encode()
    shell = b"(X" + struct.pack("<I", len(command)) + command + b"tR."
    text = b"(U" + bytes([len(command)]) + command + b"tR."
    python = f"open({str(canary)!r}, 'w')".encode()
    call = b"(U" + bytes([len(python)]) + python + b"tR."
    return {
        "os.system": b"\x80\x02cos\nsystem\n" + shell,
        "os.system with a short string": b"\x80\x02cos\nsystem\n" + text,
        "posix.system": b"\x80\x02cposix\nsystem\n" + text,
        "eval": b"\x80\x02c__builtin__\neval\n" + call,
        "exec": b"\x80\x02cbuiltins\nexec\n" + call,
        "getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\nU\x06systemtR.",
        "nested load": b"\x80\x02ctorch.storage\n_load_from_bytes\n" + text,
        "runstring": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + text,
        "dotted name": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + shell,
        "extension": b"\x80\x02\x82\x01.",
        "INST": b"(U" + bytes([len(command)]) + command + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\nU" + bytes([len(command)]) + command + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n)\x81.",
        "persistent id": b"\x80\x02U\x01aQ.",
        "call of an allowed name": b"\x80\x02cnumpy\nndarray\n" + text,
        "dtype of objects": b"\x80\x02cnumpy\ndtype\n(U\x02O8K\x00K\x01tR.",
        "state for a list": b"\x80\x02](U\x01atb.",
        "very long number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
        "decimal number": b"I" + b"9" * 100_000 + b"\n.",
        "dotted name in protocol 4": b"\x80\x04\x8c\x05numpy\x8c\x13testing.os.system\x93" + text,
        "codec other than latin1": b"\x80\x02c_codecs\nencode\n(X\x01\0\0\0aX\x05\0\0\0idna\0tR.",
        "encode of a list": b"\x80\x02c_codecs\nencode\n(]X\x06\0\0\0latin1tR.",
        "name that is a list": b"\x80\x04]\x8c\x06system\x93.",
        "next buffer": b"\x80\x05\x97.",
        "extension in protocol 5": b"\x80\x05\x98.",
        "huge string": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"a.",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.",
        "negative size": b"\x80\x02T" + struct.pack("<i", -1) + b"a.",
        "no dict": b"\x80\x02].",
        "key that is not a string": b"\x80\x02}(]K\x01u.",
        "odd number of items": b"\x80\x02}(U\x01au.",
        "stack underflow": b"\x80\x02\x87.",
        "below a mark": b"\x80\x02K\x01(\x85.",
        "no end": b"\x80\x02}",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", gadgets(Path("canary")))
def test_d08_nothing_is_run(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(DataError, match="not an official CIFAR file"):
        read(gadgets(canary)[name])
    assert not canary.exists()


def test_d08_the_gadgets_are_live(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    assert pickle.loads(gadgets(canary)["os.system"]) == 0  # else the test above would prove nothing
    assert canary.exists()


def test_d08_deep_nesting_is_limited() -> None:
    with pytest.raises(DataError, match="more than 10,000 operations"):
        read(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")
    with pytest.raises(DataError, match="holds a tuple"):
        read(b"\x80\x02)" + b"\x85" * 9_000 + b".")


def test_d09_memory_does_not_follow_the_file() -> None:
    memo = b"".join(b"r" + struct.pack("<I", number * 1000) for number in range(200_000))
    bombs = [b"\x80\x02]" + memo + b".", b"\x80\x02" + b"]" * 2_000_000, b"\x80\x02" + b"K\x01" * 1_000_000]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(DataError, match="operations"):
            read(bomb)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 5_000_000


def test_d09_one_text_encoded_again_and_again() -> None:
    text = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000 + b"q\0"
    encode = b"c_codecs\nencode\nh\0X\x06\0\0\0latin1\x86R"
    with pytest.raises(DataError, match="more bytes than it has"):
        read(b"\x80\x02" + text + encode * 50 + b".")


def test_deep_nesting_in_a_name() -> None:
    with pytest.raises(DataError, match="something other than text"):
        read(b"\x80\x04" + b"]" * 4000 + b"a" * 3999 + b"\x8c\x01a\x93.")


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_a_data_error_or_plain_data(changes: list[tuple[int, int]]) -> None:
    content = bytearray(VALID)
    for position, value in changes:
        content[position % len(content)] = value
    try:
        result = read(bytes(content))
    except DataError:
        return
    assert all(isinstance(key, bytes) for key in result)


VALID = (
    b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01K\x02eU\x04dataq\x04"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85q\x07U\x01bq\x08\x87q\tRq\n"
    b"(K\x01K\x01K\x02\x86q\x0bcnumpy\ndtype\nq\x0cU\x02u1q\rK\x00K\x01\x87q\x0eRq\x0f"
    b"(K\x03U\x01|q\x10NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x11b\x89U\x02abq\x12tq\x13bu."
)


def test_the_undamaged_file_is_read() -> None:
    result = read(VALID)
    assert result[b"labels"] == [1, 2]
    assert result[b"data"].tolist() == [[97, 98]]


def test_a_value_from_before_a_mark_is_not_taken() -> None:
    """K 1 puts 1 on the stack, ( a mark; \\x85 makes a tuple of one value, of which there is none since the mark."""
    with pytest.raises(DataError, match="the stack is empty"):
        read(b"\x80\x02K\x01(\x85.")


def test_only_arrays_of_whole_numbers_are_called() -> None:
    """numpy.dtype, called for floats: c is a global, ( a mark, t the tuple since it, R the call."""
    with pytest.raises(DataError, match="a call of something other than"):
        read(b"\x80\x02cnumpy\ndtype\n(X\x02\x00\x00\x00f8K\x00K\x01tR.")
