"""What every part of a recipe is: typed, frozen and strict; the kinds of numbers in it; and where it comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]


class Section(BaseModel):
    """A part of a recipe: unknown keys, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class ReferenceSpec(Section):
    """Where the experiment comes from and what its authors reported."""

    title: str
    """Project or paper."""
    url: str = ""
    """Where it can be read."""
    reported_accuracy: Fraction | None = None
    """The test accuracy that its authors reported."""
    differences: str = ""
    """What is done differently here, and why."""
