"""Catalogues have every message that the code marks, and the program speaks the language that was chosen."""

from __future__ import annotations

import gettext
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from cifarlab import language
from cifarlab.language import LOCALE, languages, listed, ntr, speak, speak_as_the_environment_says, tr

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from messages import as_po, is_translated, marked, messages, updated

CATALOGUES = sorted(LOCALE.glob("*/LC_MESSAGES/cifarlab.po"))


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    speak("en")


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_no_message_is_missing_and_none_is_left_over(path: Path) -> None:
    assert path.read_bytes() == as_po(updated(path)), "make messages"
    with path.open("rb") as file:
        catalogue = read_po(file)
    assert [message.id for message in catalogue if message.id and not is_translated(message.string)] == []
    assert {message.id for message in catalogue if message.id} == {message.id for message in messages() if message.id}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_translations_have_the_fields_of_their_message(path: Path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file)
    for message in catalogue:
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        allowed = {name for text in ids for name in re.findall(r"{(\w+)", text)} | {"number"}
        assert all(set(re.findall(r"{(\w+)", string)) <= allowed for string in strings), message.id
        for field in {name for text in ids for name in re.findall(r"{(\w+)", text)} - {"ordinal"}:
            assert all(f"{{{field}" in string for string in strings), (message.id, field)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_what_is_read_is_what_was_written(path: Path) -> None:
    with path.open("rb") as file, path.with_suffix(".mo").open("rb") as compiled:
        catalogue, read = read_po(file), gettext.GNUTranslations(compiled)
    for message in catalogue:
        if isinstance(message.id, tuple):
            assert read.ngettext(*message.id, 2) == message.string[-1]
        elif message.id:
            assert read.gettext(message.id) == message.string


@pytest.mark.parametrize("code", ['tr(f"{n} images")', "count(n, f'{kind} image')", 'ntr("{n} image", "s" + x, n)'])
def test_a_message_that_is_not_written_out_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        list(marked(code))


def test_messages_are_found_wherever_they_stand() -> None:
    code = (
        'f"{tr(\'a\')}"; tr(NAME, n=1); count(2, "class", "classes"); ntr("{n} x", "{n} xs", n, n=n); translatable("b")'
    )
    assert sorted(map(str, marked(code))) == ["('{n} class', '{n} classes')", "('{n} x', '{n} xs')", "a", "b"]


def test_english_is_what_stands_in_the_code() -> None:
    assert languages() == ["en", "zh_CN"]
    assert tr("held out") == "held out" and listed(["a", "b"]) == "a, b"
    assert [ntr("{n} thread", "{n} threads", n) for n in (1, 2, 1.5)] == ["{n} thread", "{n} threads", "{n} threads"]


@pytest.mark.parametrize("name", ["zh", "zh_CN", "zh-cn", "zh_CN.UTF-8", "zh_TW"])
def test_a_language_is_known_by_its_names(name: str) -> None:
    speak(name)
    assert tr("data") == "数据" and ntr("{n} thread", "{n} threads", 1) == "{n} 个线程" and listed("ab") == "a，b"


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(LookupError, match="tlh"):
        speak("tlh")
    assert tr("data") == "data"


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({}, "data"),
        ({"LANG": "zh_CN.UTF-8"}, "数据"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "data"),
        ({"LANG": "de_DE.UTF-8"}, "data"),
        ({"LANG": "en_GB.UTF-8", "CIFARLAB_LANG": "zh"}, "数据"),
    ],
)
def test_the_environment_chooses(variables: dict[str, str], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    speak_as_the_environment_says()
    assert tr("data") == word
