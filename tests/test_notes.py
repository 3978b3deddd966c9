"""Notes appear in a script and a notebook as with the command, unless the program has decided where they go."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain_logging import unconfigured

import cifarlab
from cifarlab import api
from cifarlab.console import is_notebook
from cifarlab.notes import notes_shown

log = logging.getLogger("cifarlab")


@notes_shown()
def work() -> None:
    log.debug("a detail")
    log.info("a note about \x1b[31mred")
    for _ in range(2):
        log.warning("a warning")


@unconfigured()
def test_a_script_sees_notes_on_stderr_and_each_warning_once(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    assert capsys.readouterr() == ("", "a note about \\x1b[31mred\na warning\n")


@unconfigured()
def test_nothing_stays_configured(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    assert (log.handlers, log.level, log.propagate) == ([], logging.NOTSET, True)
    with pytest.raises(ZeroDivisionError), notes_shown():
        _ = 1 // 0
    assert (log.handlers, log.level, log.propagate) == ([], logging.NOTSET, True)


@unconfigured()
def test_a_function_that_calls_another_shows_each_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    with notes_shown():
        work()
        log.info("the end")
    assert capsys.readouterr().err.count("a note") == 1


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
@unconfigured()
def test_a_level_of_the_program_is_kept(level: int, capsys: pytest.CaptureFixture[str]) -> None:
    log.setLevel(level)
    work()
    err = capsys.readouterr().err
    wanted = (level <= logging.DEBUG, level <= logging.INFO, level <= logging.WARNING)
    assert tuple(text in err for text in ("a detail", "a note", "a warning")) == wanted
    assert log.level == level


@unconfigured()
def test_a_handler_of_the_program_gets_the_notes_and_stderr_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    mine = io.StringIO()
    log.addHandler(logging.StreamHandler(mine))
    log.setLevel(logging.INFO)
    work()
    assert mine.getvalue().startswith("a note") and capsys.readouterr().err == ""


@unconfigured()
def test_a_null_handler_is_silence(capsys: pytest.CaptureFixture[str]) -> None:
    log.addHandler(logging.NullHandler())
    work()
    assert capsys.readouterr() == ("", "")


@unconfigured()
def test_a_root_logger_that_shows_warnings_shows_no_notes(capsys: pytest.CaptureFixture[str]) -> None:
    mine = io.StringIO()
    logging.basicConfig(stream=mine)
    work()
    assert mine.getvalue() == "WARNING:cifarlab:a warning\n" * 2 and capsys.readouterr().err == ""


@unconfigured()
def test_a_root_logger_with_a_level_decides_about_notes_too(capsys: pytest.CaptureFixture[str]) -> None:
    mine = io.StringIO()
    logging.basicConfig(stream=mine, level=logging.INFO)
    work()
    assert mine.getvalue().startswith("INFO:cifarlab:a note") and capsys.readouterr().err == ""
    logging.getLogger().handlers = []
    logging.getLogger().setLevel(logging.ERROR)
    work()
    assert capsys.readouterr().err == ""


def as_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Replace stdout, as a kernel does, and return what a notebook shows of it."""
    stream: io.StringIO = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


@unconfigured()
def test_a_notebook_shows_notes_on_stdout(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    notebook = as_in_a_notebook(monkeypatch)
    assert is_notebook()
    work()
    assert notebook.getvalue().startswith("a note") and capfd.readouterr().err == ""


@unconfigured()
def test_a_handler_that_a_kernel_has_installed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = as_in_a_notebook(monkeypatch)
    theirs = io.StringIO()
    logging.basicConfig(stream=theirs)
    work()
    assert notebook.getvalue().startswith("a note") and theirs.getvalue() == ""  # else the warning would come twice
    logging.getLogger().setLevel(logging.INFO)
    work()
    assert theirs.getvalue().startswith("INFO:cifarlab:a note") and notebook.getvalue().count("a note") == 1


@pytest.mark.parametrize(
    "name", ["train", "resume", "evaluate", "predict", "explain", "report", "compare", "ablate", "lr_find"]
)
@unconfigured()
def test_every_function_of_a_command_shows_its_notes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def entered() -> None:
        raise InterruptedError

    monkeypatch.setattr("cifarlab.notes.is_notebook", entered)  # what notes_shown asks first
    with pytest.raises(InterruptedError):
        getattr(api, name)(*(["x"] * 2)[: 2 if name in ("predict", "explain", "ablate") else 1])


def test_a_plain_script_is_told_that_an_archive_is_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"):
            archive.writestr(f"train/{name}", buffer.getvalue())
    script = "import sys, cifarlab; cifarlab.load_images(sys.argv[1])"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(cifarlab.__file__).parents[1]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data.zip")],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Unpacking" in done.stderr and done.stdout == ""
