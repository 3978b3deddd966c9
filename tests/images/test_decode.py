"""Pictures of every mode and orientation against formulas, and damaged ones."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from cifarlab.errors import DataError
from cifarlab.images import decode as decode_module
from cifarlab.images.decode import decode, decode_with_origin, fit_pixels, read_file, stored_size
from cifarlab.images.words import FORMATS, SUFFIXES, UNREAD

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
ALPHA[0, :2] = 0, 255


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def channels_first(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return array.transpose(2, 0, 1)


def over_white(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    weight = alpha[..., None] / 255
    return channels_first(colour * weight + 255 * (1 - weight))


def smooth(height: int, width: int) -> Image.Image:
    """A picture without sharp edges, which JPEG keeps well."""
    coarse = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_lossless_colours_are_exact(kind):
    content = encode(Image.fromarray(COLOUR), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(content, None), channels_first(COLOUR))
    assert decode(content, None).flags.c_contiguous


def test_d19_grey():
    assert np.array_equal(decode(encode(Image.fromarray(GREY)), None), np.stack([GREY] * 3))


def test_d19_black_and_white():
    bits = GREY > 127
    assert np.array_equal(decode(encode(Image.fromarray(bits)), None), np.stack([bits * np.uint8(255)] * 3))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_d19_alpha_is_laid_over_white(kind):
    image = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    content = encode(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.abs(decode(content, None) - over_white(COLOUR, ALPHA)).max() <= 1
    assert (decode(content, None)[:, 0, 0] == 255).all()


def test_d19_grey_with_alpha():
    content = encode(Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(ALPHA))))
    expected = over_white(np.dstack([GREY] * 3), ALPHA)
    assert np.abs(decode(content, None) - expected).max() <= 1


def test_d19_palette_and_its_transparency():
    indices = (GREY % 4).astype(np.uint8)
    palette = np.array([[10, 20, 30], [200, 100, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
    image = Image.frombytes("P", (5, 6), indices.tobytes())
    image.putpalette(palette.tobytes())
    assert np.array_equal(decode(encode(image), None), channels_first(palette[indices]))
    expected = palette.copy()
    expected[1] = 255
    for kind in ("PNG", "GIF"):
        content = encode(image, kind, transparency=1)
        assert np.array_equal(decode(content, None), channels_first(expected[indices])), kind


def test_d19_transparent_colour_of_rgb_and_grey():
    content = encode(Image.fromarray(COLOUR), transparency=tuple(map(int, COLOUR[2, 3])))
    expected = COLOUR.copy()
    expected[2, 3] = 255
    assert np.array_equal(decode(content, None), channels_first(expected))
    content = encode(Image.fromarray(GREY), transparency=int(GREY[0, 0]))
    assert np.array_equal(decode(content, None), np.stack([np.where(GREY[0, 0] == GREY, 255, GREY)] * 3))


def test_d19_sixteen_bits_are_scaled_and_rounded():
    deep = np.array([[0, 1, 128, 129, 257], [32767, 32768, 65278, 65406, 65535]], np.uint16)
    expected = np.rint(deep / 65535 * 255).astype(np.uint8)
    decoded = decode_with_origin(encode(Image.fromarray(deep)), None)
    assert decoded.mode.startswith("I")
    assert np.array_equal(decoded.pixels, np.stack([expected] * 3))


@pytest.mark.parametrize("cmyk", [(0, 0, 0, 0), (255, 0, 0, 0), (40, 90, 200, 30), (0, 0, 0, 255)])
def test_d19_cmyk(cmyk):
    content = encode(Image.new("CMYK", (16, 16), cmyk), "JPEG", quality=95)
    expected = [(255 - ink) * (255 - cmyk[3]) / 255 for ink in cmyk[:3]]
    decoded = decode_with_origin(content, (8, 8))
    assert decoded.mode == "CMYK"
    assert np.abs(decoded.pixels.mean(axis=(1, 2)) - expected).max() < 4


def test_d19_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode(content, None)[:, 0, 0].tolist() == [255, 0, 0], kind


# What has to be done to a stored array so that it is upright (Exif 2.3, section 4.6.4 A, tag 0x0112)
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(COLOUR), exif=exif)
    assert np.array_equal(decode(content, None), channels_first(UPRIGHT[orientation](COLOUR)))


def test_orientation_of_a_large_jpeg_survives_decoding_at_a_fraction():
    stored = smooth(600, 800)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encode(stored, "JPEG", quality=95, exif=exif), (32, 32))
    reference = decode(encode(Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(stored), -1)))), (32, 32))
    assert np.abs(turned.astype(int) - reference).mean() < 2


def test_a_jpeg_decoded_at_a_fraction_looks_like_one_decoded_whole():
    image = smooth(500, 700)
    fraction, whole = decode(encode(image, "JPEG", quality=95), (48, 48)), decode(encode(image), (48, 48))
    assert np.abs(fraction.astype(int) - whole).mean() < 1.5


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (8, 20, slice(0, 8), slice(6, 14)),
        (20, 8, slice(6, 14), slice(0, 8)),
        (8, 9, slice(0, 8), slice(0, 8)),
    ],
)
def test_the_centre_is_kept_pixel_for_pixel(height, width, rows, columns):
    array = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(decode(encode(Image.fromarray(array)), (8, 8)), channels_first(array[rows, columns]))


def test_shrinking_is_antialiased():
    board = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    assert np.abs(decode(encode(Image.fromarray(board.astype(np.uint8))), (8, 8)).astype(int) - 127).max() <= 2


WIDE = np.zeros((10, 30, 3), np.uint8)
WIDE[:, :5], WIDE[:, 25:] = [255, 0, 0], [0, 0, 255]


def test_n13_pad_shows_the_whole_between_black_bars():
    found = decode(encode(Image.fromarray(WIDE)), (30, 30), "pad")
    expected = np.zeros((30, 30, 3), np.uint8)
    expected[10:20] = WIDE
    assert np.array_equal(found, channels_first(expected))
    tall = decode(encode(Image.fromarray(WIDE.transpose(1, 0, 2))), (30, 30), "pad")
    assert np.array_equal(tall, found.transpose(0, 2, 1))
    assert decode(encode(Image.new("RGB", (2000, 1), "white")), (8, 8), "pad").max(axis=(0, 2)).tolist() == [
        *[0, 0, 0, 255, 0, 0, 0, 0]
    ]


def test_n13_stretch_shows_the_whole():
    found = decode(encode(Image.fromarray(WIDE)), (10, 10), "stretch")
    exact = np.asarray(Image.fromarray(WIDE).resize((10, 10), Image.Resampling.BICUBIC))
    assert np.array_equal(found, channels_first(exact))
    assert found[0, 5, 0] > 200 and found[2, 5, -1] > 200


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_n13_pixels_are_fitted_like_pictures(fit):
    for size in ((10, 10), (10, 30), (7, 12), (40, 40)):
        assert np.array_equal(
            fit_pixels(channels_first(WIDE), size, fit), decode(encode(Image.fromarray(WIDE)), size, fit)
        )


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 24))
@settings(max_examples=60, deadline=None)
def test_n13_a_square_image_is_the_same_however_it_is_fitted(fit, height, width, side):
    array = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    found = fit_pixels(array, (side, side), fit)
    assert found.shape == (3, side, side) and found.dtype == np.uint8
    if height == width:
        assert np.array_equal(found, fit_pixels(array, (side, side), "crop"))


def test_a_shape_that_is_not_square():
    assert decode(encode(smooth(50, 50)), (20, 30)).shape == (3, 20, 30)


LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "PPM": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "JPEG2000": {},
    "QOI": {},
    "PCX": {},
    "TGA": {},
}


@pytest.mark.parametrize("kind", sorted(FORMATS.keys() - {"JPEG", "GIF"}))
def test_n04_every_format_keeps_its_pixels(kind):
    found = decode(encode(Image.fromarray(COLOUR), kind, **LOSSLESS[kind]), None)
    assert np.abs(found.astype(int) - channels_first(COLOUR)).max() <= (2 if kind == "AVIF" else 0)  # YUV rounds


@pytest.mark.parametrize("kind", ["ICO", "SGI", "DIB", "ICNS", "PDF", "EPS"])
def test_n04_other_formats_are_not_read(kind):
    with pytest.raises(DataError, match="not an image in a format that is read"):
        decode(encode(smooth(64, 64), kind), None)


def test_n04_bytes_without_a_format():
    for content in (b"<html>not found</html>", bytes(100), b"\xff" * 100, b"a"):
        with pytest.raises(DataError, match="not an image in a format that is read"):
            decode(content, None)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_n04_heic_is_named_whatever_the_file_is_called(brand):
    with pytest.raises(
        DataError, match=r"^HEIC \(iPhone\) is not read; convert to .* \(heif-convert of libheif does\)$"
    ):
        decode(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(50), None)


def test_n04_a_format_that_this_build_of_pillow_lacks(monkeypatch):
    readers = [(name, reader, lambda start: "not installed") for name, reader, _ in decode_module._readers()]
    monkeypatch.setattr(decode_module, "_readers", lambda: readers)
    with pytest.raises(DataError, match="PNG, which this build of Pillow cannot read"):
        decode(encode(smooth(8, 8)), None)


def test_n04_pages_of_a_tiff():
    pages = [Image.new("RGB", (5, 6), colour) for colour in ("red", "lime")]
    content = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode(content, None)[:, 0, 0].tolist() == [255, 0, 0]
    with pytest.raises(DataError, match="first page is only a preview"):
        decode(encode(pages[0], "TIFF", tiffinfo={254: 1}), None)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_n04_modes_of_tiff(mode):
    colour = (201, 40, 90)
    image = Image.new("RGB", (6, 6), colour)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    else:
        image = image.convert(mode)
    expected = {"L": [94] * 3, "LA": [94] * 3, "P": [204, 51, 102]}.get(mode, colour)
    found = decode(encode(image, "TIFF"), None)
    if mode == "1":
        assert set(found.ravel().tolist()) <= {0, 255}
    else:
        assert np.abs(found[:, 2, 2].astype(int) - expected).max() <= 4


def test_n04_fractions():
    values = np.array([[0.0, 0.25, 0.5], [0.75, 1.0, 0.1]], np.float32)
    for kind in ("TIFF", "PPM"):
        decoded = decode_with_origin(encode(Image.fromarray(values), kind), None)
        assert (decoded.mode, decoded.brightest) == ("F", None)
        assert np.array_equal(decoded.pixels, np.stack([np.rint(values * 255)] * 3))
    for wrong in (-0.5, 1.5, float("nan"), float("inf")):
        values[0, 0] = wrong
        with pytest.raises(DataError, match="fractions from"):
            decode(encode(Image.fromarray(values), "TIFF"), None)


def tiff(values: NDArray[np.generic], sample_format: int, photometric: int = 1) -> bytes:
    """A little-endian TIFF of one strip of greys, by hand: Pillow writes fewer kinds than it reads."""
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, values.itemsize * 8), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def test_n15_greys_beyond_16_bits_are_refused_not_cut():
    assert decode(tiff(np.array([[0, 65535]], np.int32), 2), None)[0].tolist() == [[0, 255]]
    for wrong in (np.array([[-1000, 3000]], np.int16), np.array([[0, 70_000]], np.int32)):
        with pytest.raises(DataError, match=f"values from {wrong.min()} to {wrong.max()}"):
            decode(tiff(wrong, 2), None)


def test_n15_a_tiff_in_which_0_is_white():
    deep = np.array([[0, 257, 65535]], np.uint16)
    assert decode(tiff(deep, 1, photometric=0), None)[0].tolist() == [[255, 254, 0]]
    assert decode(tiff(deep, 1, photometric=1), None)[0].tolist() == [[0, 1, 255]]


def test_n15_the_white_level_of_12_bits():
    deep = np.array([[0, 16, 2048, 4095, 5000]], np.uint16)
    expected = np.rint(np.minimum(deep, 4095) / 4095 * 255).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        decoded = decode_with_origin(encode(Image.fromarray(deep), kind), None, white_level=4095)
        assert np.array_equal(decoded.pixels, np.stack([expected] * 3))
        assert decoded.brightest == 5000
    assert decode_with_origin(encode(Image.fromarray(GREY)), None, white_level=4095).brightest is None


def test_n15_colours_of_16_bits_keep_their_upper_8():
    body = struct.pack(">6H", 0x0FFF, 0x0100, 0, 0x0002, 0x0200, 0x00FF)
    content = png(b"", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"\0" + body)
    decoded = decode_with_origin(content, None)
    assert decoded.pixels[:, 0].T.tolist() == [[15, 1, 0], [0, 2, 0]]
    assert decoded.brightest == 4095


def test_n04_endings_of_what_is_read_and_of_what_is_not():
    assert {".tif", ".ppm", ".avif", ".jfif", ".jp2"} <= SUFFIXES and not SUFFIXES & UNREAD.keys()
    assert {".heic", ".nef", ".dng", ".psd"} <= UNREAD.keys()
    assert all(ending == ending.lower() and ending[0] == "." for ending in [*SUFFIXES, *UNREAD])


def test_n27_only_regular_files_of_a_possible_size_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "long.png").write_bytes(bytes(101))
    monkeypatch.setattr(decode_module, "MAX_BYTES", 100)
    for name, reason in (
        ("pipe.png", "not a regular file"),
        ("", "not a regular file"),
        ("long.png", "more than the 0 MB allowed"),
        ("none.png", "no such file"),
        ("a\0b.png", "null"),
        ("n" * 5000, "name too long"),
    ):
        with pytest.raises(DataError, match=reason):
            read_file(tmp_path / name)


def test_d18_empty():
    with pytest.raises(DataError, match="empty"):
        decode(b"", None)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(extra: bytes, header: bytes, pixels: bytes, last: bytes = b"") -> bytes:
    data = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels)) + last + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings almost no pixels."""
    return png(b"", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"\0" * 100)


@pytest.mark.parametrize("size", [(2**14, 2**13 + 1), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_n21_a_decompression_bomb_is_refused_by_its_header(size):
    with pytest.raises(DataError, match=f"{size[0]:,} x {size[1]:,} pixels: at most 134 megapixels"):
        decode(png_header(*size), (32, 32))


def test_n21_the_limit_itself_is_allowed(monkeypatch):
    assert stored_size(png_header(2**14, 2**13)) == (2**13, 2**14)
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 24 * 31)
    assert decode(SAMPLES["PNG"], (16, 16)).shape == (3, 16, 16)
    with pytest.raises(DataError, match="megapixels"):
        decode(encode(smooth(25, 31)), (16, 16))


def test_n21_a_large_jpeg_is_decoded_at_a_fraction(monkeypatch):
    """The limits are lowered: they hold for the pixels that are in memory, and Pillow's own has no say."""
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 200 * 150)
    monkeypatch.setattr(decode_module, "MAX_JPEG_PIXELS", 1000 * 600)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photograph = smooth(600, 800)
    found = decode(encode(photograph, "JPEG", quality=95), (32, 32))
    assert (
        np.abs(
            found.astype(int) - channels_first(np.asarray(photograph.resize((32, 32), box=(100, 0, 700, 600))))
        ).mean()
        < 2
    )
    for content, size in (
        (encode(photograph, "JPEG"), None),
        (encode(photograph), (32, 32)),
        (encode(smooth(601, 1000), "JPEG"), (32, 32)),
    ):
        with pytest.raises(DataError, match=r"pixels: at most . megapixels are decoded"):
            decode(content, size)


def test_n21_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(decode_module, "_LARGE", 100)
    with ThreadPoolExecutor(4) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        results = list(pool.map(lambda _: decode(SAMPLES["PNG"], (16, 16)), range(50)))
    assert all(np.array_equal(result, results[0]) for result in results)


LONG_TEXTS = {
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2_000_000)),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * 2_000_000)),
    "iCCP": chunk(b"iCCP", b"Profile\0\0" + zlib.compress(b"a" * 2_000_000)),
    "many": chunk(b"tEXt", b"Comment\0" + b"a" * 1_000_000) * 70,
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("text", LONG_TEXTS)
def test_n21_a_png_with_long_texts(text, where):
    extra = LONG_TEXTS[text]
    plain = encode(Image.fromarray(COLOUR))
    end = -12 if where == "after" else 33
    if (text, where) == ("iCCP", "after"):
        return  # a profile stands before the pixels
    content = plain[:end] + extra + plain[end:]
    assert np.array_equal(decode(content, None), channels_first(COLOUR))
    assert stored_size(content) == (6, 5)
    with pytest.raises(DataError, match="damaged or cut short"):
        decode(content[: len(content) - len(extra) - 30 if where == "before" else 60], None)


def test_n21_an_orientation_in_a_text_is_heeded():
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = b"\nexif\n" + f"{len(exif.tobytes()):8}\n{exif.tobytes().hex()}\n".encode()
    plain = encode(Image.fromarray(COLOUR))
    content = plain[:33] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)) + plain[33:]
    assert np.array_equal(decode(content, None), channels_first(np.rot90(COLOUR, -1)))


SAMPLES = {
    "PNG": encode(smooth(24, 31)),
    "JPEG": encode(smooth(24, 31), "JPEG"),
    "WEBP": encode(smooth(24, 31), "WEBP"),
    "BMP": encode(smooth(24, 31), "BMP"),
    "GIF": encode(smooth(24, 31), "GIF"),
    "TIFF": encode(smooth(24, 31), "TIFF", compression="tiff_lzw"),
    "PPM": encode(smooth(24, 31), "PPM"),
    "AVIF": encode(smooth(24, 31), "AVIF"),
    "JPEG2000": encode(smooth(24, 31), "JPEG2000"),
    "QOI": encode(smooth(24, 31), "QOI"),
    "PCX": encode(smooth(24, 31), "PCX"),
    "TGA": encode(smooth(24, 31), "TGA", compression="tga_rle"),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_d18_cut_short(kind):
    content = SAMPLES[kind]
    for length in range(1, len(content) * 9 // 10, max(1, len(content) // 60)):
        with pytest.raises(DataError):
            decode(content[:length], (16, 16))


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_d18_damage_is_a_data_error_or_a_picture(kind, changes):
    content = bytearray(SAMPLES[kind])
    for place, value in changes:
        content[place % min(len(content), 400)] = value
    try:
        pixels = decode(bytes(content), (16, 16))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert pixels.shape == (3, 16, 16) and pixels.dtype == np.uint8


def test_decoding_in_threads_leaves_the_warning_filters_alone():
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: decode(SAMPLES["JPEG"], (16, 16)), range(200)))
    assert warnings.filters == before
    assert all(np.array_equal(result, results[0]) for result in results)
