from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch import nn

from cifarlab.cli.predict import predict
from cifarlab.errors import CheckpointError, DataError, PartialError, UsageError
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.schema import ModelSpec

NAMES = ("red", "green", "blue")


class Brightest(nn.Module):
    """Each channel's mean is the logit of its class, so that the answers are known."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.mean((2, 3))


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(predict)


def call(*words: str | Path) -> None:
    app([*map(str, words), "--device", "cpu"], standalone_mode=False)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(MODELS, "brightest", Model(lambda spec, num_classes, size: Brightest(), source="here"))
    card = untrained_card(ModelSpec(name="brightest"), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, Brightest().state_dict(), card)
    return path


def picture(path: Path, colour: str, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_files_of_all_kinds_are_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suffixes = ("png", "jpg", "webp", "bmp", "gif")
    files = [picture(tmp_path / f"a.{suffix}", "red", (40, 23)) for suffix in suffixes]
    call(model, *files)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(file) for file in files]
    assert all(line.endswith("%  red") for line in lines)


def test_json_has_path_label_probability_and_top(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = picture(tmp_path / "b.png", "blue")
    call(model.parent, file, "--json", "--top", "2")  # the run folder serves as well as the file in it
    found = json.loads(capsys.readouterr().out)
    [prediction] = found["predictions"]
    wanted = np.exp(10) / (np.exp(10) + 2)
    assert (prediction["path"], prediction["label"]) == (str(file), "blue")
    assert prediction["probability"] == pytest.approx(wanted)
    assert [entry["label"] for entry in prediction["top"]] == ["blue", "red"]
    assert found["failed"] == []


def test_top_names_more_classes_below_each_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(model, picture(tmp_path / "g.png", "lime"), "--top", "9")
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["green", "red", "blue"]


def test_folders_are_searched_and_sorted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures"
    for name in ("b.PNG", "a/z.jpg", "a/c.png", ".hidden.png"):
        picture(folder / name, "red")
    (folder / "notes.txt").write_text("no picture")
    (folder / "loop").symlink_to(folder)
    call(model, folder, "--json")
    paths = [each["path"] for each in json.loads(capsys.readouterr().out)["predictions"]]
    assert paths == [str(folder / name) for name in ("a/c.png", "a/z.jpg", "b.PNG")]


def test_n20_a_folder_gives_the_files_that_training_takes_in_the_order_of_numbers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pictures"
    for name in ("10.png", "2.jfif", "1.tif", "b2/1.png", "b10/1.png", "B3/1.jpe", ".hidden/1.png", "@eaDir/1.png"):
        picture(folder / name.replace(".jfif", ".jpg"), "red").rename(folder / name)
    (folder / "notes.txt").touch()
    with caplog.at_level("INFO", logger="cifarlab"):
        call(model, folder, "--json")
    found = json.loads(capsys.readouterr().out)
    order = ["1.tif", "2.jfif", "10.png", "b2/1.png", "B3/1.jpe", "b10/1.png"]
    assert [each["path"] for each in found["predictions"]] == [str(folder / name) for name in order]
    assert "hidden: 1 (.hidden)" in caplog.text and "not pictures: 1 (notes.txt)" in caplog.text


def test_n20_what_cannot_be_read_is_listed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures"
    picture(folder / "1.png", "red")
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    picture(tmp_path / "elsewhere.png", "red")
    (folder / "2.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(PartialError, match=r"(?s)IMG_1.HEIC: HEIC.*not read.*2.png: leads out of the folder"):
        call(model, folder)
    capsys.readouterr()
    (folder / "IMG_1.HEIC").unlink()
    call(model, folder, "--follow-links", "--json")
    assert len(json.loads(capsys.readouterr().out)["predictions"]) == 2
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "IMG_1.HEIC").touch()
    with pytest.raises(DataError, match="None of the images could be read"):
        call(model, tmp_path / "phone")


@pytest.mark.parametrize("path", ["x" * 5000, "/dev/zero"])
def test_n27_paths_that_are_no_pictures(model: Path, path: str) -> None:
    with pytest.raises(DataError, match="None of the images could be read"):
        call(model, path)


def test_n27_a_pipe_does_not_wait(model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        call(model, tmp_path / "pipe.png")


def test_a_file_that_is_given_may_have_any_name(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "x.png", "red").rename(tmp_path / "x.txt")
    call(model, tmp_path / "x.txt")
    assert "red" in capsys.readouterr().out


def test_s38_bad_files_are_listed_and_the_others_answered(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = ["red", "lime", "blue"]
    files = [picture(tmp_path / f"{number:04}.png", colours[number % 3]) for number in range(1200)]
    for number in (0, 600, 1199):
        files[number].write_bytes(b"")
    with pytest.raises(PartialError, match=r"(?s)3 of the images.*0000\.png: .*0600\.png: .*1199\.png: ") as caught:
        call(model, *files, "--json")
    assert caught.value.exit_code == 8
    found = json.loads(capsys.readouterr().out)
    good = [file for number, file in enumerate(files) if number not in (0, 600, 1199)]
    assert [each["path"] for each in found["predictions"]] == [str(file) for file in good]
    labels = {"red": "red", "lime": "green", "blue": "blue"}
    wanted = [labels[colours[int(file.stem) % 3]] for file in good]
    assert [each["label"] for each in found["predictions"]] == wanted
    assert len(found["failed"]) == 3


def test_s38_a_missing_or_forbidden_file_is_one_bad_file(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PartialError, match="no such file"):
        call(model, picture(tmp_path / "a.png", "red"), tmp_path / "missing.png")


def test_s38_a_long_list_of_bad_files_is_cut(model: Path, tmp_path: Path) -> None:
    missing = [tmp_path / f"{number}.png" for number in range(50)]
    with pytest.raises(PartialError, match="and 30 more"):
        call(model, picture(tmp_path / "a.png", "red"), *missing)


def test_s07_nothing_but_bad_files_is_a_data_error(model: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "cut.png", "red", (64, 64))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cut\.png"):
        call(model, path)


def test_s04_the_first_frame_counts(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    call(model, tmp_path / "a.gif")
    assert "blue" in capsys.readouterr().out


def test_an_empty_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no pictures in .*empty"):
        call(model, tmp_path / "empty")


def test_names_cannot_disturb_the_terminal(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a\x1b[2J\nb.png", "red")
    raw = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(raw)).write_bytes((tmp_path / "a\x1b[2J\nb.png").read_bytes())
    call(model, tmp_path / "a\x1b[2J\nb.png", Path(os.fsdecode(raw)))
    out = capfd.readouterr().out
    assert "a\\x1b[2J\\nb.png" in out and "\\udcff.png" in out and "\x1b" not in out


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"):
        call(tmp_path / "nothing", picture(tmp_path / "a.png", "red"))
