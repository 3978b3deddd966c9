"""`cifarlab train`: what a run promises is there when it is complete, wherever it was killed before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.cli import main
from cifarlab.errors import MachineError
from cifarlab.explanation import run as explaining
from cifarlab.pages.report import write as writing
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.training import trackers
from cifarlab.training import train as training

TINY = [
    "simple-cnn",
    "--data=sample",
    "--set=training.batch_size=540",
    "--epochs=0.4",
    "--set=validation.size=30",
    "--set=runtime.precision=fp32",
    "--device=cpu",
]


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def promised(run: Run) -> set[str]:
    names = ("report.html", "figures/feature_maps.png", "figures/grad_cam.png", "figures/curves.png")
    return {name for name in names if not (run.path / name).is_file()}


def test_n51_a_complete_run_has_everything_that_it_promises() -> None:
    assert main.run(["train", *TINY]) == 0
    run = Run.open("runs/simple-cnn")
    assert run.manifest["status"] == "complete" and not promised(run)
    assert main.run(["train", *TINY, "--no-report"]) == 0
    run = Run.open("runs/simple-cnn-2")
    assert run.manifest["status"] == "complete" and promised(run) == {"report.html", "figures/curves.png"}


@pytest.mark.parametrize(
    ("module", "name"), [(explaining, "explain_run"), (writing, "write_report"), (trackers, "add_figures")]
)
def test_n51_a_run_that_was_killed_while_it_was_drawn_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: object, name: str
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    def train_again(*_: object, **__: object) -> None:
        raise AssertionError("a trained run is not trained again")

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, name, kill)
        main.run(["train", *TINY])
    run = Run.open("runs/simple-cnn")
    assert run.manifest["status"] == "trained"
    run.figures.mkdir(exist_ok=True)
    (run.figures / ".tmp-99-curves.png").write_text("half")
    monkeypatch.setattr(training, "fit", train_again)
    assert main.run(["train", "--resume", str(run.path)]) == 0
    assert run.manifest["status"] == "complete" and not promised(run)
    assert not list(run.path.rglob(".tmp-*")) and len(run.test_openings) == 1
    capsys.readouterr()
    assert main.run(["train", "--resume", str(run.path)]) == 0
    assert "already complete" in capsys.readouterr().err


def test_n51_a_group_is_complete_with_the_report_of_each_seed_and_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(group: Run) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writing, "write_group_page", kill)
        main.run(["train", *TINY, "--seeds", "2"])
    group = Run.open("runs/simple-cnn-seeds")
    assert group.group["status"] == "training" and not (group.path / "report.html").exists()
    capsys.readouterr()
    assert main.run(["train", "--resume", str(group.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "complete"
    assert (group.path / "report.html").is_file() and not any(map(promised, group.seeds))


@pytest.mark.parametrize(
    "change", [["--epochs", "9"], ["--set", "training.epochs=9"], ["--seeds", "3"], ["--no-test"], ["--threads", "1"]]
)
def test_n61_a_resume_takes_no_changes_and_says_how_to_train_further(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: list[str]
) -> None:
    with Run.new(Path("my runs"), "quick", load_recipe("quick")) as run:
        run.update_manifest(status="training")
    assert main.run(["train", "--resume", "my runs/quick", *change]) == 2
    err = capsys.readouterr().err
    assert "start anew from its recipe: cifarlab train 'my runs/quick/recipe.toml'\n" in err
    assert "model.safetensors" not in err  # of which there is none yet
    run.model_file.touch()
    assert main.run(["train", "--resume", "my runs/quick", *change]) == 2
    assert "--set model.weights='my runs/quick/model.safetensors' --epochs N" in capsys.readouterr().err


def test_n61_the_way_to_more_epochs_that_a_complete_run_names_works(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main.run(["train", *TINY, "--no-report", "--no-test", "--out", "my runs"]) == 0
    capsys.readouterr()
    assert main.run(["train", "--resume", "my runs/simple-cnn"]) == 0
    [way] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("For more epochs")]
    assert way == (
        "For more epochs start a new run from its weights: cifarlab train 'my runs/simple-cnn/recipe.toml' "
        "--set model.weights='my runs/simple-cnn/model.safetensors' --epochs N"
    )
    words = ["my runs/simple-cnn/recipe.toml", "--set", "model.weights=my runs/simple-cnn/model.safetensors"]
    assert main.run(["train", *words, "--epochs", "0.2", "--no-report"]) == 0


def test_a_resume_on_another_machine_has_to_be_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "leave_classifier", kill)
        main.run(["train", *TINY, "--no-report", "--threads=1"])
    run = Run.open("runs/simple-cnn")
    assert run.recipe.runtime.threads == run.manifest["runtime"]["threads"] == 1
    run.update_manifest(versions={**run.manifest["versions"], "torch": "1.0"})
    resume = ["train", "--resume", str(run.path), "--no-report"]
    capsys.readouterr()
    assert main.run(resume) == 5
    err = capsys.readouterr().err
    assert "\n  torch: recorded 1.0, found " in err and "--allow-different-machine" in err
    assert main.run([*resume, "--allow-different-machine"]) == 0
    assert "torch: recorded 1.0" in run.manifest["resumed"][0]["other_bits"][0]


def test_a_new_run_has_no_other_machine_to_allow(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["train", *TINY, "--allow-different-machine"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_n62_weights_that_cannot_be_downloaded_leave_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MachineError("No network.")

    monkeypatch.setattr(training, "build_network", fail)
    assert main.run(["train", *TINY]) == 5
    assert main.run(["train", *TINY, "--seeds", "2"]) == 5
    assert not list(Path("runs").iterdir())


def test_n60_skipped_images_are_listed_where_the_message_says(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path("pics")
    rng = np.random.default_rng(0)
    for split, name in ((split, name) for split in ("train", "test") for name in ("cat", "dog")):
        (data / split / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(data / split / name / f"{number}.png")
    (data / "train" / "cat" / "bad.png").write_bytes(b"not an image")
    small = [word for word in TINY if not word.startswith(("--data", "--set=validation"))]
    words = [*small, "--data=pics", "--skip-bad", "--no-report", "--seeds=2"]
    assert main.run(["train", *words]) == 8
    message = capsys.readouterr().err.splitlines()[-1]
    place = Path(message.rpartition(" see ")[2].removesuffix("."))
    assert place.is_file() and "bad.png" in place.read_text()


def test_n50_a_folder_that_is_not_a_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["train", "--resume", "runs/nothing"]) == 2
    assert "not a run folder" in capsys.readouterr().err
