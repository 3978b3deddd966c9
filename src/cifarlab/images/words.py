"""Usual names of splits, and suffixes of picture files: one table of each, for every source and for prediction."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from cifarlab.language import translatable
from cifarlab.recipe.section import SPLITS, Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",  # MNIST as PNG has training/ and testing/, Fruits-360 Training/ and Test/
    "val": "val",
    "valid": "val",  # as YOLO's exports call it
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "test": "test",
    "testing": "test",
}
"""Usual names of splits, in lower case -> the split."""

_BESIDE_SPLITS = frozenset(
    {"set", "sets", "data", "dataset", "datasets", "split", "splits", "seg", "image", "images", "img", "imgs"}
    | {"pic", "pics", "picture", "pictures", "photo", "photos", "file", "files", "folder", "dir"}
)
"""Words that may stand beside the name of a split without changing its meaning: train_data, test-images, ValSplit.

"seg" is one of them because Intel's Image Classification has seg_train and seg_test.
"""
# capitals before a capitalised word, a word, a number (apart, because of COCO's train2017), letters without a case
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
# written as one lower-case word: trainset, testimages; "trainer" and "contest" do not match
_GLUED = re.compile(f"({'|'.join(SPLIT_NAMES)})(set|data|images|imgs)")

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # MPO: what stereo cameras write; the first JPEG is read
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),  # the UC Merced land use images are .tif
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "QOI": (".qoi",),
    "PCX": (".pcx",),
    "TGA": (".tga",),  # last, because it has no signature: it is tried on what nothing else claims
}
"""Image formats that are read, by Pillow's names -> the suffixes of their files.

Left out of what Pillow can open: EPS and WMF (drawings, which Ghostscript or Windows would have to execute), ICO, ICNS
and CUR (several images in one file, which can be far larger than the header says), FITS, HDF5, GRIB and BUFR (arrays
without a rule for black and white), PSD (layers), MPEG and FLI (films), and formats that are out of use (SGI, SUN, IM,
BLP, ...): each of them is one more parser for hostile files to aim at.
"""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Suffixes of files that are taken for pictures, in lower case; which format they hold is decided by their bytes."""

# A class of HEIC files would otherwise vanish silently, so these are named together with what converts them.
_HEIC = translatable("HEIC (iPhone) is not read; convert to PNG or JPEG (heif-convert of libheif does)")
_RAW = translatable("camera raw is not read; convert to PNG or JPEG (darktable-cli does)")
_NOT_READ = {
    _HEIC: ".heic .heif .hif .heics",
    translatable("JPEG XL is not read; convert to PNG or JPEG (djxl of libjxl does)"): ".jxl",
    _RAW: ".dng .cr2 .cr3 .crw .nef .nrw .arw .raf .orf .rw2 .pef .srw .raw",
    translatable("Photoshop is not read; convert to PNG or JPEG"): ".psd .psb",
    translatable("icon is not read; convert to PNG or JPEG"): ".ico .icns .cur",
    translatable("drawing is not read; convert to PNG or JPEG"): ".svg .svgz .eps .ps .wmf .emf .ai",
    translatable("DICOM is not read; convert to PNG or JPEG"): ".dcm .dicom",
    translatable("NIfTI is not read; convert to PNG or JPEG"): ".nii",
    translatable("OpenEXR is not read; convert to PNG or JPEG"): ".exr",
    translatable("Radiance is not read; convert to PNG or JPEG"): ".hdr",
    translatable("FITS is not read; convert to PNG or JPEG"): ".fits .fit .fts",
    translatable("SGI is not read; convert to PNG or JPEG"): ".sgi .rgb .rgba .bw",
    translatable("Sun raster is not read; convert to PNG or JPEG"): ".ras",
}
UNREAD = {suffix: reason for reason, suffixes in _NOT_READ.items() for suffix in suffixes.split()}
"""Suffixes of picture files in formats that are not read -> why they are left out, and what to do; to be translated."""

SYSTEM_NAMES = frozenset(
    # Synology keeps thumbnails of all pictures in @eaDir; the others are bins and snapshots of Synology and QNAP
    {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp"}
    # what fsck found, the bins of Windows, its restore points, what chkdsk found
    | {"lost+found", "$recycle.bin", "recycler", "system volume information", "found.000"}
    # thumbnails and settings of the Windows Explorer; resource forks in zip files from macOS; macOS's network volumes
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "network trash folder", "temporary items"}
    | {"__pycache__", "node_modules"}
)
"""Names of files and folders that systems and programs create, in lower case; pictures in them are not the user's."""


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in lower case and with its dot; empty where there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""  # ".png" alone is a hidden file without a suffix


def composed(name: str) -> str:
    """A name in the one of its Unicode forms in which keyboards and spreadsheets write it (NFC).

    macOS's HFS+ stores "é" as two characters (NFD), and so do archives and copies that were made there.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_picture(name: str) -> bool:
    """Whether a file is taken for a picture, by its suffix."""
    return suffix_of(name) in SUFFIXES


def natural_order(path: str) -> tuple[tuple[str | int, ...], ...]:
    """A key that sorts paths as people do: by folder, and "2.png" before "10.png"."""
    key = []
    for name in path.split("/"):
        pieces: list[str | int] = []
        for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name):
            # a longer number is a larger one; int() would refuse one of more than 4,300 digits
            pieces += [text.casefold(), len(digits.lstrip("0")), digits.lstrip("0")]
        key.append((*pieces, name))  # the name decides between 1.png, 01.png and 1.PNG
    return tuple(key)


@lru_cache(maxsize=1024)  # lists ask for the same few words in every row
def split_of(name: str) -> Split | None:
    """The split that a folder, file or cell of this name stands for; None when it does not name one.

    Case, numbers and words such as "set" or "images" change nothing: "Training", "train_data", "seg_train", "testset",
    "train2017". Any other word does: "train_station", "train_val".
    """
    words = [word.lower() for word in words_in(name)]
    telling = [word for word in words if word not in _BESIDE_SPLITS and not word.isdecimal()]
    if len(telling) != 1:  # train_station is a class, and train_val is two splits in one
        return None
    glued = _GLUED.fullmatch(telling[0])
    return SPLIT_NAMES.get(glued[1] if glued else telling[0])


def words_in(name: str) -> list[str]:
    """The words of a name in any of the usual spellings: "train_images", "trainImages", "X-train"."""
    return _WORD.findall(name)


SplitRule = Callable[[str], Split | None]
"""Name of a folder, file or cell -> its split: `split_of`, or a rule with names that the user gave."""


def split_rule(named: Mapping[str, str]) -> SplitRule:
    """`split_of` with the names that a user gave for splits, as in {"train": "learn", "val": ""}.

    A split that the user named has no other name; one that is named "" is not wanted.
    """
    given = {name.casefold(): split for split in SPLITS if (name := named.get(split))}

    def split(name: str) -> Split | None:
        usual = split_of(name)
        # with train=learn, a folder train/ beside learn/ is no longer the train split
        return given.get(name.casefold(), None if usual in named else usual)

    return split


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
    """A name without what a reader does not see; it may also be what a file system that ignores case makes of it."""
    # NFKC: macOS's HFS+ stores "é" as two characters, and a full-width letter looks like a plain one. Twice, because
    # the first can bring spaces in ("¨" is a space and an accent), and folding or leaving characters out can undo it.
    folded = unicodedata.normalize("NFKC", name).casefold()
    # Cf: zero-width spaces and joiners, which come with text that is copied from web pages
    visible = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) != "Cf")
    seen = unicodedata.normalize("NFKC", visible)
    seen = seen.rstrip(".") or seen  # Windows drops dots at the end
    if number := _NUMBER.fullmatch(seen):
        sign, whole, fraction = number.groups()
        return f"{sign}{whole}.{fraction or ''}"  # pandas writes integer labels as 1.0 where a value is missing
    return seen
