"""What every part of a recipe is: typed, frozen and strict; the kinds of numbers in it; and where it comes from."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]

COLUMNS = ("image", "label", "split")
"""What a column of a list or table can stand for."""
SPLITS = ("train", "val", "test")
"""The parts of a data set."""


def named_columns(text: str) -> dict[str, str]:
    """Read "image=photo,label=kind" as {"image": "photo", "label": "kind"}; raises ValueError for anything else."""
    return _named(text, COLUMNS, optional=("split",))


def named_splits(text: str) -> dict[str, str]:
    """Read "train=learn,val=" as {"train": "learn", "val": ""}; raises ValueError for anything else."""
    return _named(text, SPLITS, optional=SPLITS)


def _named(text: str, roles: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """Names with a comma in them stand in quotes, as in CSV: '"train=a, b",test=c'."""
    allowed = f"{', '.join(f'{each}=NAME' for each in roles)}, each given once"
    named: dict[str, str] = {}
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"it cannot be read as {allowed}: {error}") from error
    for part in filter(None, (part.strip() for row in rows for part in row)):
        role, equals, name = (word.strip() for word in part.partition("="))
        if role not in roles or not equals or role in named or not (name or role in optional):
            raise ValueError(f"{part!r} is not one of {allowed}")
        named[role] = name
    return named


def _check_columns(text: str) -> str:
    named_columns(text)
    return text


def _check_splits(text: str) -> str:
    named_splits(text)
    return text


Columns = Annotated[str, AfterValidator(_check_columns)]
"""Text that `named_columns` reads."""
SplitNames = Annotated[str, AfterValidator(_check_splits)]
"""Text that `named_splits` reads."""


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
