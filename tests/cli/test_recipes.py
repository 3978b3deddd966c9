from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cifarlab.bench import estimate
from cifarlab.cli import main
from cifarlab.machine.estimates import estimates
from cifarlab.recipe.measured import Measured, measured
from cifarlab.recipe.toml import load_recipe, parse_recipe, recipe_from, recipe_names


def listed(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main.run(["recipes"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 100, 120])
def test_the_table_fits_and_names_every_recipe_once(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = listed(width, capsys, monkeypatch)
    assert max(map(len, output.splitlines())) <= width
    if width > 40:  # where no name is wrapped
        firsts = [line.split()[0] for line in output.splitlines() if line[:1].strip()]
        assert sorted(word for word in firsts if word in recipe_names()) == recipe_names()


def test_the_table_shows_what_was_measured_with_its_uncertainty(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"data": "cifar10", "num_train": 45_000, "tta": None, "tta_accuracy": None, "date": "2026-01-01"}
    one = Measured(
        **values, epochs=9, num_seeds=1, accuracy=0.7, sd=None, interval=(0.69, 0.71), seconds=75.0, machine="a chip"
    )
    several = Measured(
        **values | {"data": "sample"}, epochs=45, num_seeds=3, accuracy=0.8, sd=0.01, interval=None, seconds=None,
        machine="another chip",
    )  # fmt: skip
    monkeypatch.setattr("cifarlab.cli.recipes.measured", lambda: {"simple-cnn": one, "quick": several})
    output = listed(120, capsys, monkeypatch)
    assert re.search(
        r"simple-cnn +simple-cnn +20 +flips, rotations, colour +70\.0 % \(69\.0 to 71\.0\) +1 min 15 s", output
    )
    assert "after 9 epochs" in output
    assert re.search(r"quick +.*80\.0 ± 1\.0 % \(n = 3\) +–\n +on the sample", output)
    assert "on a chip." in output and "another chip" not in output  # it has timed nothing


def test_json_has_the_same_and_the_exact_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["recipes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert sorted(rows) == recipe_names()
    assert rows["resnet34-plain"]["group"] == "Classics: five depths, trained alike"
    assert rows["quick"]["augmentation"] == ["crops", "flips", "cutout"]
    assert rows["quick"]["measured"]["accuracy"] == measured()["quick"].accuracy
    assert rows["simple-cnn"]["source"]["reported_accuracy"] == 0.68
    assert all(rows[name]["epochs"] == load_recipe(name).training.epochs for name in rows)


def test_one_recipe_is_shown_as_toml_that_marks_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["recipes", "speed"]) == 0
    output = capsys.readouterr().out
    assert parse_recipe(output) == load_recipe("speed")
    assert re.search(r"^# Images per optimizer step\.\nbatch_size = 500  # default: 128$", output, re.MULTILINE)
    assert re.search(r"^tensorboard = true$", output, re.MULTILINE)


def test_one_recipe_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["recipes", "quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert recipe_from({key: value for key, value in found["recipe"].items() if value is not None}).name == "quick"
    source = next(each for each in found["differences"] if each["key"] == "data.source")
    assert (source["value"], source["default"]) == ("sample", "cifar10")


def test_listing_loads_no_torch() -> None:
    code = (
        "import sys\nfrom cifarlab.cli.main import run\nassert run(['recipes']) == 0\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True
    )


def test_times_on_this_machine_are_estimated_on_demand_and_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "here, about" not in listed(120, capsys, monkeypatch)
    monkeypatch.setattr(estimate, "estimated_seconds", lambda recipe: 750.0 if recipe.name == "speed" else 33.0)
    assert main.run(["recipes", "speed", "--estimate"]) == 0
    assert capsys.readouterr().out == "speed: about 12 min on this machine\n"
    line = next(line for line in listed(120, capsys, monkeypatch).splitlines() if line.startswith("speed "))
    assert line.split()[-2:] == ["12", "min"]
    assert main.run(["recipes", "--estimate", "--json"]) == 0
    found = {each["name"]: each["estimated_seconds"] for each in json.loads(capsys.readouterr().out)}
    assert found == {name: 750.0 if name == "speed" else 33.0 for name in recipe_names()}


def test_a_recipe_of_ones_own_is_estimated_and_not_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "estimated_seconds", lambda recipe: 4000.0)
    (tmp_path / "my.toml").write_text('name = "speed"\n[model]\nname = "speednet"\n')
    before = estimates()
    assert main.run(["recipes", str(tmp_path / "my.toml"), "--estimate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "speed", "estimated_seconds": 4000.0}
    assert estimates() == before
