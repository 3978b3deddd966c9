"""Texts that were stored in English, in the language that is spoken now.

Why a picture cannot be read, where images come from, how a folder was understood: such texts go into caches and
manifests and outlive the process that wrote them. So they are made in English, by `translatable("...").format(...)`,
and translated where they are shown.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator, Mapping

from cifarlab.language import ENGLISH, LOCALE, spoken, tr

_FIELD = re.compile(r"{(\w+)[^{}]*}")
_RULE = "rule"
"""The field that holds such a text itself; what is in others are names and numbers."""


def retold(text: str) -> str:
    """Translate a stored text: a message with its fields filled in, or several of them, joined by semicolons.

    What the catalogue does not have stays as it is.
    """
    return _told(text)[1]


def _told(text: str) -> tuple[int, str]:
    """How many letters of a text stay as they are, and its translation: of several that fit, where fewest do."""
    found = []
    for message in _messages():
        if match := _match(message, text):
            values = match.groupdict()
            rest, rule = _told(values.pop(_RULE)) if _RULE in values else (0, "")
            fields = {**values, _RULE: rule}
            found.append((rest + sum(map(len, values.values())), _filled(tr(message), fields)))
    if found:
        return min(found)
    clauses = text.split("; ")
    if len(clauses) == 1:
        return len(text), text
    parts = [_told(clause) for clause in clauses]
    return sum(number for number, _ in parts), tr("; ").join(translation for _, translation in parts)


def _filled(message: str, fields: Mapping[str, str]) -> str:
    """Fill in fields as they stood in the text, whatever format the message asks for."""
    return _FIELD.sub(lambda field: fields[field[1]], message)


def retold_reason(text: str) -> str:
    """Translate a stored "file: reason", as `Images.skipped` has them."""
    name, _, reason = text.partition(": ")
    return tr("{name}: {reason}", name=name, reason=retold(reason))


def _messages() -> Iterator[str]:
    """The messages of the catalogue in use that such texts can have; English has none."""
    if spoken() == ENGLISH:
        return
    for message in vars(gettext.translation("cifarlab", LOCALE, [spoken().replace("-", "_")]))["_catalog"]:
        # a pair is about a number of things, and "{a} in {b}" would fit texts that it does not belong to
        if isinstance(message, str) and (f"{{{_RULE}}}" in message or _says_enough(message)):
            yield message


def _says_enough(message: str) -> bool:
    """Whether a message can be known by its own words: one without fields has some, one with fields two at least."""
    num_words = len(re.findall(r"\w+", _FIELD.sub(" ", message)))
    return num_words > 1 or (num_words == 1 and not _FIELD.search(message))


def _match(message: str, text: str) -> re.Match[str] | None:
    """The fields of a text that is an instance of a message; None if it is none."""
    first, *pieces = _FIELD.split(message)  # literals, and between them names of fields
    # most messages are ruled out by their ends, without a regular expression
    if not text.startswith(first) or not text.endswith(pieces[-1] if pieces else first):
        return None
    pattern, names = re.escape(first), pieces[::2]
    for place, (name, literal) in enumerate(zip(names, pieces[1::2], strict=True)):
        field = f"(?P<{name}>{'.*' if name == _RULE else '(?:(?!; ).)*'})"  # a clause ends where the next begins
        pattern += (f"(?P={name})" if name in names[:place] else field) + re.escape(literal)
    return re.fullmatch(pattern, text, re.DOTALL)
