"""Read pickled batches in CIFAR's format as data, with an interpreter that can run no code.

A pickle is a program for a stack machine. Python 2 wrote CIFAR's (protocol 2), and sets that others make in its format
come from Python 3 (protocols 2 to 5). They need three dozen of its opcodes and a few names of numpy. Only those exist
here; an array is a view on the file's own bytes. So nothing is imported or called on the word of the file, and memory
grows with the number of operations, which is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError

PROTOCOLS = range(2, 6)
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
"""Types of arrays that are read: pixels and labels."""


def read_pickle(content: bytes, origin: str, max_operations: int) -> dict[bytes, Any]:
    """Read a dict of numbers, strings, lists and arrays of whole numbers; `origin` names the file in errors.

    Python 2's strings are bytes, Python 3's are str, and the keys are bytes for both. Raises DataError for anything
    that a batch does not contain.
    """
    try:
        result = _Machine(content).run(max_operations)
        if not isinstance(result, dict):
            raise ValueError(f"it holds a {type(result).__name__}, not a dict")
    except (ValueError, IndexError, KeyError, TypeError) as error:
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__} while reading it"
        raise DataError(
            f"{origin} is not an official CIFAR file: {reason}.\n"
            "It was not run. Download the archive again, or save a data set of your own with numpy.savez."
        ) from error
    return {key: value.value if isinstance(value, _Array) else value for key, value in result.items()}


class _Name(Enum):
    """What a batch may refer to."""

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
    """A type of values between its making (REDUCE) and the arrival of its byte order (BUILD)."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)

    def array(self, content: Any, shape: Any, order: str) -> NDArray[Any]:
        """Values as an array, which is a view on them."""
        return np.frombuffer(content, self.dtype).reshape(shape, order="F" if order == "F" else "C")


class _Array:
    """An array between its making (REDUCE) and the arrival of its values (BUILD)."""

    value: NDArray[Any] | None = None


class _Machine:
    """The stack machine; strings of bytes are views on the content where they may be long."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = memoryview(content), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.num_encoded = 0

    def run(self, max_operations: int) -> Any:
        for _ in range(max_operations):
            code = bytes(self.take(1))
            if code == b".":
                return self.stack.pop()
            if code not in OPERATIONS:
                raise ValueError(f"opcode {code!r} at byte {self.position - 1}")
            OPERATIONS[code](self)
        raise ValueError(f"more than {max_operations:,} operations")

    def take(self, size: int) -> memoryview:
        """The next `size` bytes, without a copy."""
        end = self.position + size
        if size < 0 or end > len(self.content):
            raise ValueError(f"{size:,} bytes wanted at byte {self.position:,} of {len(self.content):,}")
        self.position, start = end, self.position
        return self.content[start:end]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """Up to the next line end, within the length of a name."""
        text = bytes(self.content[self.position : self.position + 64])
        length = text.index(b"\n")
        self.take(length + 1)
        return text[:length].decode("ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """The last `count` values, in order."""
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("values for something that is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        keys = [key.encode() if isinstance(key, str) else key for key in values[::2]]
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, bytes) for key in keys):
            raise ValueError("items for something that is no dict, or a key that is no string")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def protocol(self) -> None:
        if (number := self.number(1)) not in PROTOCOLS:
            raise ValueError(f"pickle protocol {number}")

    def frame(self) -> None:
        self.take(8)  # how many bytes could be read at once

    def text(self, size: int) -> None:
        self.push(str(self.take(size), "utf-8"))

    def long(self) -> None:
        if (size := self.number(1)) > 8:
            raise ValueError(f"a number of {size} bytes")
        self.push(self.number(size, signed=True))

    def name(self, module: Any, name: Any) -> None:
        asked = f"{_string(module)[:40]} {_string(name)[:40]}"
        if asked not in NAMES:
            raise ValueError(f"it asks for {asked.replace(' ', '.', 1)!r}")
        self.push(NAMES[asked])

    def reduce(self) -> None:
        function, arguments = self.pop(2)
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
                raise ValueError("more bytes than it has")
            self.push(text.encode("latin-1"))
        else:
            raise ValueError("a call of something other than the making of an array of whole numbers")

    def build(self) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, shape, kind, fortran, content = state
            if not isinstance(kind, _Type):
                raise ValueError("an array of something other than whole numbers")
            target.value = kind.array(content, shape, "F" if fortran else "C")
        elif isinstance(target, _Type):
            target.dtype = target.dtype.newbyteorder(">" if _string(state[1]) == ">" else "<")
        else:
            raise ValueError("a state for something that is no array")


def _string(value: Any) -> str:
    """Text of Python 3, or the bytes that Python 2 has for it."""
    if isinstance(value, bytes | memoryview):
        return str(value, "ascii")
    if not isinstance(value, str):
        raise ValueError("something other than text for a name")
    return value


OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.protocol(),
    b"(": lambda m: m.mark(),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"U": lambda m: m.push(bytes(m.take(m.number(1)))),
    b"T": lambda m: m.push(m.take(m.number(4, signed=True))),
    b"C": lambda m: m.push(bytes(m.take(m.number(1)))),
    b"B": lambda m: m.push(m.take(m.number(4))),
    b"\x8e": lambda m: m.push(m.take(m.number(8))),
    b"\x96": lambda m: m.push(m.take(m.number(8))),
    b"\x8c": lambda m: m.text(m.number(1)),
    b"X": lambda m: m.text(m.number(4)),
    b"\x8a": lambda m: m.long(),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.push(tuple(m.pop(1))),
    b"\x86": lambda m: m.push(tuple(m.pop(2))),
    b"\x87": lambda m: m.push(tuple(m.pop(3))),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"a": lambda m: m.extend(m.pop(1)),
    b"e": lambda m: m.extend(m.pop_to_mark()),
    b"s": lambda m: m.set_items(m.pop(2)),
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"h": lambda m: m.push(m.memo[m.number(1)]),
    b"j": lambda m: m.push(m.memo[m.number(4)]),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"\x95": lambda m: m.frame(),
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": lambda m: m.name(*m.pop(2)),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}
"""By opcode; their meaning is documented in the standard library's pickletools."""
