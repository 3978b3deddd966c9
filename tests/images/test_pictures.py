"""Pictures of a split: in order, of one size, the bad ones named, what decoding loses said."""

from __future__ import annotations

import errno
import io
import shutil
import time
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import DataError, MachineError
from cifarlab.images import pictures as module
from cifarlab.images.decode import decode, read_file
from cifarlab.images.images import Images
from cifarlab.images.pictures import Pictures, load
from cifarlab.images.sources import data_spec
from cifarlab.recipe.schema import DataSpec

RNG = np.random.default_rng(3)


def png(height: int, width: int, top: int = 255) -> bytes:
    """Random colours, or 16-bit greys up to `top`."""
    if top > 255:
        array = RNG.integers(0, top, (height, width), endpoint=True).astype(np.uint16)
        array[0, 0] = top
    else:
        array = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else read_file(content)


def pictures(contents: Sequence[bytes | Path], state: str = "1") -> Pictures:
    return Pictures(
        source=Path("place"),
        split="train",
        names=[f"{number}.png" for number in range(len(contents))],
        labels=np.arange(len(contents)) % 2,
        class_names=("a", "b"),
        contents=lambda: (partial(read, content) for content in contents),
        sample=lambda: (partial(read, content) for content in contents),
        state=state,
    )


def spec(**options: object) -> DataSpec:
    return data_spec("place", **options)


def loaded(*contents: bytes | Path, **options: object) -> Images:
    return load(pictures(contents), spec(**options), None)


MANY = [png(20, 24) for _ in range(150)]
"""More than two runs of one thread."""


@pytest.mark.parametrize("cached", [True, False])
def test_pixels_are_in_order_and_found_again(tmp_path: Path, cached: bool, monkeypatch) -> None:
    expected = np.stack([decode(content, (16, 16)) for content in MANY])
    cache = tmp_path if cached else None
    images = load(pictures(MANY), spec(image_size=16), cache)
    assert np.array_equal(images.pixels, expected) and images.labels.tolist() == [0, 1] * 75
    assert images.names == tuple(f"{number}.png" for number in range(150))
    assert images.note == "from place, stored as 150 RGB, 24 x 20 px; decoded to RGB, 16 px"
    if cached:
        monkeypatch.setattr(module, "decode_with_origin", None)
        again = load(pictures(MANY), spec(image_size=16), cache)
        assert isinstance(again.pixels, np.memmap) and again.fingerprint == images.fingerprint


def test_other_labels_or_names_for_the_same_files_are_seen(tmp_path: Path) -> None:
    first = pictures(MANY[:4])
    for changed in (
        first,
        replace(first, labels=1 - first.labels),
        replace(first, class_names=("a", "c")),
        replace(first, names=["a", "b", "c", "d"]),
    ):
        images = load(changed, spec(), tmp_path)
        assert images.labels.tolist() == changed.labels.tolist()
        assert (images.class_names, images.names) == (changed.class_names, tuple(changed.names))


@pytest.mark.parametrize("cached", [True, False])
def test_pictures_that_cannot_be_read_are_named_or_left_out(tmp_path: Path, cached: bool) -> None:
    contents: list[bytes | Path] = list(MANY)
    contents[0], contents[70], contents[149] = b"", Path("missing.png"), MANY[149][:-30]
    cache = tmp_path if cached else None
    for _ in range(2):
        with pytest.raises(DataError, match=r"3 of 150 train pictures in place cannot be read:\n0\.png: empty \(0 byt"):
            load(pictures(contents), spec(image_size=16), cache)
        images = load(pictures(contents), spec(image_size=16, skip_bad=True), cache)
        good = [number for number in range(150) if number not in (0, 70, 149)]
        assert np.array_equal(images.pixels, np.stack([decode(MANY[number], (16, 16)) for number in good]))
        assert images.labels.tolist() == [number % 2 for number in good]
        assert images.names == tuple(f"{number}.png" for number in good)
        assert images.skipped[:2] == ("0.png: empty (0 bytes)", "70.png: no such file or directory")
    with pytest.raises(DataError, match="2 of 2 train pictures"):
        load(pictures([b"", b"x"], "2"), spec(skip_bad=True), cache)


@pytest.mark.parametrize(
    ("sizes", "wanted", "expected"),
    [
        ([(32, 32)] * 3, None, 32),
        ([(28, 28)] * 3, None, 28),
        ([(64, 64)] * 3, 48, 64),  # the network sees 48: the device resizes
        ([(8, 8)] * 3, None, 32),  # too small for most networks
        ([(8, 8)] * 3, 16, 16),
        ([(65, 65)] * 3, None, 64),
        ([(224, 224)] * 3, 96, 96),
        ([(30, 40)] * 3, None, 32),
        ([(30, 40)] * 3, 48, 48),
        ([(64, 20), (64, 64), (65, 65)], None, 32),
        ([(40, 40), (200, 300), (300, 200)], None, 64),
    ],
)
def test_n13_one_rule_for_the_size(sizes: list[tuple[int, int]], wanted: int | None, expected: int) -> None:
    images = loaded(*(png(*size) for size in sizes), image_size=wanted)
    assert images.size == (expected, expected)


def test_n13_small_squares_keep_their_pixels() -> None:
    content = png(40, 40)
    assert np.array_equal(loaded(content, content, image_size=32).pixels[1], decode(content, None))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_n13_what_is_not_square_is_fitted_as_wanted(fit: str) -> None:
    content = png(20, 60)
    images = loaded(content, fit=fit)
    assert np.array_equal(images.pixels[0], decode(content, (32, 32), fit))  # type: ignore[arg-type]
    said = (
        'Cropping to the centre cuts 67% off a typical image (most often 60 x 20 px): data.fit = "pad" or "stretch" '
        "(--fit) keeps the whole.",
    )
    assert images.warnings == (said if fit == "crop" else ())


@pytest.mark.parametrize(("sizes", "cut"), [([(30, 32)] * 3, None), ([(30, 34)] * 3, "12%"), ([(9, 90)], "90%")])
def test_n13_only_a_cut_of_more_than_a_tenth_is_said(sizes: list[tuple[int, int]], cut: str | None) -> None:
    squares = [(32, 32)] * (len(sizes) - 1)
    [said] = loaded(*(png(*size) for size in sizes + squares)).warnings or [None]
    assert said == cut or (cut is not None and f"cuts {cut} off" in said)


def test_n15_16_bit_greys_that_use_fewer_bits_are_said() -> None:
    contents = [png(32, 32, 4080), png(32, 32, 4000), png(32, 32)]
    images = loaded(*contents)
    assert images.warnings == (
        "The highest value in the grey images of 16 bits is 4,080 of 65,535: they are read as nearly black, with 16 "
        "levels left. If they hold 12 bits, set data.white_level = 4095.",
    )
    whole = loaded(*contents, white_level=4095)
    assert whole.warnings == () and whole.pixels[0].max() == 254
    assert loaded(*contents, white_level=4000).warnings == (
        "Values up to 4,080 are above data.white_level = 4,000: white, too.",
    )
    assert loaded(png(32, 32, 40_000)).warnings == ()


def test_n15_16_bit_colours_that_use_fewer_bits_are_said(monkeypatch) -> None:
    real = module.decode_with_origin

    def deep(*arguments):
        decoded = real(*arguments)
        return module.Decoded(decoded.pixels, "RGB", decoded.stored_size, 4095)

    monkeypatch.setattr(module, "decode_with_origin", deep)
    [said] = loaded(png(32, 32)).warnings
    assert "in the colour images of 16 bits is 4,095" in said and "convert them to 8 bits" in said


def test_whoever_stops_early_waits_for_few_pictures() -> None:
    begun = []

    def slow(content):
        begun.append(content)
        time.sleep(0.001)
        return "unreadable"

    runs = module._in_order(slow, [bytes] * 100_000)
    assert len(next(runs)) == module._RUN
    runs.close()
    assert len(begun) < 1000, "what was not begun is left alone"


def test_another_rule_is_another_data_set(tmp_path: Path, monkeypatch) -> None:
    load(pictures(MANY[:3]), spec(), tmp_path)
    monkeypatch.setattr(module, "RULE", "another")
    monkeypatch.setattr(module, "decode_with_origin", None)
    with pytest.raises(TypeError):
        load(pictures(MANY[:3]), spec(), tmp_path)


def test_d28_too_little_space_is_said_before_work_begins(tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(50_000))
    monkeypatch.setattr(module, "decode_with_origin", None)
    with pytest.raises(MachineError, match=r"need 0 MB in .*\nThere, 0 MB are free"):
        load(pictures(MANY), spec(image_size=16), tmp_path)


def test_d28_as_much_space_as_the_pixels_take_is_enough(tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(len(MANY) * 3 * 16**2))
    assert len(load(pictures(MANY), spec(image_size=16), tmp_path)) == len(MANY)


def test_d28_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    def full(rows):
        next(iter(rows))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Tally, "good_rows", lambda *arguments: (full([1]) for _ in range(3)))
        with pytest.raises(MachineError, match="No space left"):
            load(pictures(MANY), spec(image_size=16), tmp_path)
    assert [path.suffix for path in (tmp_path / "decoded").iterdir()] == [".lock"]
    assert len(load(pictures(MANY), spec(image_size=16), tmp_path)) == 150
