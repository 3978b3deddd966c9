"""The subcommands as they are called, with the smallest settings that make sense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cifarlab.bench import startup as startup_module
from cifarlab.cli.main import run

SMALL = ["--rounds", "2", "--warmup", "0"]


def result(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """What a subcommand prints with --json."""
    assert run(["--quiet", "bench", *map(str, words), "--json"]) == 0
    out, err = capsys.readouterr()
    # a training this short is told that it learnt nothing, even with --quiet; nothing else may be said
    assert all(line.startswith(("No better than guessing", "Try another")) for line in err.splitlines())
    found: dict[str, Any] = json.loads(out)
    return found


def check(found: dict[str, Any], units: dict[str, str]) -> None:
    assert {name: timing["unit"] for name, timing in found["timings"].items()} == units
    for timing in found["timings"].values():
        assert 0 < timing["min"] <= timing["median"] <= timing["max"] and timing["n"] == len(timing["values"])
    assert {"device_name", "threads", "cifarlab", "torch", "python"} <= found["machine"].keys()


def test_throughput(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--batch-size",
        "4",
        "--image-size",
        "16",
        "--steps",
        "1",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--threads",
        "2",
        *SMALL,
    ]
    found = result(capsys, "throughput", "simple-cnn", *words, "--set", "optimizer.name=adam")
    check(found, {"training": "images/s", "forward": "images/s"})
    assert found["settings"]["batch_size"] == 4 and found["settings"]["image_size"] == 16
    assert found["machine"]["precision"] == "fp32" and found["machine"]["threads"] == 2


def test_throughput_of_a_network_that_has_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--batch-size", "4", "--image-size", "8", "--steps", "1", "--device", "cpu", *SMALL]
    assert result(capsys, "throughput", "simple-cnn-bn", *words)["settings"]["recipe"] == "defaults"


def test_loader(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, "loader", "quick", "--steps", "2", *SMALL, "--device", "cpu", "--threads", "1")
    check(found, {"batches": "images/s", "inputs": "images/s"})
    assert found["settings"]["data"] == "sample" and found["settings"]["batch_size"] == 64
    assert found["machine"]["threads"] == 1


def test_predict(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--num-images", "8", "--num-single", "100", "--image-size", "8", "--device", "cpu", *SMALL]
    found = result(capsys, "predict", "simple-cnn", *words)
    check(found, {"load": "ms", "predict": "images/s", "logits": "images/s", "single": "ms"})
    single = found["timings"]["single"]
    assert single["median"] <= single["p99"] <= single["max"] and found["timings"]["load"]["p99"] is None


def test_startup(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, "startup", "--model", "simple-cnn", "--rounds", "1", "--warmup", "0")
    check(found, dict.fromkeys(startup_module.COMMANDS, "s"))


def test_time_to_accuracy_leaves_ordinary_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--target", "0.05", "--seeds", "2", "--data", "sample", "--out", tmp_path]
    for assignment in (
        "training.epochs=0.02",
        "evaluation.tta=mirror",
        "runtime.threads=1",
        "runtime.device=cpu",
        "runtime.tensorboard=false",
    ):
        words += ["--set", assignment]
    found = result(capsys, "time-to-accuracy", "simple-cnn", *words, "--tta-counts")
    assert [each["seed"] for each in found["seeds"]] == [0, 1]
    for each in found["seeds"]:
        assert all(0 < each[f"{name}_accuracy"] < 1 for name in ("val", "val_tta", "test", "test_tta"))
        assert 0 < each["seconds"] < found["total_seconds"]
    assert found["accuracy"]["values"] == [each["val_tta_accuracy"] for each in found["seeds"]]
    assert found["accuracy"]["n"] == 2 and found["split"] == "val" and found["tta"] == "mirror"
    assert run(["--quiet", "compare", *(f"{found['run']}/seed-{seed}" for seed in (0, 1))]) == 0
    run_folder = Path(found["run"], "seed-0")
    assert len((run_folder / "test-ledger.jsonl").read_text().splitlines()) == 1
    assert (run_folder / "model.safetensors").exists()


def test_people_get_a_table_and_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--batch-size", "4", "--image-size", "8", "--steps", "1", "--device", "cpu", *SMALL]
    assert run(["bench", "throughput", "simple-cnn", *words]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[1].split() == ["median", "min", "max", "p99", "unit", "n", "warm-up"]
    assert lines[2].split()[0] == "training" and lines[2].split()[-3:] == ["images/s", "2", "0"]
    assert "(cpu)" in lines[-1] and "torch" in lines[-1] and "Python" in lines[-1]
    assert "simple-cnn: training, 2 rounds" in err


def test_people_get_a_line_per_seed_and_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--target", "1", "--seeds", "1", "--data", "sample", "--out", str(tmp_path), "--split", "test"]
    for assignment in ("training.epochs=0.02", "runtime.threads=1", "runtime.device=cpu", "runtime.tensorboard=false"):
        words += ["--set", assignment]
    assert run(["--quiet", "bench", "time-to-accuracy", "simple-cnn", *words]) == 0
    out = capsys.readouterr().out
    assert "never" in out and "the target of 100.00 % is not reached" in out and "n = 1" in out
    assert "test accuracy:" in out and "nothing warmed up" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["throughput", "resnet81"], "Did you mean resnet18"),
        (["throughput", "simple-cnn", "--rounds", "0"], "rounds"),
        (["throughput", "simple-cnn", "--precision", "fp8"], "precision"),
        (["throughput", "basic-cnn", "--image-size", "16", "--device", "cpu"], "it needs 20"),
        (["loader", "quik"], "Did you mean quick"),
        (["loader", "quick", "--steps", "0"], "steps"),
        (["predict", "simple-cn"], "Did you mean simple-cnn"),
        (["predict", "simple-cnn", "--num-images", "0"], "num-images"),
        (["startup", "--model", "speednt"], "Did you mean speednet"),
        (["startup", "--rounds", "0"], "rounds"),
        (["time-to-accuracy", "quick", "--target", "94"], "Did you mean 0.94?"),
        (["time-to-accuracy", "quick"], "target"),
        (["time-to-accuracy", "quick", "--target", "0.9", "--split", "train"], "split"),
        (["time-to-accuracy", "quick", "--target", "0.9", "--set", "validation.size=0"], "--split test"),
    ],
)
def test_mistakes_are_usage_errors(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert text in err and not out


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    assert run(["bench", "predict", str(tmp_path / "a.safetensors")]) == 4
    assert "not a model file" in capsys.readouterr().err


def test_importing_the_command_loads_no_torch() -> None:
    code = "import sys, cifarlab.cli.bench; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
