from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import AmbiguousDataError, DataError, MachineError
from cifarlab.images.sources import data_spec
from cifarlab.images.tables.arrays import Part, Stored, array_source, read_values, size_of, to_labels, to_pixels
from cifarlab.images.tables.labels import numbers

SPEC = data_spec("")
random = np.random.default_rng(0)


def stored(array: np.ndarray) -> Stored:
    return Stored("a.npz: x", array.shape, array.dtype, lambda: array)


def pixels(array: np.ndarray, **options) -> np.ndarray:
    out = np.empty((len(array), 3, *size_of(stored(array))), np.uint8)
    to_pixels(stored(array), data_spec("", **options), out)
    return out


def colours(*shape: int) -> np.ndarray:
    return random.integers(0, 256, shape, np.uint8)


def test_n23_channels_come_last_or_first_or_there_is_one() -> None:
    last = colours(5, 28, 30, 3)
    assert np.array_equal(pixels(last), last.transpose(0, 3, 1, 2))
    assert np.array_equal(pixels(last.transpose(0, 3, 1, 2)), last.transpose(0, 3, 1, 2))
    grey = colours(5, 28, 30)
    for array in (grey, grey[:, None], grey[..., None]):
        found = pixels(array)
        assert found.shape == (5, 3, 28, 30) and size_of(stored(array)) == (28, 30)
        assert all(np.array_equal(found[:, channel], grey) for channel in range(3))


@pytest.mark.parametrize("shape", [(), (5,), (5, 3072), (5, 28, 28, 4), (5, 28, 28, 28), (5, 3, 28, 28, 1), (5, 0, 28)])
def test_n23_shapes_that_are_not_those_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"has the shape \(.*\)\. Images have the shape \(N, H, W\)"):
        size_of(stored(np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("shape", [(5, 3, 32, 3), (5, 1, 32, 1), (5, 3, 3, 3)])
def test_n23_channels_that_could_be_first_or_last(shape: tuple[int, ...]) -> None:
    with pytest.raises(AmbiguousDataError, match="channels could come first or last"):
        size_of(stored(np.zeros(shape, np.uint8)))


def test_n23_values_that_mean_a_brightness() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for array in (
        levels,
        levels / 255,
        (levels / 255).astype(np.float32),
        (levels / 255).astype(np.float16),
        (levels / 255).astype(">f4"),
        levels.astype(np.uint16) * 257,
        (levels.astype(np.uint16) * 257).astype(">u2"),
    ):
        assert np.array_equal(pixels(array)[0, 0], levels[0]), array.dtype
    assert np.array_equal(pixels(levels > 99)[0, 0], np.where(levels[0] > 99, 255, 0))


def test_n15_greys_of_twelve_bits_have_a_white_level() -> None:
    twelve = np.array([[[0, 16, 2048, 4095, 5000]]], np.uint16)
    assert pixels(twelve, white_level=4095)[0, 0].tolist() == [[0, 1, 128, 255, 255]]
    assert pixels(twelve)[0, 0].tolist() == [[0, 0, 8, 16, 19]]


def test_n15_nearly_black_images_of_sixteen_bits_are_said() -> None:
    twelve = random.integers(4000, 4096, (2, 32, 32)).astype(np.uint16)
    (warning,) = source(train=(twelve, [0, 1])).load("train").warnings
    assert "nearly black" in warning and "If they hold 12 bits, set data.white_level = 4095." in warning
    assert source(data_spec("", white_level=4095), train=(twelve, [0, 1])).load("train").warnings == ()
    (warning,) = source(data_spec("", white_level=2047), train=(twelve, [0, 1])).load("train").warnings
    assert "above data.white_level = 2,047: white, too" in warning


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([0.0, 255.0], np.float32), "float32 from 0 to 255"),
        (np.array([-1.0, 1.0]), "float64 from -1 to 1"),
        (np.array([0.0, np.nan]), "float64 from nan to nan"),
        (np.array([0, 255]), "int64 from 0 to 255"),
        (np.array([-128, 127], np.int8), "int8 from -128 to 127"),
    ],
)
def test_n23_values_that_could_mean_anything(values: np.ndarray, found: str) -> None:
    with pytest.raises(DataError, match=rf"holds {found}.*\n.*images\.astype\(np\.uint8\)"):
        pixels(np.broadcast_to(values, (3, 28, 2)))


def test_many_images_are_converted_in_blocks() -> None:
    many = random.random((4099, 8, 8), np.float32)
    assert np.array_equal(pixels(many)[:, 1], np.rint(many.astype(np.float64) * 255))


@pytest.mark.parametrize(
    ("array", "names", "codes"),
    [
        (np.array([2, 0, 2]), ("0", "2"), [1, 0, 1]),
        (np.array([[2], [0]], np.uint8), ("0", "2"), [1, 0]),
        (np.array([2.0, 0.0]), ("0", "2"), [1, 0]),
        (np.array([True, False]), ("0", "1"), [1, 0]),
        (np.array(["b", "a"]), ("a", "b"), [1, 0]),
        (np.array([b"b", b"a"]), ("a", "b"), [1, 0]),
        (np.array([[0, 1, 0], [1, 0, 0]]), ("0", "1"), [1, 0]),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), ("0", "1"), [1, 0]),
        (np.array([np.nan, -1]), (), [-1, -1]),
        (np.array([], np.float64), (), []),
    ],
)
def test_n23_labels(array: np.ndarray, names: tuple[str, ...], codes: list[int]) -> None:
    found = to_labels(stored(array))
    assert (found.names, found.codes.tolist()) == (names, codes)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, 1, 0], [0, 1, 0]]), "not one-hot: several labels for an image"),
        (np.array([[0, 2], [1, 0]]), "not one-hot"),
        (np.zeros((4, 0)), "not one-hot"),
        (np.zeros((4, 2, 2)), r"must have the shape \(N,\) or \(N, 1\)"),
        (np.array(3), r"must have the shape \(N,\)"),
        (np.array([0.5, 1.0]), "whole numbers or names, found float64"),
        (np.array([np.inf, 1.0]), "whole numbers or names"),
        (np.array([1e300, 1.0]), "whole numbers or names"),
        (np.array([2**64 - 1, 1], np.uint64), "whole numbers or names"),
        (np.array([-3, 1]), "row 0 has the label -3"),
        (np.array([b"\xff", b"a"]), "not UTF-8"),
    ],
)
def test_n23_labels_that_are_not(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_labels(stored(array))


def source(spec=SPEC, **splits: tuple[np.ndarray, list[int]]):
    parts = {
        split: Part([stored(array)], numbers(split, np.array(values, np.int64)))
        for split, (array, values) in splits.items()
    }
    return array_source(Path("a.npz"), "npz", "A rule.", parts, {"other": ["z"]}, spec)


def test_n23_a_source_of_arrays() -> None:
    train, test = colours(3, 32, 32, 3), colours(2, 32, 32, 3)
    found = source(test=(test, [7, 5]), train=(train, [5, 7, 7]))
    assert found.splits == ("train", "test") and found.understanding.numbered
    assert found.understanding.counts == {"train": {"5": 1, "7": 2}, "test": {"5": 1, "7": 1}}
    images = found.load("test")
    assert np.array_equal(images.pixels, test.transpose(0, 3, 1, 2)) and images.labels.tolist() == [1, 0]
    assert images.note == "from a.npz, stored as uint8 (2, 32, 32, 3)"
    assert images.pixels.flags.writeable


def test_n18_a_split_without_labels_is_left_out() -> None:
    found = source(train=(colours(2, 32, 32), [0, 1]), test=(colours(2, 32, 32), [-1, -1]))
    assert found.splits == ("train",)
    assert found.understanding.left_out == {"other": ["z"], "without labels": ["test"]}


def test_d15_labels_and_images_of_different_number() -> None:
    with pytest.raises(DataError, match="holds 3 images, but 2 labels"):
        source(train=(colours(3, 32, 32), [0, 1]))


def test_n13_arrays_follow_the_rule_for_pictures() -> None:
    """Usual square sizes stay; others are fitted, in every split to the side that train decides."""
    square, wide = (colours(2, 40, 40, 3), [0, 1]), (colours(2, 32, 48, 3), [0, 1])
    assert source(train=square).load("train").size == (40, 40)
    assert source(data_spec("", image_size=64), train=square).load("train").size == (40, 40)
    for fit in ("crop", "pad", "stretch"):
        found = source(data_spec("", fit=fit), train=wide, test=square)
        assert found.load("train").size == found.load("test").size == (32, 32)
    cropped = source(train=wide).load("train").pixels
    assert np.array_equal(cropped, wide[0].transpose(0, 3, 1, 2)[:, :, :, 8:40]), "cropping alone keeps pixels"
    assert source(train=wide).load("train").warnings[0].startswith("Cropping to the centre cuts 33% off")
    assert source(data_spec("", fit="pad"), train=wide).load("train").warnings == ()
    assert source(train=(colours(2, 96, 96), [0, 1])).load("train").size == (64, 64)
    assert source(data_spec("", image_size=48), train=(colours(2, 96, 96), [0, 1])).load("train").size == (48, 48)
    assert source(train=(colours(2, 8, 8), [0, 1])).load("train").size == (32, 32)


def test_d12_memory_is_asked_for_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"abc")

    def read(num_bytes: int) -> np.ndarray:
        return read_values(io.BytesIO(b"abc"), num_bytes, "x", file)

    assert read(3).tobytes() == b"abc"
    with pytest.raises(DataError, match=r"its header says 1,000 bytes of values, and it has 3"):
        read(1000)
    with pytest.raises(DataError, match="says 2 bytes of values, and it has more"):
        read(2)
    with pytest.raises(DataError, match="says 1,000,000 bytes of values, which do not fit into 3"):
        read(1_000_000)
    with file.open("r+b") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(MachineError, match=r"x needs 1,099\.5 GB of memory; this machine has"):
        read(2**40)
