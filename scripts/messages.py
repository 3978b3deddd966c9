"""Bring the catalogues of messages up to date with the code: `make messages`, after a message has changed.

Every message that the code marks, see `marked`, or that stands in the help of commands and in recipes, is added to each
locale/<language>/LC_MESSAGES/cifarlab.po, those that are gone are removed, and the .mo files are written. What has no
translation yet is counted; a test refuses it.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from cifarlab.cli.command import EXAMPLES, texts
from cifarlab.cli.main import app
from cifarlab.console import counted
from cifarlab.errors import unknown_message
from cifarlab.recipe.parts import SECTIONS
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_fields, recipe_names

ROOT = Path(__file__).parents[1] / "src" / "cifarlab"
WORDS = {"tr": slice(1), "translatable": slice(1), "ntr": slice(2), "count": slice(1, 3), "unknown": slice(1)}
"""The functions that take messages, and which of their arguments those are."""


def main() -> None:
    """Update every catalogue."""
    for path in sorted((ROOT / "locale").glob("*/LC_MESSAGES/cifarlab.po")):
        catalogue = updated(path)
        path.write_bytes(as_po(catalogue))
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalogue)
        missing = [message.id for message in catalogue if message.id and not is_translated(message.string)]
        print(f"{path.parts[-3]}: {len(catalogue)} messages, {len(missing)} without a translation")


def updated(path: Path) -> Catalog:
    """A catalogue with exactly the messages of the code."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parts[-3], domain="cifarlab")
    catalogue.update(messages(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def messages() -> Catalog:
    """Every message of the code, without places, which would change with every line."""
    found = Catalog(domain="cifarlab")
    for path in sorted(ROOT.rglob("*.py")):
        for message in marked(path.read_text("utf-8")):
            found.add(message)
    for message in (*of_help(), *of_recipes()):
        found.add(message)
    return found


def of_help() -> Iterator[str]:
    """The help texts of all commands, arguments and options, and what the examples are for."""
    yield from (item.help for item in texts(typer.main.get_command(app)))
    yield from (purpose for examples in EXAMPLES.values() for purpose in examples.values())


def of_recipes() -> Iterator[str]:
    """What the shipped recipes are and how they differ from their sources, and what fields and sections mean."""
    recipes = [load_recipe(name) for name in recipe_names()]
    yield from (recipe.description for recipe in recipes)
    yield from (recipe.reference.differences for recipe in recipes if recipe.reference and recipe.reference.differences)
    fields = [explanation for _, explanation in recipe_fields().values()]
    sections = [Recipe.model_fields[name].default_factory.__doc__ or "" for name in SECTIONS]  # classes
    yield from (" ".join(text.split()) for text in (*fields, *sections))


def marked(code: str) -> Iterator[str | tuple[str, str]]:
    """The messages of a file: what `tr`, `ntr` and `translatable` are called with, the nouns of `count` and the
    kinds of `unknown`.

    Names are passed over, since what they stand for is marked where they are defined. Raises ValueError for anything
    else that is not written out: no catalogue would have it.
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORDS:
            words = node.args[WORDS[node.func.id]]
            if words and not isinstance(words[0], ast.Name | ast.Attribute | ast.Subscript | ast.Starred):
                yield _message(node.func.id, [ast.literal_eval(each) for each in words])


def _message(function: str, words: list[str]) -> str | tuple[str, str]:
    if function == "count":
        return counted(*words)
    if function == "unknown":
        return unknown_message(*words)
    return (words[0], words[1]) if function == "ntr" else words[0]


def as_po(catalogue: Catalog) -> bytes:
    """The text of a .po file, without dates, so that nothing changes when nothing has changed."""
    file = io.BytesIO()
    write_po(file, catalogue, width=118, sort_output=True, omit_header=False)
    lines = file.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b'"POT-Creation', b'"PO-Revision', b'"Generated')))


def is_translated(string: Any) -> bool:
    """Whether a message has all its translations."""
    return bool(string) and all(string if isinstance(string, tuple) else (string,))


if __name__ == "__main__":
    main()
