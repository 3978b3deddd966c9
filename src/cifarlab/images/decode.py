"""Any encoded picture -> uint8 RGB pixels, by one rule for every source of pictures and for prediction.

The format is decided by the bytes, never by the file's name. RULE states the rule.
"""

from __future__ import annotations

import io
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from cifarlab.errors import DataError, cause
from cifarlab.images.words import FORMATS, UNREAD
from cifarlab.language import translatable
from cifarlab.recipe.schema import WHITE_LEVEL, Fit

RULE = (
    "First frame or page; turned as its EXIF orientation says; greys of more than 8 bits scaled so that the white "
    "level becomes 255, and rounded; fractions from 0 to 1 multiplied by 255; of colours with 16 bits the upper 8; "
    "alpha laid over white; grey, palette, CMYK, YCbCr and Lab converted to RGB without colour profiles; then the "
    "largest centred part with the wanted shape (crop), the whole with black bars (pad), or the whole distorted "
    "(stretch), resized by an antialiased bicubic filter. Where a JPEG is more than twice as large as wanted, it is "
    "first decoded at a half, quarter or eighth of its size."
)
"""Pixels decoded by another rule are another data set: the cache of decoded images is keyed by this text."""

MAX_PIXELS = 2**27
"""Pixels of an image in memory: 512 MiB at the 4 bytes that Pillow takes for each.

A PNG of 17 KB can claim 144 megapixels (a decompression bomb), so this is checked before anything is decoded.
"""
MAX_JPEG_PIXELS = 2**28
"""Pixels of a JPEG that is decoded at a fraction: a progressive one is first held as coefficients of 2 bytes each."""
MAX_BYTES = 2**29
"""Bytes of an encoded image: MAX_PIXELS of RGB without compression take 400 MB."""

_LARGE = 2**24
"""Pixels; larger images are decoded one at a time, to bound the memory of all threads together."""

# Pillow's plugins check little: found by flipping and cutting bytes of every format
_PILLOW_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError),
    *(RuntimeError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow is known to raise for files that are cut short or damaged."""

# The reasons of errors are stored with the decoded images, so they are English: see `retold`.
_UNKNOWN = translatable("not an image in a format that is read (PNG, JPEG, TIFF, WebP, ...)")
_OF_SYSTEM = (translatable("no such file or directory"), translatable("permission denied"))
"""What the system most often says of a file that it does not read, for the catalogues."""
# the brand in the "ftyp" box, which AVIF and MP4 have too; it recognises a HEIC file that was only renamed to .jpg
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

_PHOTOMETRIC, _SUBFILE = 262, 254
"""Tags of TIFF: whether 0 is black or white, and whether a page is only a preview of another."""

_one_at_a_time = threading.RLock()  # reentrant: a large TIFF holds it while it is decoded and while it is turned

T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """Pixels, uint8 (3, H, W), and how they were stored.

    mode: Pillow's name of the mode. stored_size: height and width. brightest: the highest value if values have more
    than 8 bits (for colours, the highest that their upper 8 bits leave possible), else None.
    """

    pixels: NDArray[np.uint8]
    mode: str
    stored_size: tuple[int, int]
    brightest: int | None


def decode(
    content: bytes, size: tuple[int, int] | None, fit: Fit = "crop", white_level: int = WHITE_LEVEL
) -> NDArray[np.uint8]:
    """Decode one picture to uint8 (3, H, W), with (H, W) = `size`, or its stored size for None.

    Raises DataError, with the reason as a phrase that can follow a file name, for bytes that are not a picture in one
    of FORMATS, are cut short or damaged, or would need too much memory. The reason is to be `retold`.
    """
    return decode_with_origin(content, size, fit, white_level).pixels


def decode_with_origin(
    content: bytes, size: tuple[int, int] | None, fit: Fit = "crop", white_level: int = WHITE_LEVEL
) -> Decoded:
    """Decode like `decode`, and say how the picture was stored."""
    return _despite_long_text(content, lambda content: _decode(content, size, fit, white_level))


def stored_size(content: bytes) -> tuple[int, int]:
    """Height and width of a picture from its header alone, as stored: before turning by EXIF. Raises like `decode`."""
    image = _despite_long_text(content, _open)
    return image.height, image.width


def convert(image: Image.Image, size: tuple[int, int] | None, fit: Fit, white_level: int) -> Decoded:
    """Bring an image of Pillow's to pixels by the rule for encoded ones; raises DataError when it cannot be loaded."""
    with _pillow_errors():
        image.load()
        upright, brightest = image, None
        with _without_warnings():
            # cameras store what the sensor saw and how they were held; Pillow leaves turning to its user
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                upright = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":
            inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
            upright, brightest = _grey(upright, white_level, inverted=inverted)
        if upright.has_transparency_data:
            # convert("RGB") would drop alpha and show what is hidden below it: often black, or noise
            transparent = upright if upright.mode == "RGBA" else upright.convert("RGBA")
            upright = Image.new("RGB", upright.size, "white")
            upright.paste(transparent, mask=transparent.getchannel("A"))
        # without colour profiles, as torchvision's ImageFolder does: accuracies are compared on such pixels
        rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
        if size is not None:
            rgb = _fitted(rgb, size, fit)
    return Decoded(_channels_first(rgb), image.mode, (image.height, image.width), brightest)


def read_file(path: Path) -> bytes:
    """Read an encoded picture; raises DataError, with the reason as a phrase, if it cannot or should not be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait forever, /dev/zero would never end
            raise DataError(translatable("not a regular file"))
        if status.st_size > MAX_BYTES:
            text = translatable("{size:,.0f} MB, more than the {most:.0f} MB allowed")
            raise DataError(text.format(size=status.st_size / 1e6, most=MAX_BYTES / 1e6))
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise DataError(cause(error).lower()) from error


def fit_pixels(pixels: NDArray[np.uint8], size: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    """Bring one decoded image, uint8 (3, H, W), to another size by the rule for encoded ones."""
    if pixels.shape[1:] == size:
        return pixels
    return _channels_first(_fitted(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), size, fit))


def _decode(content: bytes, size: tuple[int, int] | None, fit: Fit, white_level: int) -> Decoded:
    image = _open(content)
    stored_size = image.height, image.width
    with _pillow_errors():
        if size is not None:
            # twice the goal leaves the filter enough to work on; a square goal holds before and after turning
            image.draft(None, (2 * max(size), 2 * max(size)))
        _check_memory(image, stored_size)
        # only TIFF and large images warn while they are loaded, so only these have to wait for each other
        noisy = image.format == "TIFF" or image.width * image.height > _LARGE
        with _without_warnings() if noisy else nullcontext():
            # Pillow reads colours of 16 bits as their upper 8 and says so in the raw mode alone ("RGB;16B"), which is
            # gone once the pixels are loaded. 12-bit colours become nearly black that way, and need a warning.
            deep = image.mode.startswith("RGB") and ";16" in str(image.tile[:1])
            decoded = convert(image, size, fit, white_level)
            brightest = 256 * int(np.asarray(image)[..., :3].max()) + 255 if deep else decoded.brightest
    # the size before JPEG's own shrinking, which changes image.size
    return replace(decoded, stored_size=stored_size, brightest=brightest)


def _open(content: bytes) -> ImageFile.ImageFile:
    """Read the header; the pixels stay encoded."""
    if not content:  # what an interrupted download leaves
        raise DataError(translatable("empty (0 bytes)"))
    name, reader = _reader(content)
    # a TGA has no signature, an AVIF one that it shares with HEIC: when they fail, the bytes may be something else
    with _pillow_errors(_unknown(content) if name in ("TGA", "AVIF") else None), _without_warnings():
        # not Image.open: it tries every plugin that any library has registered, and its limit of 89 megapixels is a
        # setting of the whole process that knows nothing of JPEGs that are decoded at a fraction
        image = reader(io.BytesIO(content), "")
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_SUBFILE, 0) & 1:
        raise DataError(translatable("its first page is only a preview, as in camera raw: convert to PNG or JPEG"))
    return image


_Accepts = Callable[[bytes], bool | str]
_Reader = Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]


def _reader(content: bytes) -> tuple[str, _Reader]:
    """The format that the first bytes belong to, and what opens it."""
    for name, reader, accepts in _readers():
        claim = True if accepts is None else accepts(content[:16])
        if isinstance(claim, str):  # Pillow's own words for a decoder that it was built without, such as AVIF's
            raise DataError(translatable("{format}, which this build of Pillow cannot read").format(format=name))
        if claim:
            return name, reader
    raise DataError(_unknown(content))


@cache
def _readers() -> list[tuple[str, _Reader, _Accepts | None]]:
    """The name of each of FORMATS, what opens it, and what recognises its first bytes (None: anything may be it)."""
    Image.init()  # Pillow knows a format once its plugin is loaded
    return [(name, *Image.OPEN[name]) for name in FORMATS]


def _unknown(content: bytes) -> str:
    """The reason for refusing bytes that no format claims, or only one without a proper signature."""
    return UNREAD[".heic"] if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS else _UNKNOWN


def _despite_long_text(content: bytes, work: Callable[[bytes], T]) -> T:
    """Do `work`; if it fails for a PNG, do it again without the PNG's texts and profiles.

    Pillow refuses those of more than 1 MiB to guard against bombs (MAX_TEXT_CHUNK, a setting of the whole process), but
    the pixels need none of them. They are kept at first because they can hold an orientation.
    """
    try:
        return work(content)
    except DataError:
        plain = _without_text(content)
        if plain == content:
            raise
        return work(plain)


def _without_text(content: bytes) -> bytes:
    """A PNG without the chunks of text and colour profiles; anything else as it is."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    kept, start = [content[:8]], 8
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length  # with the length and kind before the data, and the checksum after it
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[start:end])
        start = end
    return b"".join([*kept, content[start:]])


def _check_memory(image: ImageFile.ImageFile, stored_size: tuple[int, int]) -> None:
    """Refuse an image by its header, once JPEG's own way of shrinking has been chosen."""
    height, width = stored_size
    num_pixels, limit = image.width * image.height, MAX_PIXELS
    if (image.height, image.width) != stored_size:  # a JPEG that `draft` lets shrink while it is decoded
        num_pixels, limit = max(num_pixels, height * width), MAX_JPEG_PIXELS
    if num_pixels > limit:
        text = translatable(
            "{width:,} x {height:,} pixels: at most {most:,.0f} megapixels are decoded, of a JPEG that is shrunk "
            "{of_jpeg:,.0f}"
        )
        raise DataError(text.format(width=width, height=height, most=limit / 1e6, of_jpeg=MAX_JPEG_PIXELS / 1e6))


@contextmanager
def _pillow_errors(message: str | None = None) -> Iterator[None]:
    """Turn what Pillow raises for a bad file into a DataError."""
    try:
        yield
    except _PILLOW_ERRORS as error:
        text = translatable("damaged or cut short ({error})").format(error=error)
        raise DataError(message or text) from error
    except MemoryError as error:  # also what some decoders say of lengths that make no sense
        raise DataError(translatable("damaged, or it needs more memory than there is")) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide Pillow's warnings about large and odd files; our errors say what is wrong with those that are not read."""
    # catch_warnings replaces filters of the whole process: two threads at once would restore each other's
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _grey(image: Image.Image, white_level: int, *, inverted: bool) -> tuple[Image.Image, int | None]:
    """Greys of more than 8 bits, as 8 bits; and the highest value of whole numbers.

    Pillow's own convert("L") clips everything above 255, which makes nearly all of a 16-bit X-ray white, and turns
    fractions into black. inverted: 0 is white, which Pillow respects up to 8 bits only.
    """
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        # heights or temperatures have no black and white to scale by
        if not (low >= 0 and high <= 1):  # NaN is neither
            text = translatable("fractions from {low:.4g} to {high:.4g}; read are 0 (black) to 1 (white)")
            raise DataError(text.format(low=low, high=high))
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)), None
    if low < 0 or high > WHITE_LEVEL:
        text = translatable("values from {low} to {high}; read are 0 to {white}, of which white_level is white")
        raise DataError(text.format(low=low, high=high, white=WHITE_LEVEL))
    levels = np.minimum(np.arange(WHITE_LEVEL + 1), white_level)
    if inverted:
        levels = white_level - levels
    # a table for all 65,536 values, in whole numbers: adding half of the divisor rounds to the nearest
    as_bytes = ((levels * 255 + white_level // 2) // white_level).astype(np.uint8)
    found = np.empty(values.shape, np.uint8)
    for start in range(0, values.size, 2**20):  # in parts: numpy makes an 8-byte index of each value that it looks up
        found.flat[start : start + 2**20] = as_bytes[values.flat[start : start + 2**20]]
    return Image.fromarray(found), int(high)


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Bring an RGB image to a height and width."""
    height, width = size
    if image.size == (width, height):  # untouched, so that CIFAR's own pixels stay the published ones
        return image
    # Pillow widens its filter where it shrinks, so that nothing aliases; torch's interpolate does so on request only
    if fit == "pad":
        scale = min(height / image.height, width / image.width)
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = Image.new("RGB", (width, height))
        canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    part_height, part_width = float(image.height), float(image.width)
    if fit == "crop":
        scale = min(image.height / height, image.width / width)
        part_height, part_width = height * scale, width * scale
    # whole offsets, so that an image that only has to be cropped keeps its pixels
    top, left = int((image.height - part_height) / 2), int((image.width - part_width) / 2)
    box = (left, top, left + part_width, top + part_height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # Pillow has (H, W, 3)
