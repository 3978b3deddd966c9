"""Catalogues have every message that the code marks, and the program speaks the language that was chosen."""

from __future__ import annotations

import ast
import gettext
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from cifarlab import errors, language
from cifarlab.language import LOCALE, languages, listed, ntr, speak, speak_as_the_environment_says, tr

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from messages import as_po, is_translated, marked, messages, updated

CATALOGUES = sorted(LOCALE.glob("*/LC_MESSAGES/cifarlab.po"))
CODE = sorted(LOCALE.parent.rglob("*.py"))

ERRORS = {name for name, kind in vars(errors).items() if str(kind).startswith("<class 'cifarlab.")}
TO_PEOPLE = ERRORS - {"MissingExtraError"} | {"log.info", "log.warning", "log.error", "progress", "doing", "tr"}
"""What takes a message: all errors but the one that is given names, and `tr` with a variable instead of a message."""


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


def unmarked(code: str) -> Iterator[int]:
    """The lines of a file whose message to people has words outside of what marks them for the catalogues.

    Variables are followed to what their function assigns to them; parameters and what functions return are trusted.
    """
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        values: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values.setdefault(node.targets[0].id, []).append(node.value)
            elif isinstance(node, ast.AugAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
                values.setdefault(node.target.id, []).append(node.value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in TO_PEOPLE:
                said = [each for each in node.args[:1] if name != "tr" or isinstance(each, ast.Name)]
                if any(has_words(each, dict(values)) for each in said):
                    yield node.lineno


def has_words(node: ast.AST, values: dict[str, list[ast.expr]]) -> bool:
    """Whether an expression has letters outside of calls, which mark them; values: of its variables, until seen."""
    match node:
        case ast.Constant(value=str(text)):
            return re.search("[A-Za-z]", text) is not None
        case ast.Name(id=name):
            parts: list[ast.AST] = [*values.pop(name, [])]
        case ast.Call(func=ast.Attribute(value=value, attr="join" | "format"), args=args, keywords=keywords):
            parts = [value, *args, *keywords]
        case ast.Call(func=function, args=args):
            parts = [*args] if ast.unparse(function) == "some" else []
        case ast.FormattedValue(value=value) | ast.Subscript(value=value):  # not ".1f" and "key"
            parts = [value]
        case ast.IfExp(body=first, orelse=second):
            parts = [first, second]
        case ast.GeneratorExp(elt=each) | ast.ListComp(elt=each):
            parts = [each]
        case _:
            parts = [*ast.iter_child_nodes(node)]
    return any(has_words(part, values) for part in parts)


def test_every_message_is_marked() -> None:
    lines = {path.relative_to(LOCALE.parent): sorted(set(unmarked(path.read_text("utf-8")))) for path in CODE}
    assert "\n".join(f"{path}:{line}" for path, found in lines.items() for line in found) == ""


@pytest.mark.parametrize(
    ("lines", "is_marked"),
    [
        ('raise UsageError("no")', False),
        ('raise UsageError(f"{path} is no file.")', False),
        ('raise UsageError(tr("{path} is no file.", path=path))', True),
        ('raise UsageError(tr("No {n}.").format(n=f"{n:.1f}") + "\\n" + values["key"])', True),
        ('raise UsageError("\\n  ".join([tr("No:"), "none" if n else ""]))', False),
        ('raise MissingExtraError("pandas", "notebook")', True),
        ('raise DataError("; ".join(["no", *names]))', False),
        ('raise DataError(tr("No {n}.").format(n="pictures"))', False),
        ('text = path.read_text("utf-8"); raise DataError(text)', True),
        ('raise ValueError("a fault of the program")', True),
        ('raise AssertionError("a fault of the program")', True),
        ('return DataError("no")', False),
        ('log.info("a note")', False),
        ('log.debug("for us")', True),
        ('log.warning(f"{text}\\n{advice}")', True),
        ('text = "a note"; log.info(text)', False),
        ('text = tr("a note"); text += " and more"; log.info(text)', False),
        ('text = tr("a note"); log.info(text)', True),
        ('text = "a {n}"; log.info(tr(text, n=1))', False),
        ('text = translatable("a {n}"); log.info(tr(text, n=1))', True),
        ('log.info("; ".join(f"{count(n, \'image\')}: {name}" for name in names))', True),
        ('with doing("Reading"): pass', False),
    ],
)
def test_a_message_that_is_not_marked_is_found(lines: str, is_marked: bool) -> None:
    assert list(unmarked(f"def f(path, n, advice):\n    {lines}")) == ([] if is_marked else [2])


def test_english_is_what_stands_in_the_code() -> None:
    assert languages() == ["en", *(path.parts[-3] for path in CATALOGUES)] and "zh_CN" in languages()
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
