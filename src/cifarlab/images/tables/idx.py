"""Read IDX, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST: a file of images and one of labels for each split.

The format is described at the end of http://yann.lecun.com/exdb/mnist/: two zero bytes, the type, the number of
dimensions, the size of each as a big-endian 32-bit number, and the values, big-endian too.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.source import NO_IMAGES, NO_SPLIT, Source
from cifarlab.images.tables.arrays import Part, Stored, array_source, read_values, to_labels
from cifarlab.images.tables.damage import damage_errors, require_file
from cifarlab.images.tables.labels import none
from cifarlab.images.words import split_of
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec

FILE_NAME = re.compile(r"(?:(?P<set>.+?)[-_])?(?P<split>[^-_]+)[-_](?P<role>images|labels)[-.]idx\d-\w+?(?:\.gz)?")
"""train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-idx3-ubyte: set, split and role."""
TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # the format has no 10
RULE = translatable("The names of the files say which are images, which labels, and of which split; t10k is test.")


Files = dict[tuple[str, str], Path]
"""The word for the split and the role ("images" or "labels") -> file."""


def open_idx(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open the data set that an IDX file belongs to: files beside it hold the labels and the other splits."""
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise DataError(
            tr(
                "The name of {path} does not say what it holds.\nIDX files are called "
                "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and so on.",
                path=path,
            )
        )
    return _source(path, _sets([path.parent])[path.parent, match["set"] or ""], spec)


def recognise_idx(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder with IDX files, or the folder above it, as a source; return None for any other.

    Raises AmbiguousDataError when it holds several data sets.
    """
    subfolders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    sets = _sets([path, *subfolders, *(folder / "raw" for folder in subfolders)])  # torchvision keeps them in MNIST/raw
    if len(sets) > 1:
        shown = [str(next(iter(files.values()))) for files in sets.values()]
        raise AmbiguousDataError(
            tr(
                "{path} holds {n} data sets in IDX.\nGive the path of one, by any of its files: {files}.",
                path=path,
                n=len(sets),
                files=some(shown, 20),
            )
        )
    return _source(path, next(iter(sets.values())), spec) if sets else None


def _sets(folders: Iterable[Path]) -> dict[tuple[Path, str], Files]:
    """Find the data sets in some folders. Several in one folder differ by how their names begin, as EMNIST's do."""
    sets: dict[tuple[Path, str], Files] = defaultdict(dict)
    for folder in folders:
        # Sorted, so that setdefault keeps a file rather than the same file in .gz, which follows it. Browsers and old
        # downloaders unpack: MNIST is found as -idx3-ubyte, .idx3-ubyte and -idx3-ubyte.gz.
        for file in sorted(folder.glob("*[-.]idx*")):
            if (match := FILE_NAME.fullmatch(file.name)) and not file.is_dir():
                sets[folder, match["set"] or ""].setdefault((match["split"], match["role"]), file)
    return dict(sets)


def _source(path: Path, files: Files, spec: DataSpec) -> Source:
    parts: dict[str, Part] = {}
    left_out: dict[str, list[str]] = defaultdict(list)
    for (word, role), file in files.items():
        split = "test" if word == "t10k" else split_of(word)  # MNIST's ten thousand test images
        if split is None:
            left_out[NO_SPLIT].append(file.name)
        elif role == "labels" and (word, "images") not in files:
            left_out[NO_IMAGES].append(file.name)
        elif role == "images":
            images = idx_array(file)
            found = files.get((word, "labels"))
            labels = to_labels(idx_array(found)) if found else none(images.origin, images.num_rows)
            parts[split] = Part([images], labels)
    if not parts:
        shown = some([file.name for file in files.values()])
        raise DataError(tr("{path} has labels in IDX, but no images: {files}.", path=path, files=shown))
    return array_source(path, "idx", RULE, parts, left_out, spec)


def idx_array(path: Path) -> Stored:
    """Describe the array in an IDX file, gzipped or not; raises DataError for a file that is not one."""
    with _opened(path) as stream:
        shape, dtype = _header(stream, path)

    def read() -> NDArray[Any]:
        with _opened(path) as stream:
            # The header again: the stream has to get past it, and the file may have changed since.
            shape, dtype = _header(stream, path)
            values = read_values(stream, math.prod(shape) * dtype.itemsize, str(path), path)
            return values.view(dtype).reshape(shape)

    return Stored(str(path), shape, dtype, read)


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    start = stream.read(4)
    # Four dimensions are enough for colour images; a header that claims 255 is a file of another kind.
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not 1 <= start[3] <= 4:
        found = start.hex(" ") or tr("nothing")
        raise DataError(tr("{path} is not an IDX file: it begins with {found}.", path=path, found=found))
    sizes = stream.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(tr("{path} is cut off in its header.", path=path))
    return struct.unpack(f">{start[3]}I", sizes), np.dtype(TYPES[start[2]])


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    require_file(path)
    # gzip raises all three: bad magic bytes, a file cut off, and damaged contents.
    with damage_errors(path, OSError, EOFError, zlib.error), path.open("rb") as file:
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
