from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cifarlab.cli import main
from cifarlab.runs.folder import Run

MakeRun = Callable[..., Run]
SOURCES = Path(__file__).parents[2] / "src"


def test_a_table_and_one_sentence_per_pair(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run("a", range(60)), make_run("b", values={"optimizer": {"lr": 0.2}})
    assert main.run(["compare", str(a.path), str(b.path)]) == 0
    output = capsys.readouterr().out
    for text in ("test accuracy", "80.00 %", "100.00 %", "optimizer.lr", "b is better than a by 20.00 points"):
        assert text in output


def test_json_and_page(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run("a", range(60)), make_run("b")
    page = tmp_path / "deep" / "page.html"
    assert main.run(["compare", str(a.path), str(b.path), "--json", "--html", str(page)]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["is_different"]
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("words", [["a"], ["a", "gone"], ["a", "b", "--split", "train"]])
def test_what_cannot_be_compared_ends_with_2(
    words: list[str], make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_run("a").path.parent)
    make_run("b")
    assert main.run(["compare", *words]) == 2
    assert 1 <= len(capsys.readouterr().err.strip().splitlines()) <= 3


def test_comparing_loads_no_torch(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [str(make_run(name, pictures=True).path) for name in "ab"]
    program = (
        "import sys\nfrom cifarlab.cli.main import run\n"
        f"assert run(['compare', *{runs}, '--html', {str(tmp_path / 'p.html')!r}]) == 0\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
