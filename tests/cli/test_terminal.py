"""What a training looks like in terminals of several widths, and what it says before torch is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import screen_after

TINY = [
    "train",
    "simple-cnn",
    "--data=sample",
    "--set=training.batch_size=540",
    "--set=data.image_size=16",
    "--epochs=2",
    "--set=runtime.precision=fp32",
    "--device=cpu",
    "--threads=1",
]
EPOCHS = {
    40: r"epoch {}/2  loss \d\.\d{{3}}  val \d+\.\d %(  \d s)?",
    80: r"epoch {}/2  loss \d\.\d{{3}}  train \d+\.\d %  val \d+\.\d %  \(\d+\.\d to \d+\.\d\)  \d+ s",
    120: r"epoch {}/2  loss \d\.\d{{3}}  train \d+\.\d %  val loss \d\.\d{{3}}  val \d+\.\d %  \(\d+\.\d to \d+\.\d\)  "
    r"[\d,]+ images/s  \d+ s",
}


@pytest.mark.parametrize("columns", EPOCHS)
def test_one_line_per_epoch_and_no_remains_of_a_progress_bar(columns: int, tmp_path: Path) -> None:
    lines = [line for line in screen_after(TINY, columns, tmp_path) if line]
    words = " ".join(" ".join(lines).split())
    assert lines[0] == "simple-cnn: simple-cnn, 2 epochs, seed 0"
    assert re.search(r" run runs/simple-cnn network simple-cnn, [\d,]+ parameters machine ", words)
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) == 2
    for number, line in enumerate(epochs, 1):
        assert re.fullmatch(EPOCHS[columns].format(number), line)
    assert not [line for line in lines if "━" in line or "Drawing" in line]
    best = next(line for line in lines if line.startswith("best validation"))
    assert best.endswith("at epoch 2") or columns == 40
    report = (tmp_path / "runs/simple-cnn/report.html").as_uri()
    assert "".join(lines).endswith(f"Report: {report}")


def test_the_header_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from cifarlab.cli import main; main.run(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *TINY], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.startswith(
        "simple-cnn: simple-cnn, 2 epochs, seed 0\n"
        "data     sample, 10 classes, bundled with cifarlab\n"
        "split    train 2,700; val 300, held out of train; test: opened once, at the end\n"
        "run      runs/simple-cnn\n"
        "error: ModuleNotFoundError: "
    )
