"""The example runs, learns, and stays small enough to read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FILE = Path(__file__).parents[2] / "examples" / "train_by_hand.py"


def test_the_loop_learns_two_colours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for split, num_images in (("train", 40), ("test", 8)):
        for level, name in ((60, "dark"), (190, "light")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = random.normal(level, 30, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    spec = importlib.util.spec_from_file_location("train_by_hand", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    words = ["--data", str(tmp_path), "--network", "speednet", "--width", "0.125", "--epochs", "8"]
    assert module.main(words) == 1.0
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: 100.0% (95 % interval 80.6% to 100.0%) of 16")
