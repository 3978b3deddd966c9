"""The base class of a recipe's sections (typed, frozen, strict), the types of their fields, and the reference."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cifarlab.errors import translated
from cifarlab.language import tr, translatable

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
# strict=False: a TOML array is a list, which strict mode refuses for a tuple.
Weights = Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)]

COLUMNS = ("image", "label", "split")  # the roles that a column of a list or table can have
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")  # the parts of a data set, in the order in which they are shown


OF_PYDANTIC = (
    translatable("Input should be {values} or '{value}'"),
    translatable("Input should be '{value}'"),
    translatable("Input should be {what}"),
    translatable("input should be {values} or '{value}'"),
    translatable("input should be '{value}'"),
    translatable("input should be {what}"),
    translatable(" or be {values} or '{value}'"),
    translatable(" or be '{value}'"),
    translatable(" or be {what}"),
    translatable(" or {what}"),
    translatable("greater than or equal to {limit}"),
    translatable("greater than {limit}"),
    translatable("less than or equal to {limit}"),
    translatable("less than {limit}"),
    translatable("a valid integer"),
    translatable("a valid integer, unable to parse string as an integer"),
    translatable("a valid integer, got a number with a fractional part"),
    translatable("a valid number"),
    translatable("a valid number, unable to parse string as a number"),
    translatable("a finite number"),
    translatable("a valid string"),
    translatable("a valid boolean"),
    translatable("a valid tuple"),
    translatable("a valid list"),
    translatable("a valid dictionary"),
    translatable("string should match pattern '{pattern}'"),
    translatable("tuple should have at least {n} item after validation, not {found}"),
    translatable("Field required"),
    translatable("Extra inputs are not permitted"),
)
"""What pydantic says of a value, and `mistakes` makes of it."""


def named_columns(text: str) -> dict[str, str]:
    """Read "image=photo,label=kind" as {"image": "photo", "label": "kind"}; raises ValueError for anything else."""
    return _named(text, COLUMNS, optional=("split",))


def named_splits(text: str) -> dict[str, str]:
    """Read "train=learn,val=" as {"train": "learn", "val": ""}; raises ValueError for anything else."""
    return _named(text, SPLITS, optional=SPLITS)


def listed_names(text: str) -> tuple[str, ...]:
    """Read "frog,truck" as ("frog", "truck"); raises ValueError for a name that is empty or occurs twice."""
    names = tuple(_parts(text, "NAME,NAME,...")) if text else ()
    if "" in names or len(set(names)) < len(names):
        raise ValueError(tr("{text!r} has a name that is empty or comes twice", text=text))
    return names


def _parts(text: str, allowed: str) -> list[str]:
    """Split text at its commas; a name that contains one is quoted, as in CSV: '"train=a, b",test=c'."""
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(tr("it cannot be read as {allowed}: {error}", allowed=allowed, error=error)) from error
    return [part.strip() for row in rows for part in row]


def _named(text: str, roles: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    allowed = tr("{roles}, each given once", roles=", ".join(f"{each}=NAME" for each in roles))
    named: dict[str, str] = {}  # an empty name is allowed for a role in `optional`: "val=" stands for no val
    for part in filter(None, _parts(text, allowed)):
        role, equals, name = (word.strip() for word in part.partition("="))
        if role not in roles or not equals or role in named or not (name or role in optional):
            raise ValueError(tr("{part!r} is not one of {allowed}", part=part, allowed=allowed))
        named[role] = name
    return named


def _readable_by(read: Callable[[str], object]) -> AfterValidator:
    """Return a validator that accepts text which `read` can read."""

    def check(text: str) -> str:
        read(text)
        return text  # what was typed, so that it can be written back as TOML

    return AfterValidator(check)


Columns = Annotated[str, _readable_by(named_columns)]
SplitNames = Annotated[str, _readable_by(named_splits)]
ClassNames = Annotated[str, _readable_by(listed_names)]


class Section(BaseModel):
    """A part of a recipe; unknown keys, wrong types, NaN and infinity are refused."""

    # strict: no conversion, so that lr = "0.1" or epochs = true is an error. The docstrings below the fields become
    # their descriptions, from which the guide is made. defer_build: validators are compiled for the first recipe, which
    # `cifarlab --help` never reads.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        defer_build=True,
    )


def first_problem(error: ValidationError) -> str:
    """Return the first problem with its place: "data.image_size: Input should be ..."."""
    problem = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    text = translated(problem["msg"], OF_PYDANTIC)
    return tr("{place}: {problem}", place=place, problem=text) if place else text


class ReferenceSpec(Section):
    """Where the experiment comes from and what its authors reported."""

    title: str
    """Project or paper."""
    url: str = ""
    """Where it can be read."""
    reported_accuracy: Fraction | None = None
    """The test accuracy that its authors reported."""
    differences: str = ""
    """What this recipe does differently, and why."""
