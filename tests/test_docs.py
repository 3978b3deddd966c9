"""The documentation keeps up with the program: made pages are fresh, and what pages name is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from cifarlab.cli.main import app
from cifarlab.recipe.toml import recipe_fields, recipe_names

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "benchmarks").glob("*.md")])
RUN = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(?:python -m )?cifarlab(?: |$)")

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def make_docs() -> types.ModuleType:
    """The script, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path) -> Iterator[str]:
    """The lines of code blocks, fenced or indented, with lines continued by a backslash put together."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    for line in text.splitlines():
        if line.startswith("    "):
            yield line[4:]


def commands(page: Path) -> Iterator[list[str]]:
    """The words after `cifarlab` of every command that a page shows."""
    for line in blocks(page):
        if RUN.match(line.strip()):
            words = shlex.split(line.strip(), comments=True)
            yield words[words.index(next(word for word in words if word.endswith("cifarlab"))) + 1 :]


def slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


# Pages that are made


@pytest.mark.parametrize("name", ["cli.md", "recipes.md"])
def test_a_made_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == make_docs().pages()[name], "stale: run make docs"


def test_every_command_and_option_is_on_its_page() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for path, command in make_docs().commands("cifarlab", typer.main.get_command(app)):
        assert f"\n## {path}\n" in text
        for parameter in command.params:
            assert all(option in text for option in parameter.opts)


def test_every_field_and_recipe_is_on_its_page() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    for path, (_, description) in recipe_fields().items():
        section, _, key = path.rpartition(".")
        part = text.split(f"### [{section}]" if section else "### The recipe itself")[1].split("\n### ")[0]
        assert f"| `{key}` |" in part
        assert " ".join(description.split()).split("<")[0].split("|")[0] in part
    for name in recipe_names():
        assert f"[{name}](" in text


# What every page names


def test_there_is_a_readme() -> None:
    assert ROOT / "README.md" in PAGES
    assert list(commands(ROOT / "README.md")), "a README shows how to begin"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {slug(title) for title in titles}, target


@each_page
def test_commands_are_those_of_the_program(page: Path) -> None:
    if page.name == "cli.md":
        return  # made from the program; its usage lines are no commands
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
            options |= {option for parameter in command.params for option in parameter.opts}
        if getattr(command, "commands", {}):
            assert not words or words[0].startswith("-"), f"{page.name}: cifarlab {' '.join(words)}"
        for word in words:
            if word.startswith("-") and not re.fullmatch(r"-?\d.*", word):
                assert word.partition("=")[0] in options, f"{page.name}: {word}"


@each_page
def test_recipes_that_are_trained_are_shipped(page: Path) -> None:
    for words in commands(page):
        if words[:1] == ["train"] and len(words) > 1 and not words[1].startswith("-"):
            shipped = words[1] in recipe_names()
            assert shipped or words[1].endswith(".toml") or words[1].isupper(), words[1]


@each_page
def test_values_that_are_set_can_be_set(page: Path) -> None:
    for words in commands(page):
        for option, value in pairwise(words):
            if option == "--set" and "=" in value and not value.isupper():
                assert value.partition("=")[0] in recipe_fields(), value


@each_page
def test_make_targets_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {words[1] for line in blocks(page) if (words := line.split()) and words[0] == "make" and len(words) > 1}
    named |= set(re.findall(r"`make ([a-z]+)`", page.read_text("utf-8")))
    assert named <= targets


@each_page
def test_paths_of_the_project_exist(page: Path) -> None:
    """Of what stands in backticks and begins with one of the project's folders."""
    for path in re.findall(r"`((?:src|tests|docs|scripts|benchmarks|\.ci)/[\w./-]*)`", page.read_text("utf-8")):
        assert (ROOT / path).exists(), path


def test_every_page_of_the_log_is_listed_and_can_be_read_as_text() -> None:
    log = ROOT / "docs" / "log"
    pages = sorted(log.glob("*.md"))
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (log / "README.md").read_text("utf-8")))
    assert listed == {page.name for page in pages} - {"README.md"}
    for page in pages:
        long = [line for line in page.read_text("utf-8").splitlines() if len(line) > 120 and not line.startswith("|")]
        assert not long, page.name


def test_no_page_names_the_machine_it_was_written_on() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:home|root|Users|tmp|work)/\w", page.read_text("utf-8")), page.name
