"""Amounts as a person types them: durations of a training, and shares of a number of things, in whole numbers."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

_PATTERN = re.compile(r"(\d+(?:\.\d+)?) ?(epochs?|steps?|%)")


def parse_duration(text: str) -> tuple[float, Literal["epoch", "step", "%"]]:
    """Split "5 epochs", "100 steps" or "10 %" into amount and unit; raises ValueError for anything else."""
    match = _PATTERN.fullmatch(text)
    if match is None or not math.isfinite(float(match[1])):
        raise ValueError(f'a duration reads "5 epochs", "100 steps" or "10 %", not {text[:40]!r}')
    amount, unit = float(match[1]), match[2].rstrip("s")
    return amount, "epoch" if unit == "epoch" else "step" if unit == "step" else "%"


def exact(amount: float) -> Fraction:
    """The decimal that was typed: 0.07 of 100 is 7, although the float nearest to 0.07 gives a little more."""
    return Fraction(repr(float(amount)))


def part_of(share: float, count: int) -> int:
    """A share of a number of things: the nearest whole number, a half rounded up, so that more never gives less."""
    return _nearest(exact(share) * count)


def duration_steps(text: str, steps_per_epoch: int, total_steps: int) -> int:
    """Resolve a duration to optimizer steps: the nearest number, a half rounded up."""
    amount, unit = parse_duration(text)
    scale = {"epoch": Fraction(steps_per_epoch), "step": Fraction(1), "%": Fraction(total_steps, 100)}[unit]
    return _nearest(exact(amount) * scale)


def training_steps(epochs: float, steps_per_epoch: int) -> int:
    """How many optimizer steps a training has: a part of a step is made whole, and there is at least one."""
    return max(1, math.ceil(exact(epochs) * steps_per_epoch))


def _nearest(amount: Fraction) -> int:
    return math.floor(amount + Fraction(1, 2))


def _checked(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_checked), WithJsonSchema({"type": "string", "format": "duration"})]
