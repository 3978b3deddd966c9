"""Durations of a training and shares of a count, as a person types them, turned into whole numbers."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

from cifarlab.language import tr

# Decimals only: no sign, no exponent, no infinity.
_PATTERN = re.compile(r"(\d+(?:\.\d+)?) ?(epochs?|steps?|%)")


def parse_duration(text: str) -> tuple[float, Literal["epoch", "step", "%"]]:
    """Split "5 epochs", "100 steps" or "10 %" into amount and unit; raises ValueError for anything else."""
    match = _PATTERN.fullmatch(text)
    # A number of more than 308 digits becomes infinity as a float.
    if match is None or not math.isfinite(float(match[1])):
        raise ValueError(tr('a duration reads "5 epochs", "100 steps" or "10 %", not {text!r}', text=text[:40]))
    amount, unit = float(match[1]), match[2].rstrip("s")
    return amount, "epoch" if unit == "epoch" else "step" if unit == "step" else "%"


def exact(amount: float) -> Fraction:
    """Return the decimal that was typed, exactly: 0.07 of 100 is 7, although the float nearest to 0.07 gives more."""
    return Fraction(repr(float(amount)))  # repr is the shortest decimal that gives this float, which is what was typed


def part_of(share: float, count: int) -> int:
    """Return a share of a count as the nearest whole number, with halves rounded up."""
    return _nearest(exact(share) * count)


def duration_steps(text: str, steps_per_epoch: int, total_steps: int) -> int:
    """Return a duration in optimizer steps, to the nearest whole number, with halves rounded up."""
    amount, unit = parse_duration(text)
    scale = {"epoch": Fraction(steps_per_epoch), "step": Fraction(1), "%": Fraction(total_steps, 100)}[unit]
    return _nearest(exact(amount) * scale)


def training_steps(epochs: float, steps_per_epoch: int) -> int:
    """Return the number of optimizer steps of a training, rounded up, and at least one."""
    # Exact, because 0.07 epochs of 100 steps are 7 steps, while the product of the floats is just above 7.
    return max(1, math.ceil(exact(epochs) * steps_per_epoch))


def _nearest(amount: Fraction) -> int:
    # Not round(), which takes halves to the even neighbour: a larger share must never give a smaller number.
    return math.floor(amount + Fraction(1, 2))


def _checked(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_checked), WithJsonSchema({"type": "string", "format": "duration"})]
