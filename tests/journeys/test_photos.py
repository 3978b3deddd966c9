"""Somebody with a folder of photos: how it is understood, a first training, and what it says of new pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import screen_after

TRAIN = ["train", "quick", "--data=photos", "--epochs=2", "--threads=1", "--device=cpu", "--fit=pad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 photos of two kinds, one brighter on top and one at the bottom, and a run that has learned them."""
    home = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(120):
        kind = ("meadow", "sky")[number % 2]
        pixels = rng.integers(0, 80, (48, 64, 3))
        pixels[24:] += 150 * (kind == "meadow")
        pixels[:24] += 150 * (kind == "sky")
        path = home / "photos" / kind / f"IMG_{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (home / "screen").write_text("\n".join(screen_after(TRAIN, 80, home)), "utf-8")
    return home


def test_the_folder_is_shown_as_it_is_understood_and_nothing_is_left(folder: Path) -> None:
    before = sorted(folder.iterdir())
    text = "\n".join(screen_after(["data", "show", "photos"], 80, folder))
    assert re.search(r"meadow +\d+ +\d+\n", text) and "64" in text
    assert sorted(folder.iterdir()) == before


def test_few_photos_get_the_hint_to_fine_tune(folder: Path) -> None:
    screen = (folder / "screen").read_text("utf-8")
    assert re.search(r"^\d\d images to learn from: a network that has seen others before", screen, re.MULTILINE)
    assert "\n  cifarlab train resnet18-finetune --data photos --set data.fit=pad\n" in screen
    assert "test (drawn by cifarlab): opened once" in " ".join(screen.split())


def test_new_pictures_are_named_with_a_probability(folder: Path) -> None:
    picture = next((folder / "photos/sky").iterdir())
    lines = screen_after(["predict", "runs/quick", str(picture.relative_to(folder)), "--top", "2"], 80, folder)
    assert re.match(rf"photos/sky/{picture.name} +\d+\.\d\d %  (sky|meadow)", lines[0])
    assert len(lines) == 2


def test_an_explanation_is_a_page(folder: Path) -> None:
    picture = next((folder / "photos/sky").iterdir()).relative_to(folder)
    lines = screen_after(["explain", "runs/quick", str(picture)], 80, folder)
    assert any("explanations" in line and line.endswith(".html") for line in lines)
