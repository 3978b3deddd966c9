"""Texts that were stored in English, in the language that is spoken now.

Why a picture cannot be read, where images come from, how a folder was understood: such texts go into caches and
manifests and outlive the process that wrote them. So they are made in English, by `translatable("...").format(...)`,
and translated where they are shown.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator

from cifarlab.language import ENGLISH, LOCALE, spoken, tr

_FIELD = re.compile(r"{(\w+)[^{}]*}")
_RULE = "rule"
"""The field that holds such a text itself; what is in others are names and numbers."""


def retold(text: str) -> str:
    """Translate a stored text: a message with its fields filled in, or several of them, joined by semicolons.

    What the catalogue does not have stays as it is.
    """
    found = [(message, match) for message in _messages() if (match := _match(message, text))]
    if not found:
        clauses = text.split("; ")
        return tr("; ").join(map(retold, clauses)) if len(clauses) > 1 else text
    # of several the one with the most words of its own
    message, match = max(found, key=lambda each: len(_FIELD.sub("", each[0])))
    fields = {name: retold(value) if name == _RULE else value for name, value in match.groupdict().items()}
    return _FIELD.sub(lambda field: fields[field[1]], tr(message))


def retold_reason(text: str) -> str:
    """Translate a stored "file: reason", as `Images.skipped` has them."""
    name, _, reason = text.partition(": ")
    return tr("{name}: {reason}", name=name, reason=retold(reason))


def _messages() -> Iterator[str]:
    """The messages of the catalogue in use that such texts can have; English has none."""
    if spoken() == ENGLISH:
        return
    for message in vars(gettext.translation("cifarlab", LOCALE, [spoken().replace("-", "_")]))["_catalog"]:
        # a pair is about a number of things, and "{place} ({name})" would fit texts that it does not belong to
        if isinstance(message, str) and (f"{{{_RULE}}}" in message or re.search(r"\w", _FIELD.sub("", message))):
            yield message


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
