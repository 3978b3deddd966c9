"""Help and errors of the command line in another language: nothing of them is left in English."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from typer.core import TyperGroup

from cifarlab import language
from cifarlab.cli.command import EXAMPLES, Group, texts
from cifarlab.cli.main import app, run

ROOT: Any = typer.main.get_command(app)


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group by its words."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{path} {name}".strip())


COMMANDS = dict(commands(ROOT))
WORDS = {word for path in COMMANDS for word in path.split()} | {"cifarlab", "shell"}
"""Names that stand in help as they are; the argument SHELL is shown in small letters."""


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    language.speak("en")


class Brackets(gettext.NullTranslations):
    """A language in which each paragraph of a message stands in brackets."""

    def gettext(self, message: str) -> str:
        return "\n\n".join(f"⟦{part}⟧" for part in message.split("\n\n"))


@pytest.fixture
def _brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarlab.cli.main.speak_as_the_environment_says", lambda: None)
    monkeypatch.setattr(language, "_spoken", [Brackets()])
    monkeypatch.setenv("COLUMNS", "2000")  # every message on one line


def outside_brackets(out: str, name: str) -> list[str]:
    """The words that no catalogue can translate and that are no names, types or examples."""
    for line in sorted(EXAMPLES.get(name, {}), key=len, reverse=True):
        out = out.replace(line, "")
    out = re.sub(r"⟦[^⟦⟧]*⟧", "", out)
    out = re.sub(r"<[^>]*>|\[[^\]]*x[^\]]*\]|(?<!\w)--?[\w-]+", "", out)  # types, ranges, options
    return [word for word in re.findall(r"[\w-]*[a-z][\w-]*", out) if word not in WORDS]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("_brackets")
def test_all_of_the_help_can_be_translated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert outside_brackets(out, name) == []
    assert out.count("⟦") == out.count("⟧") > 4


@pytest.mark.usefixtures("_brackets")
def test_help_that_is_not_translated_is_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Group, "main", TyperGroup.main)
    assert run(["data", "show", "--help"]) == 0
    assert {"Examples", "class", "square"} <= set(outside_brackets(capsys.readouterr().out, "data show"))


def test_every_help_text_has_a_translation() -> None:
    found = [*(item.help for item in texts(ROOT)), *(text for each in EXAMPLES.values() for text in each.values())]
    language.speak("zh")
    assert len(found) > 200 and {text for text in found if language.tr(text) == text} == {"fish"}


@pytest.mark.parametrize("name", COMMANDS)
def test_chinese_fits_a_terminal_of_80_columns_and_is_not_cut_off(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*name.split(), "--help", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "用法：cifarlab" in out and "选项" in out
    assert "…" not in out.replace("……", "")
    examples = set(EXAMPLES.get(name, ()))
    assert all(cell_len(line) <= 80 for line in out.splitlines() if line.strip() not in examples)


@pytest.mark.parametrize(
    "words",
    [
        ["--lang", "zh", "recipes", "-h"],
        ["recipes", "--lang", "zh", "-h"],
        ["recipes", "-h", "--lang=zh_CN"],
        ["--lang", "en", "recipes", "-h", "--lang", "zh"],
    ],
)
def test_the_language_may_be_named_anywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert "列出自带的配方及其结果" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--lang", "zh"], ["-h", "--lang", "zh"]])
def test_help_of_all_speaks_the_language_that_was_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert ("训练、评估和发布小图像分类器" in capsys.readouterr().out) == bool(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "错误：没有 'trian' 这个命令。是不是想用 'train'？\n参见：cifarlab --help\n"),
        (["--foo"], "错误：没有 --foo 这个选项\n参见：cifarlab --help\n"),
        (
            ["train", "--epoch", "3"],
            "错误：没有 --epoch 这个选项（相近的选项：--epochs）\n参见：cifarlab train --help\n",
        ),
        (["train", "--seed", "x"], "错误：'--seed' 的值无效：应为整数\n参见：cifarlab train --help\n"),
        (["bench", "kernels", "--pairs", "1"], "'--pairs' 的值无效：应大于或等于 2\n"),
        (["train", "quick", "--epochs"], "错误：选项 '--epochs' 需要一个值。\n"),
        (["train", "--no-test=3"], "错误：选项 '--no-test' 不带值。\n"),
        (["recipes", "a", "b"], "错误：多余的参数：b\n"),
        (["data", "show"], "错误：缺少参数 'NAME'。\n"),
        (["completion"], "错误：缺少参数 'shell'。可选：bash, zsh, fish, powershell\n"),
        (["completion", "x"], "错误：'shell' 的值无效：'x' 不在可用的值之中：'bash', 'zsh', 'fish', 'powershell'。\n"),
        (["train", "quick", "--lr", "1"], "错误：--lr 是配方中的值；请用 --set optimizer.lr=1 设置\n"),
        (["recipes", "quik"], "错误：没有 'quik' 这个配方。是不是想用 quick？\n"),
        (["recipes", "--lang", "tlh"], "错误：没有 'tlh' 这种语言。已知：en，zh_CN。\n"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_answered_in_the_language_of_the_environment(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFARLAB_LANG", "zh")
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err


@pytest.mark.parametrize("words", [["--lang"], ["recipes", "--lang"], ["--lang=", "recipes"]])
def test_a_language_that_is_not_named_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err == "error: Unknown language ''. Known: en, zh_CN.\n"


def test_a_group_without_a_command_shows_its_help_and_no_empty_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data"]) == 2
    out, err = capsys.readouterr()
    assert "List, fetch, check" in out and err == ""


def test_the_list_of_recipes_is_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("配方 ") and "经典：小网络" in out and "无数据增强" in out and "来源：" in out
