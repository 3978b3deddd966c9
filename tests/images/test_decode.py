"""Pictures of every mode and orientation against formulas, and damaged ones."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images.decode import MAX_PIXELS, decode, decode_with_origin, stored_size

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


def test_a_shape_that_is_not_square():
    assert decode(encode(smooth(50, 50)), (20, 30)).shape == (3, 20, 30)


def test_only_the_five_formats_are_read():
    for kind in ("TIFF", "PPM", "ICO", "TGA"):
        with pytest.raises(DataError, match="not a PNG, JPEG, WebP, BMP or GIF"):
            decode(encode(smooth(16, 16), kind), None)
    with pytest.raises(DataError, match="not a PNG"):
        decode(b"<html>not found</html>", None)


def test_d18_empty():
    with pytest.raises(DataError, match="empty"):
        decode(b"", None)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings almost no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(4001, 4000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_by_its_header(size):
    with pytest.raises(DataError, match="more than the 16 megapixels allowed"):
        decode(png_header(*size), (32, 32))


def test_the_limit_itself_is_allowed():
    width = MAX_PIXELS // 4000
    assert stored_size(png_header(width, 4000)) == (4000, width)


SAMPLES = {
    "PNG": encode(smooth(24, 31)),
    "JPEG": encode(smooth(24, 31), "JPEG"),
    "WEBP": encode(smooth(24, 31), "WEBP"),
    "BMP": encode(smooth(24, 31), "BMP"),
    "GIF": encode(smooth(24, 31), "GIF"),
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
