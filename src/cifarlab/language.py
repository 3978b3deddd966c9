"""The language in which cifarlab speaks to people: English, as it stands in the code, or that of a catalogue.

Catalogues are those of gettext, so that others can add a language with the tools that translators know:
locale/<language>/LC_MESSAGES/cifarlab.po has a translation of every message that the code marks with `tr` or `ntr`, and
`make messages` adds what is new and writes the .mo file beside it, which is read here. Names of commands, options,
recipes and fields are the same in every language.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterable
from pathlib import Path

from cifarlab.errors import UsageError, unknown

ENGLISH = "en"
VARIABLES = ("CIFARLAB_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""The environment variables that name a language; the first that is set decides."""
LOCALE = Path(__file__).parent / "locale"

_spoken: list[gettext.NullTranslations] = [gettext.NullTranslations()]
"""The catalogue in use, alone in a list, since it is replaced."""


def languages() -> list[str]:
    """English, and every language that has a catalogue: ["en", "zh_CN"]."""
    return [ENGLISH, *sorted(path.name for path in LOCALE.iterdir() if (path / "LC_MESSAGES").is_dir())]


def tr(message: str) -> str:
    """Translate a message; its {fields} are filled in afterwards, by str.format."""
    return _spoken[0].gettext(message)


def ntr(singular: str, plural: str, number: float) -> str:
    """Translate a message about a number of things."""
    return _spoken[0].ngettext(singular, plural, 1 if number == 1 else 2)  # 1.5 epochs are several


def listed(parts: Iterable[str]) -> str:
    """Join parts of a line as the language does: with commas."""
    return tr(", ").join(parts)


def speak(name: str) -> None:
    """Choose the language: en, zh_CN, or only zh. Raises UsageError for one that has no catalogue."""
    chosen = _known(name)
    if chosen is None:
        raise UsageError(unknown("language", name, languages()))
    english = chosen == ENGLISH
    _spoken[0] = gettext.NullTranslations() if english else gettext.translation("cifarlab", LOCALE, [chosen])


def speak_as_the_environment_says() -> None:
    """Choose the language of the environment, and English where that has no catalogue."""
    name = next((value for variable in VARIABLES if (value := os.environ.get(variable))), ENGLISH)
    speak(_known(name) or ENGLISH)


def _known(name: str) -> str | None:
    """The language that "zh_CN.UTF-8", "zh-cn" or "zh" stands for; None for one without a catalogue."""
    code = name.partition(".")[0].replace("-", "_").lower()
    by_code = {known.lower(): known for known in languages()}
    return by_code.get(code) or {known.partition("_")[0]: known for known in languages()}.get(code.partition("_")[0])
