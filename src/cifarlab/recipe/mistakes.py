"""Check a recipe or a part of one, and explain every mistake in a user's words."""

from __future__ import annotations

import reprlib
import types
import typing
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cifarlab.errors import RecipeError, either, translated, unknown
from cifarlab.language import listed, tr
from cifarlab.recipe.section import OF_PYDANTIC, Section

Part = TypeVar("Part", bound=Section)

_SHOWN = 20  # problems listed in one message; the rest is counted


def section_from(kind: type[Part], values: dict[str, Any], origin: str) -> Part:
    """Check a recipe or one section of it, given as dicts; raises RecipeError, which lists every problem."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [tr("{origin} cannot be used:", origin=origin), *(f"  {problem}" for problem in _problems(kind, error))]
        raise RecipeError("\n".join(lines)) from error


@cache
def fields_of(kind: type[Section]) -> dict[str, tuple[Any, str]]:
    """Return every path that can be set, with its type and description."""
    found: dict[str, tuple[Any, str]] = {}
    # Two levels only, section and key, which keeps paths and the command line simple.
    for name, field in kind.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            found[name] = (field.annotation, field.description or "")
            continue
        for key, inner in section.model_fields.items():
            found[f"{name}.{key}"] = (inner.annotation, inner.description or "")
    return found


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the Section class in an annotation such as ReferenceSpec | None, if there is one."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    sections = [item for item in options if isinstance(item, type) and issubclass(item, BaseModel)]
    return sections[0] if sections else None


def _problems(kind: type[Section], error: ValidationError) -> list[str]:
    """Return one line for each value that is wrong, even if it breaks several rules."""
    # A field of several types (int | float) has a pydantic error for each of them.
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False)[:_SHOWN]:
        subject, message = _explain(kind, dict(item))
        found.setdefault(subject, []).append(message)
    lines = [_sentence(subject, messages) for subject, messages in found.items()]
    more = error.error_count() - _SHOWN
    return [*lines, tr("{n} more.", n=more)] if more > 0 else lines


def _sentence(subject: str, messages: list[str]) -> str:
    """Join "x = 1: " and ["input should be a", "input should be b"] to "x = 1: input should be a or be b"."""
    rest = [message.removeprefix("input should ") for message in messages[1:]]
    first, *others = dict.fromkeys([messages[0], *rest])
    text = subject + "".join(translated(each, OF_PYDANTIC) for each in (first, *(f" or {other}" for other in others)))
    return text if text.endswith((".", "?", "。", "？")) else tr("{text}.", text=text)


def _explain(kind: type[Section], item: dict[str, Any]) -> tuple[str, str]:
    """Return what one pydantic error is about, and the error itself, in a user's words."""
    # Two parts at most: behind section and key pydantic lists the branch of a union.
    path = ".".join(str(part)[:80] for part in item["loc"][:2])
    message: str = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return unknown_key(kind, path), ""
    if not path:
        return "", message
    if item["type"] == "missing":
        return tr("{path} is missing", path=path), ""
    if item["type"] == "model_type":
        return tr("{path} is a section: write [{path}] and its keys below it", path=path), ""
    return tr("{path} = {value}: ", path=path, value=reprlib.repr(item["input"])), f"{message[0].lower()}{message[1:]}"


def paths_of(kind: type[Section], key: str) -> list[str]:
    """The values of a recipe that are called so in some section: ["optimizer.lr"] for "lr"."""
    return [known for known in fields_of(kind) if known.rpartition(".")[2] == key]


def unknown_key(kind: type[Section], path: str) -> str:
    """Return a message that says where an unknown key may belong, or lists the keys of its section."""
    section, _, key = path.rpartition(".")
    if not section and key in kind.model_fields:
        keys = [known for known in fields_of(kind) if known.startswith(f"{key}.")]
        return tr("{key} is a section; what can be set is {keys}.", key=key, keys=listed(keys))
    if elsewhere := paths_of(kind, key):
        return tr("Unknown key {path!r}. Did you mean {keys}?", path=path, keys=either(elsewhere))
    siblings = [known.rpartition(".")[2] for known in fields_of(kind) if section and known.startswith(f"{section}.")]
    if siblings:
        return unknown("key of [{section}]", key[:80], siblings, section=section)
    return unknown("key", path[:80], kind.model_fields)
