"""Durations in a recipe: an amount of epochs, of steps, or of the whole training."""

from __future__ import annotations

import math
import re
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


def duration_steps(text: str, steps_per_epoch: int, total_steps: int) -> int:
    """Resolve a duration to optimizer steps."""
    amount, unit = parse_duration(text)
    scale = {"epoch": steps_per_epoch, "step": 1, "%": total_steps / 100}[unit]
    return round(amount * scale)


def _checked(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_checked), WithJsonSchema({"type": "string", "format": "duration"})]
