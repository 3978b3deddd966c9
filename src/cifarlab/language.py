"""The language in which cifarlab speaks to people: English, as it stands in the code, or that of a catalogue.

Catalogues are those of gettext, so that others can add a language with the tools that translators know:
locale/<language>/LC_MESSAGES/cifarlab.po has a translation of every message that the code marks with `tr` or `ntr`, and
`make messages` adds what is new and writes the .mo file beside it, which is read here. Names of commands, options,
recipes and fields are the same in every language.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ENGLISH = "en"
VARIABLES = ("CIFARLAB_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""The environment variables that name a language; the first that is set decides."""
LOCALE = Path(__file__).parent / "locale"

_spoken: list[gettext.NullTranslations] = [gettext.NullTranslations()]
"""The catalogue in use, alone in a list, since it is replaced."""
_name = [ENGLISH]


def languages() -> list[str]:
    """English, and every language that has a catalogue: ["en", "zh_CN"]."""
    return [ENGLISH, *sorted(path.name for path in LOCALE.iterdir() if (path / "LC_MESSAGES").is_dir())]


def tr(message: str, /, **fields: object) -> str:
    """Translate a message, then fill in its {fields}, if any are given."""
    return _filled(_spoken[0].gettext(message) if message else "", fields)  # of "" catalogues have their own facts


def ntr(singular: str, plural: str, number: float, /, **fields: object) -> str:
    """Translate a message about a number of things, then fill in its {fields}, if any are given."""
    whole = int(number) if number == int(number) else 2  # 1.5 epochs are several
    return _filled(_spoken[0].ngettext(singular, plural, whole), fields)


def translatable(message: str) -> str:
    """Mark a constant for the catalogues; it stays English here and is translated where it is used: tr(TITLE)."""
    return message


def listed(parts: Iterable[str]) -> str:
    """Join parts of a line as the language does: with commas."""
    return tr(", ").join(parts)


def in_a_row(sentences: Sequence[str]) -> str:
    """Put one sentence after the other, with what the language has between them."""
    text, *rest = sentences
    for sentence in rest:
        text = tr("{sentence} {next}", sentence=text, next=sentence)
    return text


def speak(name: str) -> None:
    """Choose the language: en, zh_CN, or only zh. Raises LookupError for one that has no catalogue."""
    chosen = _known(name)
    if chosen is None:
        raise LookupError(name)
    english = chosen == ENGLISH
    _spoken[0] = gettext.NullTranslations() if english else gettext.translation("cifarlab", LOCALE, [chosen])
    _name[0] = chosen


def spoken() -> str:
    """The language that is spoken now, as HTML names it: "en" or "zh-CN"."""
    return _name[0].replace("_", "-")


def speak_as_the_environment_says() -> None:
    """Choose the language of the environment, and English where that has no catalogue."""
    name = next((value for variable in VARIABLES if (value := os.environ.get(variable))), ENGLISH)
    speak(_known(name) or ENGLISH)


@contextmanager
def in_english() -> Iterator[None]:
    """Speak English for a while: what a folder stores and what JSON has is the same whoever asks for it."""
    before = _name[0]
    speak(ENGLISH)
    try:
        yield
    finally:
        speak(before)


def _filled(text: str, fields: dict[str, object]) -> str:
    return text.format(**fields) if fields else text  # a text without fields may have braces of its own


def _known(name: str) -> str | None:
    """The language that "zh_CN.UTF-8", "zh-cn" or "zh" stands for; None for one without a catalogue."""
    code = name.partition(".")[0].replace("-", "_").lower()
    by_code = {known.lower(): known for known in languages()}
    return by_code.get(code) or {known.partition("_")[0]: known for known in languages()}.get(code.partition("_")[0])
