"""What each C function takes, and the comparison of every call with it: functions get the bare addresses of tensors.

A tensor that is too small would let a function read or write memory of others, so each signature says of how many
elements it is, as a product of the integers in the same call. A test compares the table with the C++ files.

    x: T[n h/2 w/2 c]    a tensor of n · h/2 · w/2 · c elements (rounded up) of the function's own type, float or bf16
    affine: f32[2 c]?    or None; f32, f64, u8 are dtypes, mask that of masks; [c%lanes] needs a multiple of lanes
    n, c%8>=16, relu=0|1 an integer from 0, one that is a multiple of 8 and at least 16, one of those listed
    eps: double          a float

Tensors of four dimensions are maps or filters in channels-last order; masks and all others are in plain order.
"""

from __future__ import annotations

import ctypes
import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

FILTERS = {2: 16, 3: 25, 4: 36, 0: 36, 1: 36}
"""Into how many numbers the 9 taps of a filter are transformed, by the kind of tile (winograd.h)."""

# Padding after the channels of a transformed filter. Without it, in bf16, the numbers of one filter lie a power of two
# apart and evict each other from the caches (256 × 256 channels: 0.18 ms to transform with it, 0.30 without).
UNUSED = {torch.float32: 0, torch.bfloat16: 2}

_NORM = "sums: f64[2 c], moments: f64[2 c], a: f32[2 c], weights: f32[2 c]"
_CONVOLUTION = "n, h, w, c%8>=16, p, q, o%32"

SIGNATURES = {
    "batch_statistics": (
        "sums: f64[2 channels], num, channels, weight: f32[channels], bias: f32[channels], momentum: double, "
        "eps: double, running_mean: f32[channels], running_var: f32[channels], moments: f64[2 channels], "
        "affine: f32[2 channels]"
    ),
    "sums_T": "x: T[n p c], n, p, c%lanes, total: f64[2 c]",
    # An odd side would leave the last row or column of the gradient unwritten, and shift the images after it.
    "pool_and_sums_T": "x: T[n h w c], n, h%2, w%2, c%lanes, y: T[n h/2 w/2 c], k: u8[n h/2 w/2 c], total: f64[2 c]",
    "gelu_of_affine_T": "x: T[p c], d: T[p c]?, p, c%lanes, a: f32[2 c], y: T[p c]",
    "pool_and_gelu_of_affine_T": "x: T[n h w c], n, h%2, w%2, c%lanes, a: f32[2 c], y: T[n h/2 w/2 c]",
    "gelu_gradient_and_sums_T": (
        "g: T[n p c], x: T[n p c], d: T[n p c]?, n, p, c%lanes, a: f32[2 c], z: T[n p c], total: f64[2 c]"
    ),
    "norm_gradient_T": f"z: T[p c], x: T[p c], p, c%lanes, {_NORM}, y: T[p c]",
    "norm_and_pool_gradient_T": (
        f"z: T[n h/2 w/2 c], x: T[n h/2 w/2 c], i: u8[n h/2 w/2 c], n, h%2, w%2, c%lanes, {_NORM}, y: T[n h w c]"
    ),
    "rectified_T": (
        "x: T[p c], d: T[p c]?, p, c%lanes, a: f32[2 c]?, b: f32[2 c]?, relu=0|1, y: T[p c], passed: mask[p c/lanes]?"
    ),
    "added_gradient_T": "g: T[n p c], x: T[n p c], y: T[n p c], n, p, c%lanes, z: T[n p c], total: f64[2 c]",
    "means_gradient_T": "g: T[n c], x: T[n p c], y: T[n p c], n, p, c%lanes, z: T[n p c], total: f64[2 c]",
    "gradient_sums_T": "g: T[n p c], x: T[n p c], a: f32[2 c], relu=0|1, n, p, c%lanes, total: f64[2 c]",
    "affine_gradient_T": f"g: T[p c], x: T[p c], p, c%lanes, {_NORM}, y: T[p c]",
    "winograd_filters_T": "taps: f32[9 c o], kind=0|1|2|3|4, c%8>=16, o%32, to: T[o filters padded]",
    "winograd_T": (f"x: T[n h w c], f: T[o filters padded], b: f32[o]?, kind=0|1|2|3|4, {_CONVOLUTION}, y: T[n p q o]"),
    "winograd_pool_T": (
        "x: T[n h w c], f: T[o filters padded], kind=2|3|4, n, h, w, c%8>=16, p%2, q%2, o%32, "
        "y: T[n p/2 q/2 o], places: u8[n p/2 q/2 o], sums: f64[2 o]"
    ),
    "winograd_by_T": (
        "x: T[n h w c], affine: f32[2 c%lanes]?, taps: f32[9 c o], turned=0|1, added: T[n p/apart q/apart o]?, "
        "apart=1|2, gate_x: T[n p q o]?, passed: mask[n p q o/lanes]?, gate_affine: f32[2 o]?, kind=0|1|2|3|4, "
        f"{_CONVOLUTION}, y: T[n p q o], sums: f64[2 o]?"
    ),
    "winograd_weight_gradient_T": (
        "values: T[images height width channels], affine: f32[2 channels%lanes]?, "
        "gradients: T[images out_height out_width channels_out], kind=0|3|4, images, height, width, channels%8, "
        "out_height, out_width, channels_out%32, result: f32[9 channels channels_out]"
    ),
}

OWN = {"float": torch.float32, "bf16": torch.bfloat16}
"""What T stands for, by the end of the function's name."""

NAMES = [f"{name.removesuffix('T')}{end}" for name in SIGNATURES for end in (OWN if name.endswith("_T") else [""])]
"""All functions, those in bf16 included, of which some are compiled for some CPUs only."""

_DTYPES = {"f32": torch.float32, "f64": torch.float64, "u8": torch.uint8}
_NUMBERS = {"int64_t": ctypes.c_int64, "double": ctypes.c_double}
_PARAMETER = re.compile(
    r"(?P<name>\w+)(: (?P<type>\w+)(\[(?P<shape>[^]]+)\](?P<null>\??))?)?"
    r"(%(?P<divisor>\w+))?(>=(?P<least>\d+))?(=(?P<allowed>[\d|]+))?"
)


class Parameter(NamedTuple):
    """One parameter of a C function."""

    text: str
    """The part of the signature that it is."""
    name: str
    type: str
    """T, f32, f64, u8 or mask for a tensor, int64_t or double for a number."""
    shape: tuple[str, ...]
    null: bool
    """Whether None may take its place."""
    divisor: str
    """Of a number: 1, or what it has to be a multiple of; an integer or "lanes"."""
    least: int
    allowed: tuple[int, ...]
    """Of a number: the only ones; empty if there are others."""

    def allows(self, number: int, lanes: int) -> bool:
        """Whether an integer is within the limits."""
        divisor = lanes if self.divisor == "lanes" else int(self.divisor)
        return number >= self.least and number % divisor == 0 and (not self.allowed or number in self.allowed)


def parse(signature: str) -> list[Parameter]:
    """Split a signature of the table into its parameters."""
    found = []
    for text in filter(None, signature.split(", ")):
        match = _PARAMETER.fullmatch(text)
        assert match is not None, text
        shape = tuple((match["shape"] or "").split())
        allowed = tuple(map(int, filter(None, (match["allowed"] or "").split("|"))))
        limits = match["divisor"] or "1", int(match["least"] or 0), allowed
        found.append(Parameter(text, match["name"], match["type"] or "int64_t", shape, match["null"] == "?", *limits))
    return found


class Kernel:
    """The function `name` of a library with this number of lanes, called only with what its signature allows."""

    def __init__(self, name: str, function: Any, lanes: int) -> None:
        stem, _, suffix = name.rpartition("_")
        own = OWN.get(suffix, torch.float32)
        # A mask has what comparing a register gives: a bit per lane.
        dtypes = {**_DTYPES, "T": own, "mask": torch.int16 if lanes == 16 else torch.uint8}
        self.name, self.function, self.lanes, self.unused = name, function, lanes, UNUSED[own]
        self.parameters = parse(SIGNATURES[name] if name in SIGNATURES else SIGNATURES[f"{stem}_T"])
        places = list(enumerate(self.parameters))
        self.numbers = [place for place, parameter in places if not parameter.shape]
        self.tensors = [(place, of, dtypes[of.type], _order(of)) for place, of in places if of.shape]
        # A training calls with the same few shapes again and again. typed: 2.0 is not to be found as 2.
        self.sizes = lru_cache(maxsize=1024, typed=True)(self._sizes)
        function.restype = None  # void; ctypes would otherwise read an int
        function.argtypes = [_NUMBERS.get(parameter.type, ctypes.c_void_p) for parameter in self.parameters]

    def __call__(self, *arguments: Tensor | float | None) -> None:
        """Compare the arguments with the signature, then call the function; ValueError or TypeError if they differ."""
        if len(arguments) != len(self.parameters):
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise TypeError(f"Kernel {self.name}: found {len(arguments)} arguments, expected {names}.")
        values: list[Any] = list(arguments)
        sizes = self.sizes(*[values[place] for place in self.numbers])
        for (place, parameter, dtype, order), size in zip(self.tensors, sizes, strict=True):
            tensor = values[place]
            if tensor is None and parameter.null:
                continue
            # In one expression and not in a function, since a step makes hundreds of these comparisons.
            if not (
                isinstance(tensor, Tensor)
                and tensor.dtype is dtype
                and tensor.numel() == size
                and tensor.is_cpu
                and (tensor.is_contiguous(memory_format=order) if tensor.dim() == 4 else tensor.is_contiguous())
            ):
                raise self._mistake(parameter, tensor, dtype, size)
            values[place] = tensor.data_ptr()
        self.function(*values)

    def _sizes(self, *numbers: Any) -> list[int]:
        """The elements of each tensor in a call with these numbers; ValueError or TypeError for a wrong number."""
        named: dict[str, Any] = {"lanes": self.lanes}
        for place, number in zip(self.numbers, numbers, strict=True):
            parameter = self.parameters[place]
            named[parameter.name] = number
            if not isinstance(number, int) and (parameter.type == "int64_t" or not isinstance(number, float)):
                raise TypeError(
                    f"Kernel {self.name}: expected {parameter.text}, a C {parameter.type}; found {number!r}."
                )
            if isinstance(number, int) and not parameter.allows(number, self.lanes):
                raise ValueError(f"Kernel {self.name}: expected {parameter.text}, {self.lanes} lanes; found {number}.")
        if "kind" in named:
            named |= {"filters": FILTERS[named["kind"]], "padded": named.get("c", 0) + self.unused}
        return [math.prod(_factor(factor, named) for factor in parameter.shape) for _, parameter, *_ in self.tensors]

    def _mistake(self, parameter: Parameter, tensor: Any, dtype: torch.dtype, size: int) -> Exception:
        """What is wrong about a tensor: its type or, with the type right, its size or its order."""
        expected = f"Kernel {self.name}: expected {parameter.text}"
        if not isinstance(tensor, Tensor) or tensor.dtype is not dtype or not tensor.is_cpu:
            found = f"{tensor.dtype} on {tensor.device}" if isinstance(tensor, Tensor) else repr(tensor)
            return TypeError(f"{expected}, {dtype} on the CPU; found {found}.")
        found = f"shape {tuple(tensor.shape)}, strides {tensor.stride()}"
        order = _order(parameter) if tensor.dim() == 4 else torch.contiguous_format
        return ValueError(f"{expected}, {size} elements in {order} without gaps; found {found}.")


def _order(parameter: Parameter) -> torch.memory_format:
    """The order in memory of a tensor with four dimensions."""
    return torch.contiguous_format if parameter.type == "mask" else torch.channels_last


def _factor(factor: str, named: dict[str, int]) -> int:
    """The value of one factor of a shape; -1, which no tensor fits, for what should be a multiple and is not."""
    match = re.fullmatch(r"(\w+)(?:/(\w+))?(?:%(\w+))?", factor)
    assert match is not None, factor
    above, below, divisor = (named[name] if name in named else int(name or 1) for name in match.groups())
    return -(-above // below) if above % divisor == 0 else -1
