"""What a command does and what its function in Python does are the same, because the command calls the function."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain_logging import unconfigured

import cifarlab
from cifarlab.cli import main
from cifarlab.errors import UsageError
from cifarlab.recipe.toml import load_recipe

SETTINGS = [
    "data.source=data",
    "training.epochs=2",
    "training.batch_size=8",
    "model.width=0.0625",
    "validation.every=1",
    "validation.size=0.25",
    "runtime.device=cpu",
    "runtime.precision=fp32",
    "runtime.tensorboard=false",
]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cifarlab.Recipe:
    """Two classes of noise, and `quick` made small for them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for split, num_images in (("train", 20), ("test", 8)):
        for level, name in ((90, "cat"), (160, "dog")):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = random.normal(level, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    return load_recipe("quick").set(*SETTINGS)


@pytest.mark.parametrize("name", ["ablate", "compare", "evaluate", "explain", "lr_find", "predict", "report", "train"])
def test_a_command_calls_its_function(name: str) -> None:
    module = import_module(f"cifarlab.cli.{name}")
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)
    }
    assert f"api.{name}" in calls


@unconfigured()
def test_train_leaves_and_says_what_the_command_does(
    recipe: cifarlab.Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cifarlab.train(recipe, out="by-hand")
    said = capsys.readouterr()
    assert main.run(["train", "quick", "--out", "by-command", *(f"--set={setting}" for setting in SETTINGS)]) == 0
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in (run.path, Path("by-command/quick"))
    ]
    assert names[0] == names[1] and "report.html" in names[0]
    # the command prints the result too, on stdout; times differ
    notes = [re.sub(r"[\d,.]+ (s|ms|images/s)\b", "", text) for text in (said.err, capsys.readouterr().err)]
    assert notes[0].replace("by-hand", "by-command") == notes[1]
    assert "\nepoch 2/2  loss " in said.err and said.err.endswith("\nWriting the report\n") and said.out == ""
    assert run.model_file.read_bytes() == Path("by-command/quick/model.safetensors").read_bytes()


def test_a_run_goes_through_the_other_functions(recipe: cifarlab.Recipe) -> None:
    run = cifarlab.train(recipe, report=False)
    assert not run.report_file.exists()
    evaluation = cifarlab.evaluate(run.path, "val")
    assert cifarlab.read_evaluation(run, "val") == evaluation and run.test_openings == [run.test_openings[0]]
    answers = cifarlab.predict(run.path, [Path("data/test/cat")])
    assert [Path(each.name).name for each in answers.predictions] == [f"{number}.png" for number in range(8)]
    assert cifarlab.predict(run, "data/test/cat") == answers  # a run is its folder, and one path is a list of one
    assert cifarlab.report(run.path) == run.report_file
    explained, files = cifarlab.explain(run.path, [Path("data/test/cat/0.png")])
    assert len(explained.explanations) == 1 and all(path.is_file() for path in files)
    assert cifarlab.resume(run.path).path == run.path
    with pytest.raises(UsageError, match="given twice"):
        cifarlab.compare([run, run.path])


def test_a_program_chooses_the_language(tmp_path: Path) -> None:
    cifarlab.speak("zh")
    with pytest.raises(UsageError, match=f"^{tmp_path} 不是运行文件夹"):
        cifarlab.report(tmp_path)
    cifarlab.speak("en")
    with pytest.raises(UsageError, match=f"^{tmp_path} is not a run folder"):
        cifarlab.report(tmp_path)
    with pytest.raises(UsageError, match="'tlh'"):
        cifarlab.speak("tlh")


@pytest.mark.parametrize(
    ("chosen", "words"), [({}, "不是运行文件夹"), ({"CIFARLAB_LANG": "en"}, "is not a run folder")]
)
def test_a_program_speaks_as_its_environment_says(chosen: dict[str, str], words: str) -> None:
    environment = {**os.environ, "LANG": "zh_CN.UTF-8", "PYTHONUTF8": "1", **chosen}
    program = [sys.executable, "-c", "import cifarlab; cifarlab.Run.open('nowhere')"]
    assert words in subprocess.run(program, env=environment, capture_output=True, check=False).stderr.decode("utf-8")
