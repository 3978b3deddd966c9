"""Text from files is data: it is shown, and commands nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from cifarlab.cli import main
from cifarlab.cli.output import Output, echo
from cifarlab.errors import DataError
from cifarlab.notes import NoteFormatter, Once

HOSTILE = "[bold]cat[/h] :cat: \x1b[31m\u202egpj"
SHOWN = r"[bold]cat[/h] :cat: \x1b[31m\u202egpj"


def test_n56_a_table_shows_its_cells_titles_and_headers_character_by_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table(title=HOSTILE, title_justify="left", box=None)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    output = Output()
    output.print(table)
    output.print(f"in {HOSTILE}\nnext line")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [SHOWN, SHOWN, SHOWN, f"in {SHOWN}", "next line"]


def test_n56_a_line_keeps_its_breaks_and_nothing_else_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo(f"one {HOSTILE}\ntwo\r")
    echo("wrong \x07", err=True)
    assert capsys.readouterr() == (f"one {SHOWN}\ntwo\\r\n", "wrong \\x07\n")


def test_n56_notes_are_escaped_and_keep_their_lines() -> None:
    record = logging.makeLogRecord({"msg": "%s\nrest", "args": (HOSTILE,)})
    assert NoteFormatter("%(message)s").format(record) == f"{SHOWN}\nrest"


def test_n56_an_error_shows_the_name_it_complains_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError(f"{HOSTILE} is damaged.")

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["train"]) == 3
    assert capsys.readouterr().err == f"error: {SHOWN} is damaged.\n"


def test_n56_a_terminal_without_the_letters_gets_escapes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "a"\ndescription = "café"\n[model]\nname = "resnet18"\n', "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cifarlab", "recipes", str(recipe)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'description = "caf\\xe9"' in done.stdout


def test_n24_a_warning_is_said_once_and_a_note_as_often_as_it_comes() -> None:
    def passes(level: int, text: str, *values: object) -> bool:
        return once.filter(logging.LogRecord("cifarlab", level, "", 0, text, values, None))

    once = Once()
    assert passes(logging.WARNING, "%s is odd", "a") and passes(logging.WARNING, "%s is odd", "b")
    assert not passes(logging.WARNING, "a is odd")
    assert passes(logging.INFO, "epoch") and passes(logging.INFO, "epoch")


def test_a_character_that_the_terminal_lacks_is_written_plainly(tmp_path: Path) -> None:
    """In cp1252, which Windows has for pipes in Western Europe; a character of unknown meaning becomes an escape."""
    program = (
        "import sys; from cifarlab import __main__; sys.argv = ['cifarlab', '--version']\n"
        "try: __main__.main()\n"
        "finally: print('█· 50.1 ± 2 %, 3×3, −1, café, 猫'); print('é猫…', file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert done.stdout.decode("cp1252").splitlines()[1] == "#· 50.1 ± 2 %, 3×3, -1, café, \\u732b"
    assert done.stderr.decode("cp1252").splitlines() == ["é\\u732b…"]
