"""Help, examples, and what is said to a command line that cannot be used."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from cifarlab.cli.command import EXAMPLES, example_lines
from cifarlab.cli.main import app, run
from cifarlab.recipe.toml import recipe_names


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    for name, each in (inner or {}).items():
        yield from commands(each, f"{path} {name}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))
LINES = [(name, line) for name, examples in EXAMPLES.items() for line in examples]


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_every_example_can_be_used(name: str, line: str) -> None:
    line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", line).partition(" > ")[0]
    words = shlex.split(line)
    assert words[: len(name.split()) + 1] == ["cifarlab", *name.split()]
    COMMANDS[name].make_context(name, words[len(name.split()) + 1 :])  # raises for what does not exist


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_ends_with_the_examples_and_names_no_type_of_a_switch(
    name: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*name.split(), option]) == 0
    out = capsys.readouterr().out
    assert "<bool>" not in out and next(iter(EXAMPLES[name])) in out.split(" Examples\n")[1]


def test_examples_stand_below_what_they_do_where_lines_are_short() -> None:
    assert example_lines("bench kernels", 80) == [
        " Examples",
        "   cifarlab bench kernels  # the CPU kernels against torch",
    ]
    assert example_lines("bench kernels", 40) == [
        " Examples",
        "   # the CPU kernels against torch",
        "   cifarlab bench kernels",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "quick", "--lr", "0.1"], "set it with --set optimizer.lr=0.1\nSee: cifarlab train --help"),
        (["train", "quick", "--lr=0.1"], "--set optimizer.lr=0.1\n"),
        (["train", "quick", "--lr"], "--set optimizer.lr=...\n"),
        (["train", "quick", "--learning-rate", "3"], "--learning-rate is a value of the recipe"),
        (["ablate", "quick", "--batch-size", "64"], "--set training.batch_size=64"),
        (["predict", "RUN", "a.png", "--lr", "1"], "No such option: --lr\nSee: cifarlab predict --help"),
        (["train", "quick", "--epoch", "3"], "(Possible options: --epochs)\nSee: cifarlab train --help"),
        (["data", "show"], "Missing argument 'NAME'.\nSee: cifarlab data show --help"),
        (["trian"], "Did you mean 'train'?\nSee: cifarlab --help"),
        (["train", "quick", "--set", "optimizer.rate=1"], "Unknown key of [optimizer] 'rate'. Known: beta1, "),
    ],
)
def test_the_hint_is_about_the_command_that_was_typed(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cifarlab abl", ["ablate"]),
        ("cifarlab train resnet18-", [name for name in recipe_names() if name.startswith("resnet18-")]),
    ],
)
def test_a_shell_can_complete_commands_and_recipes(line: str, offered: list[str]) -> None:
    variables = {"_CIFARLAB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "cifarlab"], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_what_the_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_CIFARLAB_COMPLETE" in capsys.readouterr().out
