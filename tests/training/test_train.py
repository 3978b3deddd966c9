"""Whole trainings: what they leave, that they repeat, and that a stop at any point changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import cifarlab
from cifarlab.batches.loader import Batch
from cifarlab.errors import (
    CheckpointError,
    DataError,
    InterruptedRunError,
    MachineError,
    NoKernelsError,
    OtherMachineError,
    RecipeError,
    RunInUseError,
)
from cifarlab.evaluation import metrics
from cifarlab.evaluation.calibration import fit_temperature
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.sources import open_source
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import load_model
from cifarlab.machine import contention
from cifarlab.machine.runtime import _device_name
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, to_toml
from cifarlab.runs.folder import Run
from cifarlab.training import loop
from cifarlab.training.step import Step
from cifarlab.training.train import class_weights, resume, train
from cifarlab.version import VERSION

EVERYTHING = [
    "augmentation.crop_padding=4",
    "augmentation.mixup=0.2",
    "augmentation.cutmix=1.0",
    "averaging.name=ema",
    "averaging.decay=0.9",
    "schedule.name=one-cycle",
    "training.label_smoothing=0.1",
    "training.clip_norm=1.0",
]

HARD = ["training.hard_share=0.6", "training.hard_from=2 steps", "training.epochs=3"]
GROWING = [
    "model.name=speednet",
    "model.width=0.125",
    "optimizer.name=muon",
    "optimizer.bias_lr_factor=64",
    "training.start_size=20",
    "training.full_size_from=80 %",
]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_model(run.model_file)[0]


def differences(first: Run, second: Run) -> list[str]:
    """Where two runs left other bits: in metrics apart from times, or in weights, and how much."""
    timed = ("elapsed_seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in run.metrics] for run in (first, second)]
    found = [f"{one} != {other}" for one, other in zip(*rows, strict=True) if one != other]
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    changed = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    return found + [f"{name} by {(ours[name] - theirs[name]).abs().max()}" for name in changed]


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture
def kill_at(monkeypatch):
    """Let training die before a given step is made, as often as steps are given."""

    def arm(*steps: int) -> None:
        pending = list(steps)
        make = Step.__call__

        def step(self, number, batch, size):
            if pending and number == pending[0]:
                pending.pop(0)
                raise Killed
            return make(self, number, batch, size)

        monkeypatch.setattr(Step, "__call__", step)

    return arm


def test_a_run_learns_and_leaves_everything(tiny, tmp_path):
    recipe = tiny.set("training.epochs=6", "runtime.tensorboard=true", "evaluation.test=true")
    run = train(recipe, out=tmp_path)
    assert run.recipe == recipe
    assert [row["epoch"] for row in run.metrics] == [1, 2, 3, 4, 5, 6]
    assert run.metrics[-1]["train/loss"] < run.metrics[0]["train/loss"]
    assert run.manifest["status"] == "complete"
    assert run.manifest["data"]["original"] is True
    assert run.evaluation("test")["accuracy"] > 0.25  # guessing gives 0.1
    assert len(run.test_openings) == 1
    for name in ("model.safetensors", "checkpoints/last/state.json", "predictions-test.parquet"):
        assert (run.path / name).is_file()
    assert list(run.path.glob("events.*"))
    assert not [path for path in run.path.rglob("*") if path.name.startswith(".tmp-")]


def test_the_classifier_that_is_left_is_the_best_validated_one(tiny, tmp_path):
    run = train(tiny.set("training.epochs=4"), out=tmp_path)
    best = max(run.metrics, key=lambda row: (row["val/accuracy"], -row["val/loss"]))
    assert run.manifest["best_epoch"] == best["epoch"]
    assert run.manifest["best_val_accuracy"] == best["val/accuracy"]
    kept, _ = load_model(run.checkpoints / "best.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in weights(run).items())


def test_without_validation_the_last_weights_count(tiny, tmp_path):
    run = train(tiny.set("validation.size=0"), out=tmp_path)
    assert run.metrics[-1]["val/accuracy"] is None
    assert run.manifest["best_epoch"] is None
    saved = load_file(run.checkpoints / "last" / "tensors.safetensors")
    assert all(torch.equal(saved[f"model.{name}"], value) for name, value in weights(run).items())


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tiny, tmp_path):
    recipe = tiny.set(*EVERYTHING)
    first, second = train(recipe, out=tmp_path), train(recipe, out=tmp_path)
    other = train(recipe.set("training.seed=1"), out=tmp_path)
    assert differences(first, second) == []
    assert differences(first, other)


@pytest.mark.parametrize("changes", [[], EVERYTHING, GROWING, HARD, ["optimizer.name=sgd", "validation.every=2"]])
def test_t01_t28_killed_anywhere_and_resumed_ends_with_the_same_bits(tiny, tmp_path, kill_at, changes):
    recipe = tiny.set(*changes, "training.checkpoint_minutes=1e-9")  # a checkpoint at every step
    straight = train(recipe, out=tmp_path)
    kill_at(0, 3, 5, 9)
    with pytest.raises(Killed):
        train(recipe, out=tmp_path)
    run = Run.open(tmp_path / "simple-cnn-2")
    for _ in range(3):
        with pytest.raises(Killed):
            resume(run.path)
    resume(run.path)
    assert differences(straight, run) == []


def test_t01_resuming_from_an_older_checkpoint_repeats_the_lost_steps(tiny, tmp_path, kill_at, monkeypatch):
    monkeypatch.setattr(loop, "EPOCH_CHECKPOINT_SECONDS", 0.0)  # a checkpoint at each epoch's end only
    recipe = tiny.set(*EVERYTHING)
    straight = train(recipe, out=tmp_path)
    kill_at(8)
    with pytest.raises(Killed):
        train(recipe, out=tmp_path)
    run = resume(tmp_path / "simple-cnn-2")
    assert differences(straight, run) == []
    assert len(run.manifest["resumed"]) == 1


KILL_FOR_REAL = """
import os, signal, sys
from cifarlab.recipe.toml import load_recipe
from cifarlab.training import train as module
from cifarlab.training.step import Step

make = Step.__call__
def step(self, number, batch, size):
    if number == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return make(self, number, batch, size)
Step.__call__ = step
module.train(load_recipe(sys.argv[1]), out=sys.argv[2])
"""

RESNET = [
    "model.name=resnet18",
    "training.batch_size=8",
    "training.epochs=0.012",
    "validation.size=10",
    "data.source=sample",
]


@pytest.mark.parametrize("changes", [[], RESNET], ids=["simple-cnn", "resnet18"])
def test_t01_sigkill_and_resume_in_processes(tiny, tmp_path, changes):
    """The kill is a real one, and the run goes on in another process than it began in."""
    recipe = tiny.set(*EVERYTHING, *changes, "training.checkpoint_minutes=1e-9")
    file = tmp_path / "recipe.toml"
    file.write_text(to_toml(recipe))
    straight = train(recipe, out=tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILL_FOR_REAL, str(file), str(tmp_path), "3"], env=environment(), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    run = resume(tmp_path / "simple-cnn-2")
    assert differences(straight, run) == []


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(loop.__file__).parents[2]), "PYTHONWARNINGS": "ignore"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_t05_t06_a_signal_saves_and_the_run_continues_exactly(tiny, tmp_path, monkeypatch, number, code):
    straight = train(tiny, out=tmp_path)
    make = Step.__call__

    def step(self, count, batch, size):
        if count == 6:
            monkeypatch.setattr(Step, "__call__", make)
            os.kill(os.getpid(), number)
        return make(self, count, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    with pytest.raises(InterruptedRunError, match="step 7 of 10") as caught:
        train(tiny, out=tmp_path)
    assert caught.value.exit_code == code
    assert differences(straight, resume(tmp_path / "simple-cnn-2")) == []


def test_t06_a_second_interrupt_stops_at_once(tiny, tmp_path, monkeypatch):
    def step(self, count, batch, size):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second interrupt did not stop the step")

    monkeypatch.setattr(Step, "__call__", step)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, out=tmp_path)


def test_t22_without_a_readable_checkpoint_nothing_starts_anew(tiny, tmp_path, kill_at):
    recipe = tiny.set("training.checkpoint_minutes=1e-9")
    kill_at(5)
    with pytest.raises(Killed):
        train(recipe, out=tmp_path)
    for file in tmp_path.rglob("checkpoints/*/state.json"):
        file.write_text("{}")
    with pytest.raises(CheckpointError, match="No checkpoint of this run can be read"):
        resume(tmp_path / "simple-cnn")


def test_t23_a_run_folder_has_one_writer(tiny, tmp_path):
    run = train(tiny, out=tmp_path)
    with run.locked(), pytest.raises(RunInUseError, match="in use"):
        resume(run.path)


def test_t32_a_finished_run_is_left_as_it_is(tiny, tmp_path):
    run = train(tiny, out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}
    resume(run.path)
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.is_file()}


def test_t33_a_time_limit_ends_the_run_properly(tiny, tmp_path):
    run = train(tiny.set("training.max_minutes=1e-6"), out=tmp_path)
    assert run.manifest["ending"] == "time limit"
    assert run.manifest["num_steps"] == 1
    assert run.metrics[-1]["val/accuracy"] is not None
    assert run.model_file.exists()


def test_early_stopping_ends_the_run(tiny, tmp_path):
    stopping = ["stopping.patience=2", "stopping.min_delta=1000.0", "training.epochs=10"]
    run = train(tiny.set(*stopping), out=tmp_path)
    assert run.manifest["ending"] == "early stopping"
    assert len(run.metrics) == 3


def test_n52_a_resumed_run_refuses_other_training_or_validation_images(tiny, tmp_path, kill_at):
    kill_at(5)
    with pytest.raises(Killed):
        train(tiny.set("training.checkpoint_minutes=1e-9"), out=tmp_path)
    run = Run.open(tmp_path / "simple-cnn")
    facts = run.manifest["data"]
    for split in ("train", "val"):
        run.update_manifest(data={**facts, f"{split}_fingerprint": "0" * 64})
        with pytest.raises(DataError, match=f"The {split} images are not those that"):
            resume(run.path)


def test_n31_fp16_trains_as_fp32_does(tiny, tmp_path):
    """With gradients as large as their scale, 65,536, the network would be lost after a step."""
    small = ["training.batch_size=16", "training.epochs=0.04", "validation.size=0", "evaluation.batch_size=8"]
    recipe = tiny.set(*small, "optimizer.name=sgd", "optimizer.lr=0.02")
    precisions = ("fp32", "fp16")
    single, half = (train(recipe.set(f"runtime.precision={each}"), out=tmp_path) for each in precisions)
    assert half.metrics[-1]["train/loss"] == pytest.approx(single.metrics[-1]["train/loss"], rel=0.01)


def test_n30_a_resumed_run_goes_on_as_it_began(tiny, tmp_path, kill_at, monkeypatch, caplog):
    """In the precision, on the threads and with the kernels that it began with, whatever would be chosen now."""
    monkeypatch.setattr("cifarlab.machine.runtime.tier", lambda: "avx512bf16")
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: True)
    recipe = tiny.set(
        "training.checkpoint_minutes=1e-9", "runtime.precision=auto", "runtime.threads=2", "runtime.kernels=off"
    )
    straight = train(recipe, out=tmp_path)
    assert straight.manifest["runtime"]["precision"] == "bf16"
    kill_at(5)
    with pytest.raises(Killed):
        train(recipe, out=tmp_path)
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    run = Run.open(tmp_path / "simple-cnn-2")
    run.write_recipe(recipe.set("runtime.threads=1", "runtime.kernels=auto"))
    run.update_manifest(cifarlab="0.0")
    caplog.set_level("WARNING", logger="cifarlab")
    resume(run.path)
    assert differences(straight, run) == []
    (resumed,) = run.manifest["resumed"]
    assert {key: resumed["runtime"][key] for key in ("precision", "threads", "kernels")} == {
        "precision": "bf16",
        "threads": 2,
        "kernels": "off",
    }
    assert resumed["other_bits"] == [f"cifarlab: recorded 0.0, found {VERSION}"]
    assert "cifarlab: recorded 0.0" in caplog.text


@pytest.fixture
def killed(tiny, tmp_path, kill_at):
    """A run that died before its sixth step, with a checkpoint of the fifth."""
    kill_at(5)
    with pytest.raises(Killed):
        train(tiny.set("training.checkpoint_minutes=1e-9"), out=tmp_path)
    return Run.open(tmp_path / "simple-cnn")


def change_runtime(run: Run, **values: str) -> None:
    run.update_manifest(runtime={**run.manifest["runtime"], **values})


def test_on_the_same_machine_a_run_is_resumed_without_a_word(killed, caplog):
    caplog.set_level("WARNING", logger="cifarlab")
    resume(killed.path)
    assert killed.manifest["resumed"][0]["other_bits"] == [] and caplog.text == ""


def test_a_run_that_was_written_before_there_were_tiers_is_resumed(killed):
    runtime = killed.manifest["runtime"]
    assert runtime.pop("tier")
    killed.update_manifest(runtime=runtime)
    resume(killed.path)
    assert killed.manifest["resumed"][0]["other_bits"] == []


def test_a_machine_that_gives_other_bits_is_refused_unless_it_is_allowed(killed, kill_at, monkeypatch, caplog):
    monkeypatch.setattr("cifarlab.machine.runtime.tier", lambda: "avx2")
    change_runtime(killed, device_name="Abacus", tier="avx512")
    killed.update_manifest(versions={**killed.manifest["versions"], "torch": "1.0"})
    before = killed.manifest
    differing = [
        f"device: recorded Abacus, found {_device_name(torch.device('cpu'))}",
        "CPU tier: recorded avx512, found avx2",
        f"torch: recorded 1.0, found {version('torch')}",
    ]
    with pytest.raises(OtherMachineError, match="--allow-different-machine") as caught:
        resume(killed.path)
    assert caught.value.exit_code == 5
    assert [line.strip() for line in str(caught.value).splitlines()[1:-1]] == differing
    assert killed.manifest == before
    caplog.set_level("WARNING", logger="cifarlab")
    kill_at(7)
    with pytest.raises(Killed):
        cifarlab.resume(killed.path, report=False, allow_different_machine=True)
    assert killed.manifest["resumed"][0]["other_bits"] == differing
    assert all(line in caplog.text for line in differing)
    # from here on this is the machine that the run was trained on
    caplog.clear()
    resume(killed.path)
    assert killed.manifest["resumed"][1]["other_bits"] == [] and caplog.text == ""
    assert killed.manifest["status"] == "complete"


def test_what_is_not_on_this_machine_is_replaced_only_if_that_is_allowed(killed, monkeypatch):
    def no_kernels(**_):
        raise NoKernelsError("No compiler.\nInstall one.")

    monkeypatch.setattr("cifarlab.kernels.build.load", no_kernels)
    change_runtime(killed, device="cuda:9", device_name="H100", kernels="on")
    with pytest.raises(
        OtherMachineError, match=r"(?s)device: recorded H100, .*kernels: recorded on, found No compiler\."
    ):
        resume(killed.path)
    resume(killed.path, allow_different_machine=True)
    assert killed.manifest["resumed"][0]["runtime"]["kernels"] == "No compiler."
    assert killed.manifest["status"] == "complete"


def test_n30_a_manifest_without_settings_is_not_guessed_at(killed):
    killed.update_manifest(runtime={})
    with pytest.raises(CheckpointError, match="does not say how the run used its machine"):
        resume(killed.path, allow_different_machine=True)


def test_a_fraction_of_an_epoch_is_trained(tiny, tmp_path):
    run = train(tiny.set("training.epochs=1.4"), out=tmp_path)
    assert run.manifest["num_steps"] == 7
    assert [row["step"] for row in run.metrics] == [5, 7]


def test_images_grow_to_the_size_that_the_classifier_sees(tiny, tmp_path, monkeypatch):
    seen = []
    make = Step.__call__

    def step(self, number, batch, size):
        seen.append(self.inputs(number, batch, size)[0].shape[-1])
        return make(self, number, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    run = train(tiny.set(*GROWING), out=tmp_path)
    assert seen == [20, 20, 20, 24, 24, 24, 28, 28, 32, 32]  # 80 % of 10 steps for three sizes
    assert load_model(run.model_file)[1].input_size == 32


def test_images_cannot_start_smaller_than_the_network_takes(tiny, tmp_path):
    with pytest.raises(RecipeError, match=r"start_size = 16 is too small for simple-cnn, or it takes one size"):
        train(tiny.set("training.start_size=16"), out=tmp_path)


def test_class_weights_need_one_per_class(tiny, tmp_path):
    with pytest.raises(RecipeError, match="3 values for 10 classes"):
        train(tiny.set("training.class_weights=[1.0, 2.0, 1.0]"), out=tmp_path)


def test_balanced_class_weights_on_balanced_classes_change_nothing(tiny, tmp_path):
    plain = train(tiny, out=tmp_path)
    balanced = train(tiny.set("training.class_weights=balanced"), out=tmp_path)
    for name, value in weights(plain).items():
        assert torch.allclose(value, weights(balanced)[name], atol=1e-5)


def frozen_parts(run: Run, start: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in weights(run).items() if torch.equal(value, start[name])}


def test_a_frozen_backbone_stays_until_it_is_freed(tiny, tmp_path):
    first = train(tiny, out=tmp_path)
    save_file(weights(first), tmp_path / "start.safetensors")
    tuned: Recipe = tiny.set(f"model.weights={tmp_path}/start.safetensors", "model.freeze=backbone")
    run = train(tuned, out=tmp_path)
    assert frozen_parts(run, weights(first)) == set(weights(run)) - {"fc.weight", "fc.bias"}
    freed = train(tuned.set("model.unfreeze_epoch=1", "validation.size=0"), out=tmp_path)
    assert frozen_parts(freed, weights(first)) == set()


def test_the_classifier_answers_as_validation_saw_it(tiny, tmp_path):
    run = train(tiny, out=tmp_path)
    _, val = load_train_and_val(open_source(run.data), run.recipe.validation)
    classifier = Classifier.load(run.path)
    assert metrics.accuracy(classifier.logits(val.pixels), val.labels) == run.manifest["best_val_accuracy"]
    assert classifier.card.class_names == val.class_names


def test_n37_what_is_said_of_the_classifier_was_measured_on_it(tiny, tmp_path, monkeypatch):
    """The epoch is chosen in bf16, and here by an accuracy that is wrong; the classifier answers in fp32."""
    monkeypatch.setattr(loop, "validate", lambda setup, state: (1.0, 0.123))
    run = train(tiny.set("runtime.precision=bf16", "averaging.name=ema"), out=tmp_path)
    _, val = load_train_and_val(open_source(run.data), run.recipe.validation)
    logits = Classifier.load(run.path).logits(val.pixels)
    assert run.manifest["best_val_accuracy"] == metrics.accuracy(logits, val.labels)
    assert run.manifest["chosen_by_val_accuracy"] == 0.123
    card = load_model(run.model_file)[1]
    assert card.temperature == pytest.approx(fit_temperature(logits, val.labels), rel=1e-6)


def test_n38_no_better_than_guessing_is_said(tiny, tmp_path, caplog):
    """300 validation images of ten classes: 10 % by guessing."""
    caplog.set_level("WARNING", logger="cifarlab")
    train(tiny.set("optimizer.lr=1e-12", "training.epochs=0.2"), out=tmp_path)
    assert "No better than guessing, as far as 300 val images show" in caplog.text
    assert "always naming airplane gets 10.0 %" in caplog.text
    assert "lr-find" in caplog.text


def test_n38_no_better_than_guessing_is_not_said_of_what_has_learnt(tiny, tmp_path, caplog):
    caplog.set_level("WARNING", logger="cifarlab")
    train(tiny.set("training.epochs=6", "evaluation.test=true"), out=tmp_path)
    assert "guessing" not in caplog.text


def test_n38_epochs_are_those_that_were_typed(tiny, tmp_path):
    """0.07 of 100 steps are 7, not 8."""
    run = train(tiny.set("training.epochs=0.07", "training.batch_size=27"), out=tmp_path)
    assert run.manifest["num_steps"] == 7


def test_judging_keeps_to_the_batches_of_the_recipe(tiny, tmp_path, monkeypatch):
    sizes = set()
    make = Classifier._batch

    def batch(self, pixels):
        sizes.add(len(pixels))
        return make(self, pixels)

    monkeypatch.setattr(Classifier, "_batch", batch)
    train(tiny.set("evaluation.batch_size=100", "evaluation.test=true"), out=tmp_path)
    assert sizes == {100, 72}  # 300 images of val; 972 of test


def test_in_the_end_only_hard_images_are_drawn(tiny, tmp_path, monkeypatch):
    steps: list[Batch] = []
    make = Step.__call__

    def step(self, number, batch, size):
        steps.append(batch)
        return make(self, number, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    changes = ["training.hard_share=0.5", "training.hard_from=1 epochs", "training.epochs=4", "training.batch_size=32"]
    run = train(tiny.set(*changes), out=tmp_path)
    num_train, per_epoch = run.manifest["data"]["num_train"], len(steps) // 4
    epochs = [steps[start : start + per_epoch] for start in range(0, len(steps), per_epoch)]
    seen = [{position for batch in epoch for position in batch.indices.tolist()} for epoch in epochs]
    assert len(seen[0]) == num_train
    assert all(len(positions) <= -(-num_train // 2) for positions in seen[1:])
    assert seen[1] != seen[3]  # chosen anew, by newer losses
    assert {batch.pass_number for batch in epochs[0]} == {0}
    assert len({batch.pass_number for batch in epochs[2]}) > 1  # so alternating flips go on alternating


def test_a_training_whose_cores_are_held_by_others_says_so_once(tiny, tmp_path, monkeypatch, caplog):
    counts = (1e9 * number for number in range(100))
    monkeypatch.setattr(contention, "WINDOW_SECONDS", 1e-9)
    monkeypatch.setattr(contention, "read", lambda: contention.Usage(waited=(count := next(counts)), own=0, all=count))
    train(tiny, out=tmp_path)
    assert len([record for record in caplog.records if record.message.startswith("Other programs use")]) == 1


def test_kernels_that_are_not_there_are_spoken_of(tiny, tmp_path, monkeypatch, caplog):
    def no_kernels(**_):
        raise NoKernelsError("The CPU kernels are not there: no compiler.")

    caplog.set_level("INFO", logger="cifarlab")
    monkeypatch.setattr("cifarlab.kernels.build.load", no_kernels)
    run = train(tiny.set("training.epochs=1"), out=tmp_path)
    assert "no compiler. Torch's own operations take their place; they are slower.\n" in caplog.text
    assert run.manifest["runtime"]["kernels"] == "The CPU kernels are not there: no compiler."


@pytest.mark.parametrize("name", ["best.safetensors", "metrics.csv", "evaluation-test.json"])
def test_n65_a_full_disk_says_what_is_kept_and_how_to_go_on(tiny, tmp_path, monkeypatch, name):
    recipe = tiny.set("evaluation.test=true", "training.epochs=0.6", "training.checkpoint_minutes=1e-9")
    straight = train(recipe, out=tmp_path / "straight")
    replace = Path.replace

    def full(self, target):
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(MachineError) as caught:
        patch.setattr(Path, "replace", full)
        train(recipe, out=tmp_path)
    run = Run.open(tmp_path / "simple-cnn")
    first, *rest = str(caught.value).splitlines()
    assert name in first and "No space left on device" in first
    assert rest == [
        f"What the run had kept by then stays in {run.path}.",
        f"Continue, with the machine in order again: cifarlab train --resume {run.path}",
    ]
    assert differences(straight, resume(run.path)) == []


def test_n65_a_folder_that_could_not_be_begun_is_not_left(tiny, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(MachineError, match="No space left") as caught:
        patch.setattr(Path, "replace", full)
        train(tiny, out=tmp_path)
    assert "--resume" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_class_without_training_images_has_no_weight_and_the_others_weigh_alike() -> None:
    images = Images(np.zeros((4, 3, 2, 2), np.uint8), np.array([0, 0, 0, 2]), ("cat", "dog", "frog"))
    recipe = load_recipe("quick").set("training.class_weights=balanced")
    weights = class_weights(recipe, images, torch.device("cpu"))
    assert weights is not None and weights.tolist() == pytest.approx([4 / 9, 0, 4 / 3])


def test_tensorboard_lists_the_recipe_beside_the_result(tiny, tmp_path):
    run = train(tiny.set("training.epochs=1", "runtime.tensorboard=true"), out=tmp_path)
    assert any(b"_hparams_" in path.read_bytes() for path in run.path.glob("events.*"))
