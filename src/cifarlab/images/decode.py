"""Any encoded picture -> uint8 RGB pixels, by one rule for folders, CSV files and prediction.

Which format it is, the bytes decide, never the file name. The rule stands in RULE.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cifarlab.errors import DataError

RULE = (
    "First frame; turned as its EXIF orientation says; 16-bit grey scaled by 255/65535 and rounded; "
    "alpha laid over white; grey, palette, CMYK and YCCK converted to RGB without colour profiles; then the "
    "largest centred part with the wanted shape, resized by an antialiased bicubic filter. Where a JPEG is "
    "more than twice as large as wanted, it is first decoded at a half, quarter or eighth of its size."
)
"""Stored in every data card; pixels decoded by another rule are another data set."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 16_000_000
"""More is refused before decoding: a small file can claim to be a huge image (a decompression bomb)."""

_PILLOW_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow is known to raise for files that are cut short or damaged."""

# Pillow warns of large or odd files while it reads their header. Our errors say what is wrong with them; and
# hiding a warning changes a setting of the whole process, so one thread at a time does it.
_header_lock = threading.Lock()


@dataclass(frozen=True)
class Decoded:
    """Pixels, uint8 (3, H, W), and what they were stored as: Pillow's name of the mode, height and width."""

    pixels: NDArray[np.uint8]
    mode: str
    stored_size: tuple[int, int]


def decode(content: bytes, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decode one picture to uint8 (3, H, W), with (H, W) = `size`, or as it is stored for None.

    Raises DataError, with the reason as a phrase that can follow a file name, for what is no picture of
    FORMATS, is cut short or damaged, or has more than MAX_PIXELS pixels.
    """
    return decode_with_origin(content, size).pixels


def decode_with_origin(content: bytes, size: tuple[int, int] | None) -> Decoded:
    """Decode like `decode`, and say what the picture was stored as."""
    image = _open(content)
    try:
        mode, stored_size = image.mode, (image.height, image.width)
        if size is not None:
            # twice the goal leaves the filter enough to work on; a square goal holds before and after turning
            image.draft(None, (2 * max(size), 2 * max(size)))
        image.load()
        with _header_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright)
        if size is not None:
            rgb = _cover(rgb, size)
    except _PILLOW_ERRORS as error:
        raise DataError(f"damaged or cut short ({error})") from error
    return Decoded(np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1)), mode, stored_size)


def stored_size(content: bytes) -> tuple[int, int]:
    """Height and width of a picture from its header alone, before turning; raises DataError like `decode`."""
    image = _open(content)
    return image.height, image.width


def _open(content: bytes) -> Image.Image:
    """Read the header; the pixels stay encoded."""
    if not content:
        raise DataError("empty (0 bytes)")
    try:
        with _header_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise DataError("not a PNG, JPEG, WebP, BMP or GIF picture") from error
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(None)) from error
    except _PILLOW_ERRORS as error:
        raise DataError(f"damaged or cut short ({error})") from error
    num_pixels = image.width * image.height
    if num_pixels > MAX_PIXELS:
        raise DataError(_too_large(num_pixels))
    return image


def _too_large(num_pixels: int | None) -> str:
    found = "far" if num_pixels is None else f"{num_pixels / 1e6:.1f} megapixels,"
    return f"{found} more than the {MAX_PIXELS / 1e6:.0f} megapixels allowed"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # I;16, I;16B, and I: the 16-bit greys of PNG
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        image = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, transparent)
    return image if image.mode == "RGB" else image.convert("RGB")


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    if image.size == (width, height):
        return image
    scale = min(image.height / height, image.width / width)
    part_height, part_width = height * scale, width * scale
    # whole offsets, so that an image that only has to be cropped keeps its pixels
    top, left = int((image.height - part_height) / 2), int((image.width - part_width) / 2)
    box = (left, top, left + part_width, top + part_height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)
