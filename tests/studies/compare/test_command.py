from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cifarlab.cli import main
from cifarlab.evaluation.statistics import wilson
from cifarlab.runs.folder import Run
from cifarlab.studies.compare.compare import compare
from cifarlab.studies.compare.export import to_markdown

MakeRun = Callable[..., Run]
SOURCES = Path(__file__).parents[2] / "src"


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main.run(["compare", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_runs_are_rows_and_every_pair_has_one_sentence(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run("a", range(60)), make_run("b", values={"optimizer": {"lr": 0.2}})
    output = printed(capsys, a.path, b.path)
    assert re.search(r"^run +parameters .* time +train accuracy .* test accuracy", output)
    intervals = r"\n +\(49\.7 to 69\.5\) .*\(75\.1 to 84\.1\)$"
    assert re.search(rf"^a +1,000 .* 60\.00 % .* 80\.00 %{intervals}", output, re.MULTILINE)
    assert re.search(r"^what differs +a +b\n\n\[optimizer\]\nlr +0\.1 +0\.2$", output, re.MULTILINE)
    claims = [line for line in output.splitlines() if line.startswith("•")]
    assert len(claims) == 1 and claims[0].startswith("• b is better than a by 20.00 points (")
    assert "the same 300 test images (McNemar's test)" in " ".join(output.split())


@pytest.mark.parametrize("width", [40, 80, 100, 120])
@pytest.mark.parametrize("num_runs", [2, 6])
def test_long_names_never_break_the_table(
    width: int, num_runs: int, make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"resnet18-with-cutout-and-{'a-very-' * 4}long-name-{number}" for number in range(num_runs)]
    values = [{"optimizer": {"lr": 0.1 * (number + 1)}} for number in range(num_runs)]
    runs = [make_run(name, range(9), values=each).path for name, each in zip(names, values, strict=True)]
    monkeypatch.setenv("COLUMNS", str(width))
    output = printed(capsys, *runs)
    assert max(map(len, output.splitlines())) <= width
    assert all(name in re.sub(r"-\s+", "-", output) for name in names)


def test_groups_show_their_seeds(make_group: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, make_group("a", [30, 33, 27]).path, make_group("b", [60, 66, 54, 63]).path)
    assert re.search(r"^a .*\b90\.00 ± 1\.00 %", output, re.MULTILINE)
    assert "Groups are compared over their seeds" in output and "McNemar" not in output


def test_a_pair_of_a_run_and_a_group_says_what_is_missing(
    make_run: MakeRun, make_group: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    output = printed(capsys, make_group("a", [30, 33]).path, make_run("b", range(100)).path)
    assert "• a and b: nothing can be concluded, as b was trained only once." in output


def test_runs_are_sorted_best_first(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(name, range(number)).path for name, number in (("b", 60), ("c", 0), ("a", 30))]

    def names(*words: str) -> list[str]:
        return [row["name"] for row in json.loads(printed(capsys, *runs, "--json", *words))["runs"]]

    assert names() == ["b", "c", "a"]
    assert names("--sort", "accuracy") == ["c", "a", "b"]
    assert names("--sort", "name") == ["a", "b", "c"]
    assert names("--sort", "calibration") == ["c", "a", "b"]  # the lowest error first
    assert names("--sort", "train") == ["b", "c", "a"]  # all alike: the order as given


def test_runs_without_the_number_come_last(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b")
    a.update_manifest(best_val_accuracy=None)
    assert [entry.label for entry in compare([a.path, b.path], sort="val").entries] == ["b", "a"]


def test_an_unknown_column_is_refused_with_the_nearest(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["compare", str(make_run("a").path), str(make_run("b").path), "--sort", "acuracy"]) == 2
    assert "Did you mean accuracy" in capsys.readouterr().err


def test_csv_has_a_row_per_run_with_exact_numbers(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run("a", range(60)), make_run("b", values={"optimizer": {"lr": 0.2}})]
    first, second = csv.DictReader(io.StringIO(printed(capsys, *(run.path for run in runs), "--csv")))
    assert (first["name"], first["num_seeds"], float(first["accuracy"])) == ("a", "1", 0.8)
    assert (float(first["accuracy_low"]), float(first["accuracy_high"])) == pytest.approx(wilson(240, 300))
    assert "accuracy_sd" not in first and "seconds_low" not in first
    assert (first["optimizer.lr"], second["optimizer.lr"]) == ("0.1", "0.2")


def test_csv_of_groups_has_deviations(make_group: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    groups = [make_group("a", [30, 33, 27]), make_group("b", [60, 66, 54])]
    first, _ = csv.DictReader(io.StringIO(printed(capsys, *(group.path for group in groups), "--csv")))
    assert float(first["accuracy_sd"]) == pytest.approx(0.01) and "accuracy_low" not in first


def test_markdown_has_tables_and_conclusions(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run("a", range(60)).path, make_run("b", values={"optimizer": {"lr": 0.2}}).path]
    lines = printed(capsys, *runs, "--markdown").splitlines()
    head = next(line for line in lines if line.startswith("| run |"))
    assert head.count("|") == lines[1].count("|") == lines[2].count("|")
    assert "80.00 % (75.1 to 84.1)" in lines[2] and "| optimizer.lr | 0.1 | 0.2 |" in lines
    assert any(line.startswith("- b is better than a by 20.00 points (") for line in lines)


def test_markdown_keeps_text_in_its_cell(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("same", root=tmp_path / part).path for part in ("a|b", "<i>")]
    text = to_markdown(compare(runs))
    assert "| a\\|b/same | 1,000 |" in text and "| &lt;i>/same | 1,000 |" in text


def test_two_formats_at_once_are_refused(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["compare", str(make_run("a").path), str(make_run("b").path), "--json", "--csv"]) == 2
    assert "give one of them" in capsys.readouterr().err


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
