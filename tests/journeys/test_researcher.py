"""A researcher: several seeds, a table for a paper, the parts of a recipe, and numbers for a script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import screen_after

FAST = ["--data=sample", "--set=training.batch_size=540", "--set=data.image_size=16", "--threads=1", "--device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a recipe."""
    home = tmp_path_factory.mktemp("researcher")
    screen = screen_after(["train", "simple-cnn", "--epochs=1", "--seeds=2", *FAST], 100, home)
    (home / "screen").write_text("\n".join(screen), "utf-8")
    return home


def test_seeds_have_a_mean_a_deviation_and_n(folder: Path) -> None:
    screen = (folder / "screen").read_text("utf-8")
    assert "seed 1: run 2 of 2, in runs/simple-cnn-seeds" in screen
    assert re.search(r"test accuracy +\d+\.\d\d ± \d+\.\d\d %  \(mean ± sd, n = 2\)", screen)
    assert re.search(r"\nruns +seed-0, seed-1\n", screen)


def test_a_table_for_a_paper(folder: Path) -> None:
    words = ["compare", "runs/simple-cnn-seeds/seed-0", "runs/simple-cnn-seeds/seed-1", "--markdown"]
    lines = screen_after(words, 200, folder)
    assert lines[0].startswith("| run | parameters |") and set(lines[1]) <= set("|-: ")
    assert lines[2].startswith("| seed-0 |") and lines[3].startswith("| seed-1 |")


def test_the_parts_of_a_recipe_are_listed(tmp_path: Path) -> None:
    assert any(line.startswith("augmentation.flip ") for line in screen_after(["ablate", "quick"], 100, tmp_path))


def test_a_script_reads_the_accuracies_first(folder: Path) -> None:
    words = ["train", "simple-cnn", "--epochs=0.2", "--no-report", "--json", *FAST]
    done = subprocess.run(
        [sys.executable, "-m", "cifarlab", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert list(found)[:3] == ["test_accuracy", "test_accuracy_interval", "val_accuracy"]
    assert found["test_accuracy_interval"][0] < found["test_accuracy"] < found["test_accuracy_interval"][1]
    assert found["report"] is None and found["run"] == "runs/simple-cnn"
