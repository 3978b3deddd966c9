"""The table of signatures: whether it says what the C++ files say, and whether it stops wrong calls."""

from __future__ import annotations

import ctypes
import re

import pytest
import torch

from cifarlab.kernels import build
from cifarlab.kernels.signatures import OWN, SIGNATURES, Kernel, parse

# The kinds of parameters, by their types in C. Transformed filters are words, which hold numbers of type T.
KINDS = {"T": "T", "uint32_t": "T", "float": "f32", "double": "f64", "uint8_t": "u8", "Mask": "mask"}


def declared() -> dict[str, list[tuple[str, str]]]:
    """The functions that the C++ files export, as the table names them: (name, kind) of each parameter."""
    found = {}
    for source in build.SOURCES:
        text = source.read_text("utf-8").replace("\\\n", " ")
        for name, parameters in re.findall(r"EXPORTED void (\w+(?:##T)?)\(([^)]*)\)", text):
            if name != "use_openmp":  # is no kernel
                found[name.replace("##", "")] = [kind_of(each.strip()) for each in parameters.split(",")]
    return found


def kind_of(parameter: str) -> tuple[str, str]:
    pointer = re.fullmatch(r"(?:const )?(\w+)\s*\*\s*(\w+)", parameter)
    if pointer:
        return pointer[2], KINDS[pointer[1]]
    kind, name = parameter.split()
    return name, kind


@pytest.fixture
def calls() -> list[tuple[object, ...]]:
    return []


@pytest.fixture
def kernel(calls):
    """A kernel of a library with 16 lanes whose function only notes its arguments."""

    def make(name: str) -> Kernel:
        return Kernel(name, Noted(calls), 16)

    return make


class Noted:
    """Stands for a C function."""

    def __init__(self, calls: list[tuple[object, ...]]) -> None:
        self.calls = calls

    def __call__(self, *arguments: object) -> None:
        self.calls.append(arguments)


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype).to(memory_format=torch.channels_last)


def test_the_table_says_what_the_sources_say() -> None:
    assert {name: [(each.name, each.type) for each in parse(text)] for name, text in SIGNATURES.items()} == declared()


def test_only_lanes_returns_something_and_takes_nothing() -> None:
    text = "".join(source.read_text("utf-8") for source in build.SOURCES)
    assert re.findall(r"EXPORTED (?!void)([^{]*?) \{", text) == ["int64_t lanes()"]


def test_shapes_are_made_of_numbers_of_the_same_call() -> None:
    for text in SIGNATURES.values():
        numbers = {each.name for each in parse(text) if not each.shape} | {"lanes"}
        numbers |= {"filters", "padded"} if "kind" in numbers else set()
        factors = {name for each in parse(text) for factor in each.shape for name in re.split("[/%]", factor)}
        assert {name for name in factors if not name.isdecimal()} <= numbers


def test_a_call_passes_addresses_and_numbers(kernel, calls) -> None:
    x, total = maps(2, 16, 3, 3), torch.zeros(2, 16, dtype=torch.float64)
    kernel("sums_float")(x, 2, 9, 16, total)
    assert calls == [(x.data_ptr(), 2, 9, 16, total.data_ptr())]


def test_argument_types_are_declared() -> None:
    function = Noted([])
    Kernel("batch_statistics", function, 16)
    assert function.argtypes[:3] == [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    assert function.argtypes[5:7] == [ctypes.c_double, ctypes.c_double]
    assert function.restype is None


def test_none_is_passed_where_it_is_allowed(kernel, calls) -> None:
    x, affine = maps(2, 16, 3, 3), torch.zeros(2, 16)
    kernel("gelu_of_affine_float")(x, None, 18, 16, affine, x)
    assert calls == [(x.data_ptr(), None, 18, 16, affine.data_ptr(), x.data_ptr())]
    with pytest.raises(TypeError, match=r"gelu_of_affine_float.*a: f32\[2 c\].*found None"):
        kernel("gelu_of_affine_float")(x, None, 18, 16, None, x)


@pytest.mark.parametrize(
    ("x", "numbers", "total", "error", "message"),
    [
        (maps(2, 16, 3, 3), (2, 9, 16), torch.zeros(2, 16), TypeError, r"total: f64\[2 c\].*found torch.float32"),
        (maps(2, 16, 3, 3, dtype=torch.bfloat16), (2, 9, 16), None, TypeError, "x: .*float32.*found torch.bfloat16"),
        (maps(2, 16, 3, 3), (2, 10, 16), None, ValueError, r"x: T\[n p c\], 320 elements.*found shape \(2, 16, 3, 3\)"),
        (torch.zeros(2, 16, 3, 3), (2, 9, 16), None, ValueError, r"channels_last.*strides \(144, 9, 3, 1\)"),
        (maps(4, 16, 3, 3)[::2], (2, 9, 16), None, ValueError, "without gaps"),
        (torch.zeros(16, 18).T, (2, 9, 16), None, ValueError, "contiguous_format without gaps"),
        (maps(2, 16, 3, 3).to("meta"), (2, 9, 16), None, TypeError, "found torch.float32 on meta"),
        (7, (2, 9, 16), None, TypeError, "found 7"),
        (maps(2, 20, 3, 3), (2, 9, 20), None, ValueError, "c%lanes.*found 20|found 20.*c%lanes"),
        (maps(2, 16, 3, 3), (-2, 9, 16), None, ValueError, "found -2"),
        (maps(2, 16, 3, 3), (2, 9.0, 16), None, TypeError, "found 9.0"),
        (maps(2, 16, 3, 3), (torch.tensor(2), 9, 16), None, TypeError, "found tensor"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named_and_the_function_is_not_called(kernel, calls, x, numbers, total, error, message):
    right = torch.zeros(2, numbers[2], dtype=torch.float64)
    sums = kernel("sums_float")
    sums(maps(2, 16, 3, 3), 2, 9, 16, torch.zeros(2, 16, dtype=torch.float64))  # sizes that are remembered
    with pytest.raises(error, match=f"(?s)sums_float.*({message})"):
        sums(x, *numbers, right if total is None else total)
    assert len(calls) == 1


def test_a_number_of_arguments_that_is_wrong_is_told(kernel) -> None:
    with pytest.raises(TypeError, match="sums_float: found 1 arguments, expected x, n, p, c, total"):
        kernel("sums_float")(maps(2, 16, 3, 3))


def test_numbers_have_limits(kernel, calls) -> None:
    taps, to = maps(32, 24, 3, 3), torch.zeros(32, 36, 24)
    kernel("winograd_filters_float")(taps, 4, 24, 32, to)
    kernel("winograd_filters_bf16")(taps, 4, 24, 32, torch.zeros(32, 36, 26, dtype=torch.bfloat16))
    for kind, channels, channels_out in ((5, 24, 32), (4, 8, 32), (4, 20, 32), (4, 24, 48)):
        with pytest.raises(ValueError, match=r"winograd_filters_float: expected .*, 16 lanes; found \d"):
            kernel("winograd_filters_float")(taps, kind, channels, channels_out, to)
    with pytest.raises(ValueError, match=r"to: T\[o filters padded\], 19200 elements"):
        kernel("winograd_filters_float")(taps, 3, 24, 32, to)
    assert len(calls) == 2


@pytest.mark.parametrize(("lanes", "dtype"), [(16, torch.int16), (8, torch.uint8), (4, torch.uint8)])
def test_masks_have_a_number_per_register(lanes: int, dtype: torch.dtype) -> None:
    calls: list[tuple[object, ...]] = []
    x, affine = maps(2, 32, 3, 3), torch.zeros(2, 32)
    mask = torch.zeros(2, 3, 3, 32 // lanes, dtype=dtype)
    Kernel("rectified_float", Noted(calls), lanes)(x, None, 18, 32, affine, None, 0, x, mask)
    assert calls[0][-1] == mask.data_ptr()
    with pytest.raises(ValueError, match="passed: mask"):
        Kernel("rectified_float", Noted(calls), lanes)(x, None, 18, 32, affine, None, 0, x, mask[:1])


def test_an_affine_needs_channels_that_fill_registers(kernel, calls) -> None:
    x, taps, y = maps(1, 24, 4, 4), maps(32, 24, 3, 3), maps(1, 32, 4, 4)
    sizes = 2, 1, 4, 4, 24, 4, 4, 32
    gate = None, 1, None, None, None
    kernel("winograd_by_float")(x, None, taps, 0, *gate, *sizes, y, None)
    with pytest.raises(ValueError, match=r"affine: f32\[2 c%lanes\]"):
        kernel("winograd_by_float")(x, torch.zeros(2, 24), taps, 0, *gate, *sizes, y, None)
    assert len(calls) == 1


@pytest.mark.usefixtures("kernels")
def test_the_library_has_all_of_them_in_float32() -> None:
    names = [name.removesuffix("T") + ("float" if name.endswith("_T") else "") for name in SIGNATURES]
    assert [name for name in names if not build.has(name)] == []
    assert set(OWN) == {"float", "bf16"}
