"""What every part of a recipe is: typed, frozen and strict; the kinds of numbers in it; and where it comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]

COLUMNS = ("image", "label", "split")
"""What a column of a list or table can stand for."""


def named_columns(text: str) -> dict[str, str]:
    """Read "image=photo,label=kind" as {"image": "photo", "label": "kind"}; raises ValueError for anything else."""
    named: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        role, equals, column = (word.strip() for word in part.partition("="))
        if role not in COLUMNS or not equals or role in named or not (column or role == "split"):
            raise ValueError(f"{part!r} is not one of {', '.join(f'{each}=NAME' for each in COLUMNS)}, each given once")
        named[role] = column
    return named


def _check_columns(text: str) -> str:
    named_columns(text)
    return text


Columns = Annotated[str, AfterValidator(_check_columns)]
"""Text that `named_columns` reads."""


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
