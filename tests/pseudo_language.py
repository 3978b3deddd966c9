"""A language that puts its own words into brackets, so that a test sees what is shown in no language.

Fields stay outside of the brackets, "{n} images" becomes "{n}⟦ images⟧", so a word that was not translated shows even
where a translated message has taken it up. A message that no catalogue would have stays as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from gettext import NullTranslations
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

from cifarlab import language

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from messages import messages


class _Pseudo(NullTranslations):
    def gettext(self, message: str) -> str:
        return bracketed(message) if message in _known() else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        message = msgid1 if n == 1 else msgid2
        return bracketed(message) if message in _known() else message


@contextmanager
def pseudo_language() -> Iterator[None]:
    """Speak the language while the block runs; English afterwards."""
    _known()  # while English is spoken: the messages are collected by code that has messages itself
    language._spoken[0] = _Pseudo()
    try:
        yield
    finally:
        language.speak(language.ENGLISH)


def bracketed(message: str) -> str:
    """Put the words of a message into brackets, and leave its fields outside."""
    parts = []
    for literal, field, spec, conversion in Formatter().parse(message):
        parts.append(f"⟦{literal}⟧" if literal else "")
        if field is not None:
            parts.append(f"{{{field}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}")
    return "".join(parts)


def untranslated(text: str, *data: str) -> list[str]:
    """The words of a text, from two letters on, that are neither in brackets nor part of the data."""
    left = re.sub("⟦[^⟦⟧]*⟧", " ", text)
    for name in sorted(data, key=len, reverse=True):
        left = left.replace(name, " ")
    return re.findall(r"[^\W\d_]{2,}", left)


def seen(page: str) -> str:
    """What a reader of a page can see or hear: its text, and what describes pictures and parts of charts."""
    reader = _Reader()
    reader.feed(page)
    return "\n".join(reader.texts)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")
        self.texts += [value for name, value in attrs if name in ("alt", "aria-label", "title") and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.texts.append(data)


@cache
def _known() -> frozenset[str]:
    """Every message of the catalogues, in both of its numbers."""
    ids = [message.id for message in messages() if message.id]
    return frozenset(text for each in ids for text in ([each] if isinstance(each, str) else each))
