from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest
import typer

from cifarlab.cli.main import run as command
from cifarlab.cli.report import report
from cifarlab.errors import UsageError
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path, "r")
    run.write_recipe(load_recipe("simple-cnn"))
    run.update_manifest(status="training")
    run.write_metrics([])
    return run


def test_the_page_is_named_and_opened_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    assert command(["report", str(run.path)]) == 0
    assert capsys.readouterr().out.startswith(str(run.path / "report.html")) and not opened
    assert command(["report", str(run.path), "--open"]) == 0
    assert opened == [(run.path / "report.html").as_uri()]


def test_without_a_browser_the_file_is_still_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    assert command(["report", str(run.path), "--open"]) == 0
    assert "No browser was found" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        app([str(tmp_path)], standalone_mode=False)


def test_damage_ends_with_4_and_a_message_without_traceback(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "recipe.toml").unlink()
    assert command(["report", str(run.path)]) == 4
    error = capsys.readouterr().err
    assert "recipe.toml" in error and "Traceback" not in error
    assert (run.path / "report.html").exists()
