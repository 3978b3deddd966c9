"""Write the pages of docs/ that are made from the program itself: python scripts/make_docs.py

docs/cli.md comes from the help of every command, docs/recipes.md from the fields of a recipe and from the recipes that
ship. Both are stored, so that they can be read without the program; a test fails when they are stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import typer

from cifarlab.cli.command import EXAMPLES
from cifarlab.cli.main import app
from cifarlab.recipe.catalogue import CLASSICS, augmentation_words
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_names

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, "utf-8")
        print(f"docs/{name}")


def pages() -> dict[str, str]:
    """Every made page by its file name."""
    return {"cli.md": command_page(), "recipes.md": recipe_page()}


# The command line


def command_page() -> str:
    """Usage, explanation, arguments and options of every command."""
    root: Any = typer.main.get_command(app)
    lines = [
        "# The command line",
        "",
        "Every command and option, as `--help` shows them. Made by `make docs`; do not edit.",
        "",
        "Results are printed on stdout, notes and progress on stderr. Exit codes: 0 done, 1 a bug in cifarlab,",
        "2 usage or recipe, 3 data, 4 checkpoint or model file, 5 machine, 6 training diverged, 7 run folder in use,",
        "8 finished but some parts failed and are listed, 130 or 143 after Ctrl-C or SIGTERM, with the state saved.",
        "",
    ]
    for path, command in commands("cifarlab", root):
        lines += [*_command_lines(path, command), ""]
    return "\n".join(lines).rstrip() + "\n"


def commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and everything below it, as ("cifarlab data check", command)."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(f"{path} {name}", inner)


def _command_lines(path: str, command: Any) -> list[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"## {path}", "", f"    {usage}", "", _paragraphs(command.help or ""), ""]
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [_parameter_row(item, context) for item in command.params if item.param_type_name == kind]
        if rows:
            lines += [*_table((title, "What it does"), rows), ""]
    if examples := EXAMPLES.get(path.partition(" ")[2]):
        lines += ["Examples:", "", *(f"    {line}  # {purpose}" for line, purpose in examples.items()), ""]
    inner = getattr(command, "commands", {})
    if inner:
        rows = [(f"`{path} {name}`", each.get_short_help_str(120)) for name, each in inner.items()]
        lines += [*_table(("Command", "What it does"), rows), ""]
    return lines[:-1]


def _parameter_row(parameter: Any, context: click.Context) -> tuple[str, str]:
    names, text = parameter.get_help_record(context) or (parameter.make_metavar(context), parameter.help or "")
    return f"`{names.replace('<list[Path]>', '<path>...')}`", text  # typer writes the type as Python does


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


# Recipes


def recipe_page() -> str:
    """Every recipe that ships and every field of a recipe."""
    lines = [
        "# Recipes",
        "",
        "A recipe is everything that a training depends on, as a TOML file. Made by `make docs`; do not edit.",
        "",
        "    cifarlab recipes                 # list them",
        "    cifarlab recipes resnet18        # one of them, complete",
        "    cifarlab train resnet18 --set optimizer.lr=0.01 --set training.epochs=20",
        "    cifarlab train path/to/my.toml   # your own: it names only what differs from the defaults below",
        "",
        "Values are taken from the recipe, then from each `--set` in order, the later one winning. The run folder",
        "keeps the complete result as `recipe.toml`; training that file again repeats the run. Unknown keys, wrong",
        "types and values out of range are refused before anything is downloaded or written.",
        "",
        "## The recipes that ship",
        "",
        "Reported is the test accuracy that the authors of the original give. What is done differently here, and why,",
        "stands under `[reference]` in each file.",
        "",
        *_table(("Recipe", "What it is", "Network", "Epochs", "Reported"), map(_recipe_row, recipe_names())),
        "",
        "## The classics",
        "",
        "What course projects train, in the order in which one leads to the next, with the test accuracy that their",
        "authors report. These recipes keep what the authors chose; what is done differently stands in each file.",
        "",
        *_classics_lines(),
        "## Every field",
        "",
        "`unset` stands for a key that is left out; on the command line it is written `none`. A duration reads",
        '"5 epochs", "100 steps" or "10 %" (of the training).',
        "",
    ]
    for title, model in _sections():
        lines += [*_section_lines(title, model), ""]
    return "\n".join(lines).rstrip() + "\n"


def _classics_lines() -> Iterator[str]:
    """A table per group, with what differs between its recipes."""
    head = ("Recipe", "Network", "Optimizer and schedule", "Augmentation", "Epochs", "Reported")
    for title, names in CLASSICS.items():
        yield from (f"### {title[0].upper()}{title[1:]}", "", f"Source: {_source(names[0])}.", "")
        yield from (*_table(head, map(_classic_row, names)), "")


def _source(name: str) -> str:
    """The project that a recipe comes from, with a link to it."""
    reference = load_recipe(name).reference
    assert reference is not None  # a test holds that every shipped recipe has one
    return f"[{reference.title}]({reference.url})" if reference.url else reference.title


def _classic_row(name: str) -> tuple[str, ...]:
    recipe = load_recipe(name)
    link, _, network, epochs, reported = _recipe_row(name)
    how = f"{recipe.optimizer.name}, {recipe.schedule.name}"
    return link, network, how, ", ".join(augmentation_words(recipe.augmentation)) or "none", epochs, reported


def _recipe_row(name: str) -> tuple[str, ...]:
    recipe = load_recipe(name)
    reference = recipe.reference
    reported = f"{100 * reference.reported_accuracy:g} %" if reference and reference.reported_accuracy else ""
    source = f"[{reported}]({reference.url})" if reported and reference and reference.url else reported
    link = f"[{name}](../src/cifarlab/recipe/shipped/{name}.toml)"
    return link, recipe.description, f"`{recipe.model.name}`", f"{recipe.training.epochs:g}", source


def _sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """Title and JSON schema of the recipe itself and of each of its sections."""
    schema = Recipe.model_json_schema()
    yield "The recipe itself", schema
    for name, field in schema["properties"].items():
        reference = next((item["$ref"] for item in [field, *field.get("anyOf", [])] if "$ref" in item), None)
        if reference is not None:
            yield f"[{name}]", schema["$defs"][reference.rpartition("/")[2]]


def _section_lines(title: str, schema: dict[str, Any]) -> list[str]:
    rows = []
    for key, field in schema["properties"].items():
        if title.startswith("[") or not any("$ref" in item for item in [field, *field.get("anyOf", [])]):
            default = "needed" if key in schema.get("required", ()) else f"`{_value(field.get('default'))}`"
            rows.append((f"`{key}`", _allowed(field), default, field.get("description", "")))
    explanation = [] if title == "The recipe itself" else [schema.get("description", ""), ""]
    return [f"### {title}", "", *explanation, *_table(("Key", "Values", "Default", "What it is"), rows)]


def _allowed(schema: dict[str, Any]) -> str:
    """The values that a field takes, in words: {"type": "integer", "minimum": 1} is "whole number ≥ 1"."""
    if "anyOf" in schema:
        return " or ".join(_allowed(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{_value(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of: {_allowed(schema['items'])}"
    names = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": "unset"}
    word = schema.get("format") or names.get(schema["type"], "text")
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema and schema[key] < 2**31]
    return " ".join([word, ", ".join(bounds)]).strip()


def _value(value: object) -> str:
    """A value as TOML writes it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [[_cell(text) for text in row] for row in rows]
    return [
        f"| {' | '.join(titles)} |",
        f"|{'---|' * len(titles)}",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]


def _cell(text: str) -> str:
    """Text that stays in its cell and is not taken for HTML."""
    line = " ".join(text.replace("|", "\\|").split())
    return line if line.startswith("`") else re.sub(r"<(?=[a-zA-Z/!])", r"\\<", line)


if __name__ == "__main__":
    main()
