"""Read arrays in MATLAB's files of version 5, which MATLAB itself calls versions 6 and 7.

The format: MathWorks, MAT-File Format. After a header of 128 bytes come elements, each with a type, a size and content.
A matrix consists of elements again (flags, dimensions, name, values), and may be compressed as a whole by zlib.
scipy.io.loadmat knows far more of the format, but crashes the process when some files are damaged.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import printable
from cifarlab.errors import DataError
from cifarlab.images.tables.arrays import Stored, read_exactly
from cifarlab.images.tables.damage import damage_errors, require_file
from cifarlab.language import tr

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
"""Types of the elements at the top level of a file."""
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of the elements in a matrix, in numpy's notation; those that are left out hold text or nested elements."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Classes of matrices that hold numbers, in numpy's notation. The class is the type that MATLAB shows, and need not be
that of the element: whole numbers of class double are stored in as few bytes as they need."""
LOGICAL, COMPLEX = 0x200, 0x800
"""Flags of a matrix, in the byte above its class."""
SMALL_BYTES = 4096
"""More bytes than any name or list of dimensions has."""

_HDF5 = b"MATLAB 7.3 MAT-file"  # an HDF5 file behind a header of the old kind
_ERRORS = (OSError, zlib.error, struct.error)


def mat_arrays(path: Path) -> dict[str, Stored]:
    """Find the arrays of numbers in a file, by name; raises DataError for a file that is not MATLAB's."""
    require_file(path)
    found, start = {}, HEADER_BYTES
    with damage_errors(path, *_ERRORS), path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if header.startswith(_HDF5):
            message = tr("{path} has MATLAB's format 7.3, which is not read.\nSave it with the option -v7.")
            raise DataError(message.format(path=path))
        # The letters MI as a 16-bit number, in the byte order of the machine that wrote them.
        orders = {b"IM": "<", b"MI": ">"}
        if (mark := header[126:128]) not in orders:
            raise DataError(tr("{path} is not a MATLAB file of version 5.", path=path))
        order = orders[mark]
        while tag := file.read(8):
            # Headers only: a matrix is unpacked as far as its name, and its values are skipped.
            matrix = _Matrix(file, order, start, path)
            if matrix.holds_numbers:
                found[matrix.name] = matrix.stored()
            start += 8 + struct.unpack(f"{order}2I", tag)[1]  # at the top level the size includes all padding
            file.seek(start)
    return found


class _Matrix:
    """The matrix at byte `start` of a file. What precedes its values is read at once, the values by `values`."""

    def __init__(self, file: IO[bytes], order: str, start: int, path: Path) -> None:
        self.stream, self.order, self.start, self.path = file, order, start, path
        file.seek(start)
        kind, size = struct.unpack(f"{order}2I", self.take(8))
        if kind == COMPRESSED:
            # Unpacked as a stream, so that a damaged or hostile element never unpacks to more than is asked for.
            self.stream = io.BufferedReader(_Unpacked(file, size))
            kind, size = struct.unpack(f"{order}2I", self.take(8))
        if kind != MATRIX:
            message = tr("{path} is not a MATLAB file, or damaged: it has an element of the type {kind}.")
            raise DataError(message.format(path=path, kind=kind))
        flags, dimensions, name = self.small(6), self.small(5), self.small(1)  # always in this order and of these types
        flag: int = struct.unpack(f"{order}I", flags[:4])[0]
        self.holds_numbers = flag & 0xFF in CLASSES and not flag & COMPLEX  # not cells, structures, text
        self.dtype = np.dtype(bool if flag & LOGICAL else CLASSES.get(flag & 0xFF, "V"))
        self.shape: tuple[int, ...] = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
        if len(self.shape) < 2 or min(self.shape) < 0:
            message = tr("{path} is damaged: one of its arrays has the shape {shape}.")
            raise DataError(message.format(path=path, shape=self.shape))
        self.name = name.decode("latin-1")

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes of the stream."""
        content = self.stream.read(size)
        if len(content) < size:
            raise DataError(tr("{path} is damaged: it ends within an element.", path=self.path))
        return content

    def tag(self) -> tuple[int, int, bytes | None]:
        """Read the type and the size of the next element, and its content if that is part of the tag."""
        tag = self.take(8)
        kind, size = struct.unpack(f"{self.order}2I", tag)
        # Content of up to 4 bytes takes the place of the size, which then moves into the upper half of the type. Types
        # are below 2^16, so anything there means a small element.
        if small := kind >> 16:
            return kind & 0xFFFF, small, tag[4 : 4 + small]
        return kind, size, None

    def small(self, wanted: int) -> bytes:
        """Read the next element, which must have the type `wanted`."""
        kind, size, content = self.tag()
        if kind != wanted or size > SMALL_BYTES:
            message = tr("{path} is damaged: a matrix has an element of the type {kind}, {size} bytes.")
            raise DataError(message.format(path=self.path, kind=kind, size=size))
        return self.take(size + -size % 8)[:size] if content is None else content  # padded to 8 bytes

    def values(self) -> NDArray[Any]:
        """Read the values, in the shape and the type of the matrix."""
        kind, size, content = self.tag()
        dtype = np.dtype(self.order + TYPES.get(kind, "V"))
        if kind not in TYPES or size != math.prod(self.shape) * dtype.itemsize:
            message = tr("{path} is damaged: {size} bytes of the type {kind} for values of {shape}.")
            raise DataError(message.format(path=self.path, kind=kind, size=size, shape=self.shape))
        if content is None:
            values = read_exactly(self.stream, size, str(self.path), self.path).view(dtype)
        else:
            values = np.frombuffer(content, dtype)
        return values.reshape(self.shape, order="F").astype(self.dtype, copy=False)  # MATLAB stores by columns

    def stored(self) -> Stored:
        """Describe the matrix as an array that is read later."""
        # Opened again by path, so that a data set that was only looked at keeps no file open.
        path, order, start = self.path, self.order, self.start

        def read() -> NDArray[Any]:
            with damage_errors(path, *_ERRORS), path.open("rb") as file:
                return _Matrix(file, order, start, path).values()

        return Stored(f"{path}: {printable(self.name)}", self.shape, self.dtype, read)


class _Unpacked(io.RawIOBase):
    """The content of a compressed element as a stream, for BufferedReader to read from."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.left, self.unpacker = file, size, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        content = b""
        # decompress may return nothing while it still has input to digest, and an empty read would mean the end.
        while not content and not self.unpacker.eof:
            packed = self.unpacker.unconsumed_tail or self.file.read(min(2**16, self.left))
            self.left -= 0 if self.unpacker.unconsumed_tail else len(packed)
            content = self.unpacker.decompress(packed, len(buffer))  # the rest waits in unconsumed_tail
            if not packed:
                break
        buffer[: len(content)] = content
        return len(content)
