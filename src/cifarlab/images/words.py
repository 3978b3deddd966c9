"""What people call splits and picture files: one table of each, for folders, lists, tables, archives and prediction."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What people call a split -> what it is called here."""

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "QOI": (".qoi",),
    "PCX": (".pcx",),
    "TGA": (".tga",),  # last, because it has no signature: it is tried on what nothing else claims
}
"""Formats of images that are read, as Pillow calls them -> what their files are called.

Left out of what Pillow can open: EPS and WMF (drawings, which Ghostscript or Windows would have to execute), ICO, ICNS
and CUR (several images in one file, which can be far larger than the header says), FITS, HDF5, GRIB and BUFR (arrays
without a rule for black and white), PSD (layers), MPEG and FLI (films), and formats that are out of use (SGI, SUN, IM,
BLP, ...): each of them is one more parser for hostile files to aim at.
"""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Endings of files that are taken for pictures, in lower case; what they hold is decided by their bytes."""

_NOT_READ = {
    "HEIC (iPhone)": ".heic .heif .hif .heics",
    "JPEG XL": ".jxl",
    "camera raw": ".dng .cr2 .cr3 .crw .nef .nrw .arw .raf .orf .rw2 .pef .srw .raw",
    "Photoshop": ".psd .psb",
    "icon": ".ico .icns .cur",
    "drawing": ".svg .svgz .eps .ps .wmf .emf .ai",
    "DICOM": ".dcm .dicom",
    "NIfTI": ".nii",
    "OpenEXR": ".exr",
    "Radiance": ".hdr",
    "FITS": ".fits .fit .fts",
    "SGI": ".sgi .rgb .rgba .bw",
    "Sun raster": ".ras",
}
UNREAD = {
    suffix: f"{kind} is not read; convert to PNG or JPEG"
    for kind, suffixes in _NOT_READ.items()
    for suffix in suffixes.split()
}
"""Endings of files that hold pictures too, but not in one of FORMATS -> why they are left out, and what to do."""


def split_of(word: str) -> str | None:
    """The split that a folder, file or cell of this name stands for; None when it does not name one."""
    return SPLIT_NAMES.get(word.strip().lower())


_NUMBER = re.compile(r"(-?)0*([0-9]+)(?:\.([0-9]*?)0*)?")


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of different names that a reader would take for the same, each sorted.

    These differ in case, white space, invisible characters or Unicode form alone ("Cat" and "cat ", "é" as one
    character and as two), or are the same number ("1" and "1.0").
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[_as_seen(name)].add(name)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _as_seen(name: str) -> str:
    # The compatible form can bring spaces in ("¨" is a space and an accent); folding the case, and leaving characters
    # out, can undo it.
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) != "Cf")
    seen = unicodedata.normalize("NFKC", visible)
    if number := _NUMBER.fullmatch(seen):
        sign, whole, fraction = number.groups()
        return f"{sign}{whole}.{fraction or ''}"
    return seen
