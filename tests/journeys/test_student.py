"""A student's first hour: which recipes there are, two trainings, which is better, and what to look at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from terminal import screen_after

FAST = ["--data=sample", "--set=training.batch_size=540", "--set=data.image_size=16", "--threads=1", "--device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the student works, with two runs: the second learns at a rate of its own."""
    home = tmp_path_factory.mktemp("student")
    screens = [
        screen_after(["train", "simple-cnn", "--epochs=3", *FAST], 80, home),
        screen_after(["train", "simple-cnn", "--epochs=1", "--set=optimizer.lr=1e-6", *FAST], 80, home),
    ]
    for number, screen in enumerate(screens):
        (home / f"screen-{number}").write_text("\n".join(screen), "utf-8")
    return home


def test_the_recipes_say_where_to_start(tmp_path: Path) -> None:
    lines = screen_after(["recipes"], 80, tmp_path)
    assert lines.index("Start here") < next(n for n, line in enumerate(lines) if line.startswith("quick "))
    assert any(re.match(r"simple-cnn +20 +75\.7 % \(\d\d\.\d to \d\d\.\d\)", line) for line in lines)


def test_a_training_says_what_it_does_and_what_to_do_next(folder: Path) -> None:
    screen = (folder / "screen-0").read_text("utf-8")
    assert re.search(r"epoch 3/3  loss \d\.\d{3}  train \d+\.\d %  val \d+\.\d %  \(\d+\.\d to \d+\.\d\)", screen)
    assert re.search(r"test +\d+\.\d % \(\d+\.\d to \d+\.\d\)  95 % interval", screen)
    assert re.search("\n  cifarlab report runs/simple-cnn --open +# every number and picture\n", screen)
    address = (folder / "runs/simple-cnn/report.html").as_uri()
    assert screen.replace("\n", "").endswith(f"Report: {address}")


def test_a_rate_that_learns_nothing_is_said(folder: Path) -> None:
    screen = " ".join((folder / "screen-1").read_text("utf-8").split())
    assert "No better than guessing, as far as 972 test images show: " in screen
    assert "Try another optimizer.lr (cifarlab lr-find runs/simple-cnn-2/recipe.toml suggests one)" in screen


def test_one_sentence_says_which_run_is_better(folder: Path) -> None:
    text = " ".join(" ".join(screen_after(["compare", "runs/simple-cnn", "runs/simple-cnn-2"], 80, folder)).split())
    assert re.search(r"• simple-cnn is better than simple-cnn-2 by \d+\.\d\d points \(.*p < 0\.0001\)", text)
    assert "lr 0.001 1e-06" in text  # what differs


def test_the_report_can_be_drawn_again(folder: Path) -> None:
    assert screen_after(["report", "runs/simple-cnn"], 80, folder)[-1].startswith("runs/simple-cnn/report.html  (")
