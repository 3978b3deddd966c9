"""Read CIFAR's pickled batches as data, with an interpreter that can run no code.

A pickle is a program for a stack machine. Python 2 wrote these (protocol 2), and they need two dozen of its
opcodes and three names of numpy. Only those exist here; an array is a view on the file's own bytes. So
nothing is imported or called on the word of the file, and memory grows with the number of operations, which
is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError

UINT8 = np.dtype(np.uint8)


def read_pickle(content: bytes, origin: str, max_operations: int) -> dict[bytes, Any]:
    """Read a dict of numbers, byte strings, lists and uint8 arrays; `origin` names the file in errors.

    Raises DataError for anything that an official batch does not contain.
    """
    try:
        result = _Machine(content).run(max_operations)
        if not isinstance(result, dict):
            raise ValueError(f"it holds a {type(result).__name__}, not a dict")
    except (ValueError, IndexError, KeyError, TypeError) as error:
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__} while reading it"
        raise DataError(
            f"{origin} is not an official CIFAR file: {reason}.\nIt was not run. Download the archive again."
        ) from error
    return {key: value.value if isinstance(value, _Array) else value for key, value in result.items()}


class _Name(Enum):
    """What a batch may refer to, as module and name."""

    RECONSTRUCT = "numpy.core.multiarray _reconstruct"
    NDARRAY = "numpy ndarray"
    DTYPE = "numpy dtype"


class _Array:
    """An array between its making (REDUCE) and the arrival of its values (BUILD)."""

    value: NDArray[np.uint8] | None = None


class _Machine:
    """The stack machine; strings are bytes, long ones a view on the content."""

    def __init__(self, content: bytes) -> None:
        self.content, self.position = memoryview(content), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

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
        keys = values[::2]
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, bytes) for key in keys):
            raise ValueError("items for something that is no dict, or a key that is no string")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def protocol(self) -> None:
        if (number := self.number(1)) != 2:
            raise ValueError(f"pickle protocol {number}")

    def name(self) -> None:
        name = f"{self.line()} {self.line()}"
        if name not in {known.value for known in _Name}:
            raise ValueError(f"it asks for {name.replace(' ', '.', 1)!r}")
        self.push(_Name(name))

    def reduce(self) -> None:
        function, arguments = self.pop(2)
        if function is _Name.RECONSTRUCT and arguments[0] is _Name.NDARRAY:
            self.push(_Array())
        elif function is _Name.DTYPE and arguments[0] == b"u1":
            self.push(UINT8)
        else:
            raise ValueError("a call of something other than the making of a uint8 array")

    def build(self) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, fortran, content = state
            if dtype is not UINT8:
                raise ValueError("an array that is not uint8")
            target.value = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
        elif target is not UINT8:
            raise ValueError("a state for something that is no array")


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
    b"c": lambda m: m.name(),
    b"R": lambda m: m.reduce(),
    b"b": lambda m: m.build(),
}
"""By opcode; their meaning is documented in the standard library's pickletools."""
