"""The benchmark on a GPU, as far as it can be tried without one: pieces that continue, the table, one part in small."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gpu
from cifarlab.errors import DataError, MachineError
from gpu_parts import machine
from gpu_parts.classics import run_command
from gpu_parts.pieces import Budget, Piece, Record, Store, run_pieces
from gpu_parts.table import number, table

HERE = {"device": "a card", "torch": "2"}


def piece(key: str, done: list[str], error: Exception | None = None) -> Piece:
    def work(_: float) -> list[Record]:
        done.append(key)
        if error:
            raise error
        return [Record(key, "group", {"seconds": float(len(done))})]

    return Piece(key, work)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    done: list[str] = []
    pieces = [piece("one", done), piece("two", done)]
    assert run_pieces(pieces[:1], Store(tmp_path / "part-a.json", HERE), Budget(60)) == []
    assert run_pieces(pieces, Store(tmp_path / "part-a.json", HERE), Budget(60)) == []
    assert done == ["one", "two"]
    assert list(Store(tmp_path / "part-a.json", HERE).records) == ["one", "two"]


def test_what_finds_no_time_is_left_and_said(tmp_path: Path) -> None:
    done: list[str] = []
    assert run_pieces([piece("one", done)], Store(tmp_path / "part-a.json", HERE), Budget(-1)) == ["one"]
    assert done == []


@pytest.mark.parametrize("error", [TimeoutError("no time"), MachineError("no card")])
def test_a_piece_that_does_not_end_stops_no_other(tmp_path: Path, error: Exception) -> None:
    done: list[str] = []
    store = Store(tmp_path / "part-a.json", HERE)
    assert run_pieces([piece("one", done, error), piece("two", done)], store, Budget(60)) == ["one"]
    assert done == ["one", "two"]


def test_a_training_that_runs_out_of_time_is_stopped_kindly() -> None:
    with pytest.raises(TimeoutError, match="resnet18 has saved its state"):
        run_command([sys.executable, "-c", "import time; time.sleep(1000)"], "resnet18", 0.01)
    with pytest.raises(MachineError, match="resnet18 failed with exit code 3"):
        run_command([sys.executable, "-c", "raise SystemExit(3)"], "resnet18", 1000)


def test_results_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    Store(tmp_path / "part-a.json", HERE).add([Record("one", "group", {"seconds": 1.0})])
    with pytest.raises(DataError, match="another machine"):
        Store(tmp_path / "part-a.json", {**HERE, "torch": "3"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}, "records": [{"key": "one"}]}'])
def test_a_file_that_is_none_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "part-a.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="holds no results"):
        Store(tmp_path / "part-a.json", HERE)


def test_the_table_has_means_deviations_and_counts(tmp_path: Path) -> None:
    store = Store(tmp_path / "part-a.json", HERE)
    store.add([Record(str(seconds), "speed", {"seconds": seconds, "accuracy": 0.94}) for seconds in (1.0, 3.0)])
    store.add([Record("cold", "speed, first run", {"seconds": 20.0})])
    assert table(tmp_path).splitlines() == [
        "Part a: device a card, torch 2",
        "",
        "| what | measure | n | mean | sd |",
        "|---|---|---:|---:|---:|",
        "| speed | seconds | 2 | 2 | 1.414 |",
        "| speed | accuracy | 2 | 94.00 % | 0.00 % |",
        "| speed, first run | seconds | 1 | 20 | - |",
    ]
    assert number("images/s", 12345.6) == "12,346"


def test_the_floor_in_small_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gpu.py", "--tiny", "--part", "floor", "--recipes", "quick", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    assert exit_code() == 0
    assert "quick/floor" in capsys.readouterr().out
    assert exit_code() == 0
    assert "quick/floor" not in capsys.readouterr().out, "it was done"
    monkeypatch.setattr(sys, "argv", [*words, "--table"])
    assert exit_code() == 0
    assert "| quick | floor seconds | 1 |" in capsys.readouterr().out


def exit_code() -> object:
    with pytest.raises(SystemExit) as caught:
        gpu.main()
    return caught.value.code


def test_without_a_gpu_it_says_how_to_try(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--part", "a"])
    assert exit_code() == MachineError.exit_code
    assert "--tiny" in capsys.readouterr().err


def test_the_wheels_that_have_to_be_at_hand() -> None:
    names = [line.partition("==")[0] for line in machine.wheels()]
    assert {"torch", "torchvision", "numpy", "pydantic-core"} <= {name.lower().replace("_", "-") for name in names}
    assert len(names) == len(set(names))
