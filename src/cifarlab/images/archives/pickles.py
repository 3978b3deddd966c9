"""Read pickled batches in CIFAR's format as data, with an interpreter that cannot run code.

A pickle is a program for a stack machine, which pickle.load runs: it can import and call anything. CIFAR's own were
written by Python 2 (protocol 2), and data sets that others make in its format come from Python 3 (protocols 2 to 5).
They need three dozen opcodes and a few names of numpy. Only those exist here, and an array is a view of the file's own
bytes. So the file cannot import or call anything, and memory grows with the number of operations, which is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError
from cifarlab.language import tr

PROTOCOLS = range(2, 6)
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
"""Types of arrays that are read: pixels and labels. Arrays of objects ("O") would hold pickles of their own."""


def read_pickle(content: bytes, origin: str, max_operations: int) -> dict[bytes, Any]:
    """Read a dict of numbers, strings, lists and arrays of whole numbers; `origin` names the file in errors.

    Strings are bytes where Python 2 wrote them and str where Python 3 did; keys are bytes in both cases. Raises
    DataError for anything that a batch does not contain.
    """
    try:
        result = _Machine(content).run(max_operations)
        if not isinstance(result, dict):
            raise ValueError(tr("it holds a {kind}, not a dict", kind=type(result).__name__))
    except (ValueError, IndexError, KeyError, TypeError) as error:
        # ValueError is ours and says what is wrong; the others are Python's, from operands of a wrong kind or number.
        ours = isinstance(error, ValueError)
        reason = str(error) if ours else tr("{error} while reading it", error=type(error).__name__)
        raise DataError(
            tr(
                "{origin} is not an official CIFAR file: {reason}.\n"
                "It was not run. Download the archive again, or save a data set of your own with numpy.savez.",
                origin=origin,
                reason=reason,
            )
        ) from error
    return {key: value.value if isinstance(value, _Array) else value for key, value in result.items()}


class _Name(Enum):
    """The functions and types that a batch may name. They stand for themselves: the real ones are never looked up."""

    RECONSTRUCT = "an array whose values follow"
    FROM_BUFFER = "an array"
    SCALAR = "a number as numpy has them"
    NDARRAY = "the type of arrays"
    DTYPE = "the type of values"
    ENCODE = "bytes, in protocol 2 of Python 3"


NAMES = {
    **dict.fromkeys(("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"), _Name.RECONSTRUCT),
    **dict.fromkeys(("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"), _Name.FROM_BUFFER),
    **dict.fromkeys(("numpy.core.multiarray scalar", "numpy._core.multiarray scalar"), _Name.SCALAR),
    "numpy ndarray": _Name.NDARRAY,
    "numpy dtype": _Name.DTYPE,
    "_codecs encode": _Name.ENCODE,
}
"""By module and name, before and since numpy 2."""


class _Type:
    """A dtype, made by REDUCE without its byte order, which BUILD adds."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def array(self, content: Any, shape: Any, order: str) -> NDArray[Any]:
        """Return the values as an array that is a view of `content`; raises ValueError when the shape does not fit."""
        return np.frombuffer(content, self.dtype).reshape(shape, order="F" if order == "F" else "C")


class _Array:
    """An array, made by REDUCE without its values, which BUILD adds."""

    value: NDArray[Any] | None = None


class _Machine:
    """The stack machine of the pickle format."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = memoryview(content), 0  # a view, because slices of bytes would be copies
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack where a list, dict or tuple of unknown length begins
        self.memo: dict[int, Any] = {}  # values that are referred to again
        self.num_encoded = 0  # bytes that ENCODE has made so far

    def run(self, max_operations: int) -> Any:
        """Execute the program up to STOP and return the value on top of the stack."""
        # The size of the file bounds too little: one byte, such as that of EMPTY_DICT, can make an object of 64.
        for _ in range(max_operations):
            code = bytes(self.take(1))
            if code == b".":
                return self.stack.pop()
            if code not in OPERATIONS:
                raise ValueError(tr("opcode {code!r} at byte {place}", code=code, place=self.position - 1))
            OPERATIONS[code](self)
        raise ValueError(tr("more than {n:,} operations", n=max_operations))

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes, without a copy."""
        end = self.position + size
        # A slice that ends beyond the content would be silently shorter, and a negative size would go back.
        if size < 0 or end > len(self.content):
            message = tr("{want:,} bytes wanted at byte {place:,} of {have:,}")
            raise ValueError(message.format(want=size, place=self.position, have=len(self.content)))
        self.position, start = end, self.position
        return self.content[start:end]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """Return the text up to the next line feed, which ends each name in GLOBAL, as everything in protocol 0."""
        # The longest name that is allowed is shorter than 64 bytes, so the search for the line feed need not go on.
        text = bytes(self.content[self.position : self.position + 64])
        length = text.index(b"\n")
        self.take(length + 1)
        return text[:length].decode("ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Remove the last `count` values and return them in order."""
        # Values below a mark belong to an outer collection; the slices below would also accept an empty stack.
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise ValueError(tr("the stack is empty"))
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_to_mark(self) -> list[Any]:
        """Remove the values above the last mark and return them in order."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):  # APPEND may follow any object in a forged file
            raise ValueError(tr("values for something that is not a list"))
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        # Python 2's keys are bytes and Python 3's are text: readers ask for bytes.
        keys = [key.encode() if isinstance(key, str) else key for key in values[::2]]
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, bytes) for key in keys):
            raise ValueError(tr("items for something that is not a dict, or a key that is not a string"))
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def protocol(self) -> None:
        if (number := self.number(1)) not in PROTOCOLS:
            raise ValueError(tr("pickle protocol {n}", n=number))

    def frame(self) -> None:
        self.take(8)  # how many bytes a reader of streams should fetch at once: everything is here already

    def text(self, size: int) -> None:
        self.push(str(self.take(size), "utf-8"))

    def long(self) -> None:
        if (size := self.number(1)) > 8:  # labels fit into int64; a huge integer costs time in every operation
            raise ValueError(tr("a number of {n} bytes", n=size))
        self.push(self.number(size, signed=True))

    def name(self, module: Any, name: Any) -> None:
        asked = f"{_string(module)[:40]} {_string(name)[:40]}"  # shortened, because the file's text goes into the error
        if asked not in NAMES:
            raise ValueError(tr("it asks for {name!r}", name=asked.replace(" ", ".", 1)))
        self.push(NAMES[asked])

    def reduce(self) -> None:
        function, arguments = self.pop(2)
        # Every branch requires a _Name or _Type, which no string in the file can be mistaken for.
        if function is _Name.RECONSTRUCT and arguments[0] is _Name.NDARRAY:
            self.push(_Array())
        elif function is _Name.DTYPE and (code := _string(arguments[0])) in INTEGERS:
            self.push(_Type(code))
        elif function is _Name.FROM_BUFFER and isinstance(arguments[1], _Type):
            content, kind, shape, order = arguments
            self.push(kind.array(content, shape, _string(order)))
        elif function is _Name.SCALAR and isinstance(arguments[0], _Type):
            self.push(int(arguments[0].array(arguments[1], (), "C")))
        elif function is _Name.ENCODE and isinstance(text := arguments[0], str) and _string(arguments[1]) == "latin1":
            self.num_encoded += len(text)
            if self.num_encoded > len(self.content):  # the same text again and again
                raise ValueError(tr("more bytes than it has"))
            self.push(text.encode("latin-1"))
        else:
            raise ValueError(tr("a call of something other than the making of an array of whole numbers"))

    def build(self) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, shape, kind, fortran, content = state  # the arguments of ndarray.__setstate__: version first
            if not isinstance(kind, _Type):
                raise ValueError(tr("an array of something other than whole numbers"))
            target.value = kind.array(content, shape, "F" if fortran else "C")
        elif isinstance(target, _Type):
            # "|" stands for values of one byte, which have no order.
            target.dtype = target.dtype.newbyteorder(">" if _string(state[1]) == ">" else "<")
        else:
            raise ValueError(tr("a state for something that is not an array"))


def _string(value: Any) -> str:
    """Return text, which Python 2 wrote as bytes and Python 3 as text."""
    if isinstance(value, bytes | memoryview):
        return str(value, "ascii")
    if not isinstance(value, str):
        raise ValueError(tr("something other than text for a name"))
    return value


OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.protocol(),  # PROTO
    b"(": lambda m: m.mark(),  # MARK
    b"N": lambda m: m.push(None),  # NONE
    b"\x88": lambda m: m.push(True),  # NEWTRUE
    b"\x89": lambda m: m.push(False),  # NEWFALSE
    b"K": lambda m: m.push(m.number(1)),  # BININT1
    b"M": lambda m: m.push(m.number(2)),  # BININT2
    b"J": lambda m: m.push(m.number(4, signed=True)),  # BININT
    b"U": lambda m: m.push(bytes(m.take(m.number(1)))),  # SHORT_BINSTRING
    b"T": lambda m: m.push(m.take(m.number(4, signed=True))),  # BINSTRING
    b"C": lambda m: m.push(bytes(m.take(m.number(1)))),  # SHORT_BINBYTES
    b"B": lambda m: m.push(m.take(m.number(4))),  # BINBYTES
    b"\x8e": lambda m: m.push(m.take(m.number(8))),  # BINBYTES8
    b"\x96": lambda m: m.push(m.take(m.number(8))),  # BYTEARRAY8
    b"\x8c": lambda m: m.text(m.number(1)),  # SHORT_BINUNICODE
    b"X": lambda m: m.text(m.number(4)),  # BINUNICODE
    b"\x8a": lambda m: m.long(),  # LONG1
    b"}": lambda m: m.push({}),  # EMPTY_DICT
    b"]": lambda m: m.push([]),  # EMPTY_LIST
    b")": lambda m: m.push(()),  # EMPTY_TUPLE
    b"\x85": lambda m: m.push(tuple(m.pop(1))),  # TUPLE1
    b"\x86": lambda m: m.push(tuple(m.pop(2))),  # TUPLE2
    b"\x87": lambda m: m.push(tuple(m.pop(3))),  # TUPLE3
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),  # TUPLE
    b"a": lambda m: m.extend(m.pop(1)),  # APPEND
    b"e": lambda m: m.extend(m.pop_to_mark()),  # APPENDS
    b"s": lambda m: m.set_items(m.pop(2)),  # SETITEM
    b"u": lambda m: m.set_items(m.pop_to_mark()),  # SETITEMS
    b"q": lambda m: m.remember(m.number(1)),  # BINPUT
    b"r": lambda m: m.remember(m.number(4)),  # LONG_BINPUT
    b"h": lambda m: m.push(m.memo[m.number(1)]),  # BINGET
    b"j": lambda m: m.push(m.memo[m.number(4)]),  # LONG_BINGET
    b"\x94": lambda m: m.remember(len(m.memo)),  # MEMOIZE
    b"\x95": lambda m: m.frame(),  # FRAME
    b"c": lambda m: m.name(m.line(), m.line()),  # GLOBAL
    b"\x93": lambda m: m.name(*m.pop(2)),  # STACK_GLOBAL
    b"R": lambda m: m.reduce(),  # REDUCE
    b"b": lambda m: m.build(),  # BUILD
}
"""By opcode; their meaning is documented in the standard library's pickletools."""
