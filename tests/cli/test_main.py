"""What all commands share: help, version, and errors as lines and exit codes."""

from __future__ import annotations

import errno
import os
import sys
import threading

import pytest
import torch

from cifarlab.cli import main
from cifarlab.errors import DataError, InterruptedRunError, PartialError
from cifarlab.version import VERSION


def test_the_version_is_printed_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr() == (f"cifarlab {VERSION}\n", "")


@pytest.mark.parametrize("words", [[], ["--help"], ["--debug"]])
def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main.run(words) == 0
    out, err = capsys.readouterr()
    assert all(command in out for command in ("train", "evaluate", "predict", "models", "recipes", "data"))
    assert err == ""


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["trian"], "cifarlab"),
        (["train", "--sed", "1"], "cifarlab train"),
        (["train", "--seed", "x"], "cifarlab train"),
        (["recipes", "a", "b"], "cifarlab recipes"),
    ],
)
def test_wrong_words_are_a_usage_error(capsys: pytest.CaptureFixture[str], words: list[str], command: str) -> None:
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith(f"See: {command} --help\n")
    assert "Traceback" not in err


def test_an_unknown_language_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--lang", "tlh", "recipes"]) == 2
    assert capsys.readouterr().err == "error: Unknown language 'tlh'. Known: en, zh_CN.\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("bad file"), 3, "error: bad file\n"),
        (PartialError("2 of 9 failed"), 8, "2 of 9 failed\n"),
        (InterruptedRunError("saved", 15), 143, "error: saved\n"),
        (KeyboardInterrupt(), 130, "error: Interrupted.\n"),
    ],
)
def test_an_error_becomes_its_lines_and_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["train"]) == code
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory"),
    ],
)
def test_n55_memory_that_runs_out_anywhere_is_the_machines_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["train"]) == 5
    assert "Out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 5), (errno.EIO, 5), (errno.EMFILE, 5), (errno.ENOTDIR, 1)])
def test_n65_a_disk_that_fails_anywhere_is_the_machines_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["train"]) == code
    err = capsys.readouterr().err
    assert os.strerror(number) in err and "some/file" in err
    assert ("a bug in cifarlab" in err) == (code == 1)


def test_n65_a_thread_that_met_a_full_disk_shows_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        raise error

    assert main.run(["recipes"]) == 0  # any command sets the hook
    try:
        for error in (OSError(errno.ENOSPC, "full"), LookupError("ours")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
    finally:
        threading.excepthook = threading.__excepthook__
    err = capfd.readouterr().err
    assert "full" not in err and "LookupError: ours" in err


def test_a_traceback_is_shown_on_demand_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LookupError("ours")

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["train"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main.run(["train", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "LookupError: ours" in err


def test_a_reader_that_has_gone_is_no_mistake_on_windows(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """There a pipe without a reader is an invalid argument; elsewhere that would be a mistake of ours."""

    def refuse(**_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr(main, "app", lambda *_, **__: refuse())
    assert main.run(["recipes"]) == 1 and "This is a bug" in capfd.readouterr().err
    monkeypatch.setattr(sys, "platform", "win32")
    assert main.run(["recipes"]) == 0 and not capfd.readouterr().err
