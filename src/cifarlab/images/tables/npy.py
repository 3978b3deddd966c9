"""Read arrays as numpy saves them, in a .npy file or in the zip archive of an .npz, and never unpickle.

np.load is not used, because it allocates what a header claims before it has read anything.
"""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.tables.arrays import Stored, read_values
from cifarlab.images.tables.damage import damage_errors, require_file
from cifarlab.language import tr

KINDS = "biufUS"
"""Kinds of dtypes that are read: truth values, numbers and text. The rest are not pixels or labels, or are pickled."""

# Version 3 differs in having names of fields in UTF-8, which arrays of pixels do not have.
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, LookupError, ArithmeticError, RecursionError, MemoryError),
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, lzma.LZMAError, TokenError),
)
"""What numpy and zipfile raise for headers and archives that are damaged, encrypted or packed in a rare way."""

Open = Callable[[], AbstractContextManager[IO[bytes]]]


def npy_array(path: Path) -> Stored:
    """Describe the array in a .npy file; raises DataError for a file that is not one."""
    require_file(path)
    return _stored(path, str(path), lambda: path.open("rb"))


def npz_arrays(path: Path) -> dict[str, Stored]:
    """Describe the arrays in an .npz file by name; raises DataError for a file that is not one."""
    with damage_errors(path, *DAMAGE), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if len(set(names)) < len(names):  # zip allows it, and readers differ in which of the two they take
        raise DataError(tr("{path} is damaged: one of its arrays comes twice.", path=path))
    return {
        name.removesuffix(".npy"): _stored(path, f"{path}: {printable(name.removesuffix('.npy'))}", _member(path, name))
        for name in names
        if name.endswith(".npy")
    }


def _member(path: Path, name: str) -> Open:
    # The archive is opened anew for each array, so that a data set that was only looked at keeps no file open.
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            yield stream

    return opened


def _stored(path: Path, origin: str, opened: Open) -> Stored:
    with damage_errors(origin, *DAMAGE), opened() as stream:
        shape, _, dtype = _header(stream, origin)

    def read() -> NDArray[Any]:
        with damage_errors(origin, *DAMAGE), opened() as stream:
            shape, fortran_order, dtype = _header(stream, origin)  # again, to get past it
            values = read_values(stream, math.prod(shape) * dtype.itemsize, origin, path).view(dtype)
            return values.reshape(shape, order="F" if fortran_order else "C")

    return Stored(origin, shape, dtype, read)


def _header(stream: IO[bytes], origin: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # numpy parses the header, a Python literal, with ast.literal_eval and a limit on its length: no code is run.
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise DataError(
            tr("{origin}: version {version} of numpy's format is not read.", origin=origin, version=version)
        )
    shape, fortran_order, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        message = tr("{origin} holds Python objects: they would have to be unpickled, which can run any program.")
        raise DataError(message.format(origin=origin))
    # A header may claim items of 0 bytes or negative lengths, whose product says nothing about the size of the file.
    if dtype.kind not in KINDS or dtype.itemsize == 0 or any(length < 0 for length in shape):
        message = tr("{origin} holds {kind} of the shape {shape}, which are neither images nor labels.")
        raise DataError(message.format(origin=origin, kind=dtype, shape=shape))
    return shape, fortran_order, dtype
