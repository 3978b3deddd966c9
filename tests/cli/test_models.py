from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from cifarlab.cli.models import models
from cifarlab.errors import UsageError
from cifarlab.models.registry import MODELS

app = typer.Typer()
app.command()(models)


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_list_names_every_network_with_its_numbers() -> None:
    lines = output().splitlines()
    names = [line.split()[0] for line in lines[1:-1]]
    assert names == list(MODELS)
    assert lines[names.index("resnet18") + 1].split()[1:5] == ["11.17", "M", "555.42", "M"]
    assert "torchvision:<name>" in lines[-1]


def test_the_list_as_json() -> None:
    rows = {row["name"]: row for row in json.loads(output("--json"))}
    assert rows["resnet18"]["num_parameters"] == 11_173_962
    assert rows["resnet18"]["multiply_adds"] == 555_422_720
    assert all(rows[name]["source"] == MODELS[name].source for name in MODELS)


def test_networks_that_need_larger_images_say_so() -> None:
    rows = {row["name"]: row for row in json.loads(output("--json", "--image-size", "16"))}
    assert rows["basic-cnn"]["multiply_adds"] is None and rows["speednet"]["multiply_adds"] > 0
    assert "needs 20 px" in output("--image-size", "16")


def test_the_layers_of_one_network() -> None:
    lines = output("basic-cnn").splitlines()
    assert lines[1].split() == ["features.0", "Conv2d", "10×30×30", "280", "243,000"]
    parameters = (270 + 10) + (1_350 + 15) + (7_500 + 20) + (12_500 + 25) + (4_000 + 10)
    assert lines[-1].split() == ["total", f"{parameters:,}", "6,425,400"]


def test_one_network_as_json_with_stem_and_size() -> None:
    table = json.loads(output("resnet18", "--stem", "imagenet", "--image-size", "224", "--json"))
    assert table["stem"] == "imagenet" and table["num_parameters"] == 11_181_642
    assert table["layers"][0]["output"] == [64, 112, 112]
    assert sum(layer["multiply_adds"] for layer in table["layers"]) == table["multiply_adds"]


def test_a_network_of_another_package() -> None:
    pytest.importorskip("torchvision")
    table = json.loads(output("torchvision:resnet18", "--json"))
    assert table["num_parameters"] == 11_181_642


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["resnet81"], "Did you mean"),
        (["resnet18", "--stem", "imgnet"], "imagenet"),
        (["--stem", "cifar"], "needs the name of a network"),
        (["basic-cnn", "--stem", "imagenet"], "model.stem"),
        (["basic-cnn", "--image-size", "16"], "it needs 20"),
    ],
)
def test_mistakes_are_usage_errors(arguments: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_importing_the_command_loads_no_torch() -> None:
    code = "import sys, cifarlab.cli.models; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
