"""Whole stories on Windows and macOS, as far as Linux can stand in for them: see `other_system`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from other_system import run
from PIL import Image

on_windows = pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the stand-in is for Linux")
on_macos = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is for Linux")

TINY = """
    fields = ("model.width=0.0625", "training.batch_size=512", "validation.every=1", "evaluation.tta=none",
              "runtime.kernels=off", "runtime.precision=fp32")
    SET = [word for field in fields for word in ("--set", field)]
"""


def write_pictures(root: Path, *classes: str, number: int = 12) -> None:
    """Pictures in a folder per class, each of one colour with noise."""
    generator = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(number):
            pixels = generator.integers(0, 60, (40, 50, 3), np.uint8) + np.uint8(90 * place)
            Image.fromarray(pixels).save(root / name / f"{index}.png")


@on_windows
def test_a_run_on_windows_is_killed_continued_and_read(tmp_path: Path) -> None:
    begun = run(
        "windows",
        f"""{TINY}
    print(command("data", "show", "sample").split()[0], flush=True)
    die_after_checkpoints(1)
    command("train", "quick", "--data", "sample", "--epochs", "2", *SET)
    """,
        tmp_path,
    )
    assert begun == "sample:\n"
    continued = run(
        "windows",
        f"""{TINY}
    print(command("train", "--resume", "runs/quick"))
    from pathlib import Path
    from PIL import Image
    Image.new("RGB", (40, 30), "red").save("a red one.png")
    print(command("predict", "runs/quick", "a red one.png"))
    print(command("evaluate", "runs/quick"))
    print(command("explain", "runs/quick", "a red one.png", "--out", "explained"))
    command("train", "quick", "--data", "sample", "--epochs", "1", "--seed", "1", "--no-report", *SET)
    print(command("compare", "runs/quick", "runs/quick-2", "--html", "two.html"))
    from cifarlab.pages.board import board
    with board([Path("runs/quick")], root=Path("runs"), port=0) as address:
        print(address.startswith("http://localhost"))
    """,
        tmp_path,
    )
    assert "all epochs done" in continued and "+-" not in continued
    assert "#" in continued, "cp1252 has no bars"
    assert "True\n" in continued
    page = tmp_path / "runs" / "quick" / "report.html"
    assert b"\r\n" not in page.read_bytes()
    assert (tmp_path / "explained" / "explanations.html").exists() and (tmp_path / "two.html").exists()


@on_windows
def test_pictures_on_windows(tmp_path: Path) -> None:
    """Decoded ones stay while they are mapped; names that it does not have are refused, but for classes in a list."""
    write_pictures(tmp_path / "photos", "猫", "dog")
    write_pictures(tmp_path / "listed", "a", "b")
    rows = [f"{name}/{index}.png,{label}" for name, label in (("a", "con"), ("b", "b:*?")) for index in range(12)]
    (tmp_path / "listed" / "list.csv").write_text("\n".join(["image,label", *rows]), "utf-8")
    shown = run(
        "windows",
        f"""{TINY}
    import pytest, tarfile, cifarlab
    from cifarlab.errors import DataError, UsageError
    from cifarlab.images.sources import cache_dir
    print(command("data", "show", "photos"))
    kept = cache_dir() / "decoded"
    images = cifarlab.load_images("photos")
    print(type(images.pixels.base).__name__, len(images))
    print(command("data", "cache", "--clear"))
    print(*(path.suffix for path in kept.iterdir()))
    del images
    print(len(cifarlab.load_images("photos")))
    print(command("data", "cache", "--clear"))
    print("left:", *kept.iterdir())
    with tarfile.open("linux.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("aux/1.png"))
    with pytest.raises(DataError, match="a file called 'aux/1.png"):
        cifarlab.load_images("linux.tar")
    for name in ("aux", "con.1", "run."):
        with pytest.raises(UsageError, match="cannot be called"):
            cifarlab.Run.create("runs", name)
    print(command("train", "quick", "--data", "listed/list.csv", "--epochs", "1", *SET))
    """,
        tmp_path,
        encoding="cp936",
    )
    assert "猫" in shown and "mmap 20\n" in shown
    assert "\n.u8\n" in shown and "left:\n" in shown
    assert "con " in shown and "b:*?" in shown
    assert (tmp_path / "runs" / "quick" / "report.html").exists()


@on_macos
def test_names_on_macos_are_stored_in_another_form_and_found_in_any_case(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", "Käfer", "dog")  # with one character for the ä
    shown = run(
        "macos",
        """
    import os, shutil, tarfile, pytest, cifarlab
    from pathlib import Path
    from cifarlab.errors import DataError
    from cifarlab.files import write_atomic
    from cifarlab.images.sources import data_spec, open_source

    write_atomic(Path("file"), "x")
    print(len(flushed))
    shutil.copytree("photos", "copied")  # as a Mac stores it
    print(ascii([name for name in os.listdir("copied") if name != "dog"]))
    there, here = (cifarlab.load_images(name) for name in ("photos", "copied"))
    print(there.fingerprint == here.fingerprint, there.names == here.names, ascii(here.class_names))
    names = [f"{folder}/{index}.png,{folder}" for folder in ("Käfer", "dog") for index in range(12)]
    Path("copied/list.csv").write_text("\\n".join(["image,label", *names]), "utf-8")
    print(open_source(data_spec("copied/list.csv")).understanding.left_out)
    with tarfile.open("cases.tar", "w") as tar:
        tar.add("photos/dog/1.png", "Dog/1.png")
        tar.add("photos/dog/2.png", "dog/2.png")
    with pytest.raises(DataError, match="capital letters"):
        cifarlab.load_images("cases.tar")
    """,
        tmp_path,
        encoding="utf-8",
    )
    lines = shown.splitlines()
    assert lines[0] == "2", "the file and its folder"
    assert lines[1] == r"['Ka\u0308fer']"
    assert lines[2] == r"True True ('K\xe4fer', 'dog')"
    assert lines[3] == "{}"
