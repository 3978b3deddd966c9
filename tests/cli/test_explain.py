from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from PIL import Image
from torch import nn

from cifarlab.api import MOST_EXPLAINED
from cifarlab.cli.explain import explain
from cifarlab.errors import CheckpointError, DataError, PartialError, UsageError
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.schema import ModelSpec

NAMES = ("red", "green", "blue")

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(explain)


def call(*words: str | Path) -> None:
    app([*map(str, words), "--device", "cpu"], standalone_mode=False)


def colours() -> nn.Sequential:
    """Each channel's mean is the logit of its class."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.dirac_(model[0].weight)
    return model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(MODELS, "colours", Model(lambda spec, num_classes, size: colours(), source="here"))
    card = untrained_card(ModelSpec(name="colours"), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, colours().state_dict(), card)
    return path


def picture(path: Path, colour: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (16, 16))
    image.paste(colour, (0, 0, 8, 16))  # the right half stays black
    image.save(path)
    return path


def test_a_page_and_pictures_are_written_and_the_maps_summed_up(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(model, picture(tmp_path / "my cat.png", "red"), picture(tmp_path / "b.png", "blue"), "--out", tmp_path / "out")
    names = [f"{stem}-{kind}.png" for stem in ("01-my_cat", "02-b") for kind in ("features", "maps")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*names, "explanations.html", "filters.png"]
    out = capsys.readouterr().out
    assert f"{tmp_path}/my cat.png: red 45.2 %, green 27.4 %, blue 27.4 %" in out
    assert "why red:" in out and "why blue:" in out
    assert re.search(r"Grad-CAM 0 8×8: deletion \d\.\d\d, random \d\.\d\d; beats .*19 random maps", out)
    assert f"{tmp_path}/out/explanations.html" in out


@pytest.mark.parametrize("given", ["file", "folder"])
def test_the_explanations_lie_beside_the_model_unless_said_otherwise(model: Path, tmp_path: Path, given: str) -> None:
    call(model if given == "file" else model.parent, picture(tmp_path / "a.png", "red"))
    assert (model.parent / "explanations" / "explanations.html").is_file()


def test_json_has_the_numbers_and_the_maps(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = picture(tmp_path / "a.png", "red")
    call(model, file, "--class", "green", "--layer", "0", "--json")
    found = json.loads(capsys.readouterr().out)
    [explanation] = found["explanations"]
    assert (explanation["path"], explanation["class"]) == (str(file), "green")
    assert explanation["probability"] == pytest.approx(0.2741, abs=1e-4)
    assert [entry["label"] for entry in explanation["top"]] == ["red", "green", "blue"]
    cam, fine, occlusion = explanation["maps"]
    assert (cam["method"], cam["layer"], fine["layer"], occlusion["layer"]) == ("Grad-CAM", "0", "0", None)
    assert cam["values"] == [[0.0] * 8] * 8  # a red image has no green
    assert cam["p_value"] == (1 + cam["num_random"] - cam["num_beaten"]) / (1 + cam["num_random"])
    assert found["failed"] == [] and all(Path(path).is_file() for path in found["files"])


def test_s38_bad_files_are_listed_and_the_others_explained(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad\x1b.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(PartialError, match=r"(?s)1 of the images.*bad\\x1b\.png") as caught:
        call(model, picture(tmp_path / "a.png", "red"), bad, "--json")
    assert caught.value.exit_code == 8
    found = json.loads(capsys.readouterr().out)
    assert len(found["explanations"]) == len(found["failed"]) == 1


def test_nothing_but_bad_files_is_a_data_error_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.png"):
        call(model, tmp_path / "missing.png", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "nine"], "Unknown layer 'nine'"),
        (["--layer", "2"], "The layer 2 puts out no feature maps. These do: 0"),
        (["--class", "gren"], "Unknown class 'gren'. Did you mean green"),
    ],
)
def test_unknown_names_are_refused(model: Path, tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        call(model, picture(tmp_path / "a.png", "red"), *options)


def test_too_many_images_are_refused_before_the_first_is_explained(model: Path, tmp_path: Path) -> None:
    for number in range(MOST_EXPLAINED + 1):
        picture(tmp_path / "many" / f"{number}.png", "red")
    with pytest.raises(UsageError, match="51 images are too many"):
        call(model, tmp_path / "many")


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"):
        call(tmp_path / "nothing", picture(tmp_path / "a.png", "red"))
