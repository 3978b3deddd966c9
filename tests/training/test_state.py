"""A checkpoint is believed only where it can be true, whatever its hash says."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import save

from cifarlab.errors import CheckpointError, DivergedError
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.training import checkpoint
from cifarlab.training.checkpoint import Checkpoint
from cifarlab.training.step import Step
from cifarlab.training.train import resume, train

EVERYTHING = [
    "training.batch_size=300",
    "training.epochs=2",
    "training.hard_share=0.6",
    "training.hard_from=0 steps",
    "averaging.name=ema",
    "stopping.patience=5",
    "validation.size=30",
    "training.checkpoint_minutes=1e-9",
]
VALUES: list[Any] = [None, True, -1, 10**30, 1e308, float("nan"), "", "1", [], {}, [[[]]], {"a": 1}]


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Checkpoint]:
    """A run with a checkpoint that has everything a checkpoint can have: a best epoch, an average, hard images."""
    recipe = _recipe().set(*EVERYTHING)
    root = tmp_path_factory.mktemp("stopped")
    make = Step.__call__

    def step(self: Step, number: int, batch: Any, size: int) -> Any:
        if number == 13:
            raise Killed
        return make(self, number, batch, size)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Step, "__call__", step)
        train(recipe, out=root)
    run = Run.open(root / recipe.name)
    saved, _ = checkpoint.load(run.checkpoints)
    assert saved is not None and saved.state["best"] and saved.state["rows"]
    assert {name.split(".")[0] for name in saved.tensors} == {"model", "optimizer", "best", "average", "hard"}
    return run, saved


def _recipe() -> Recipe:
    from cifarlab.recipe.toml import load_recipe

    changes = ["data.source=sample", "runtime.device=cpu", "runtime.precision=fp32", "runtime.tensorboard=false"]
    return load_recipe("simple-cnn").set(*changes, "evaluation.test=false")


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside nested lists and objects."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    found = copy.deepcopy(value)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return found


def write(run: Run, tensors: bytes, state: str) -> None:
    """Store what a checkpoint holds, with hashes that fit it, as the only checkpoint of the run."""
    folder = run.checkpoints / "last"
    contents = {"tensors.safetensors": tensors, "state.json": state.encode()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    manifest = {
        name: {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if (run.checkpoints / "previous").exists():
        (run.checkpoints / "previous").rename(run.path / "aside")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a resumed run where its steps would begin: the checkpoint has been accepted."""

    def step(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Step, "__call__", step)


def outcome(run: Run) -> str:
    try:
        resume(run.path)
    except Killed:
        return "accepted"
    except CheckpointError as error:
        assert len(str(error).splitlines()) <= 3
        return "refused"
    return "accepted"


def test_n66_what_was_saved_is_accepted(stopped: tuple[Run, Checkpoint], untrained: None) -> None:
    run, saved = stopped
    write(run, save(saved.tensors), json.dumps(saved.state))
    assert outcome(run) == "accepted"


@pytest.mark.parametrize("seed", range(4))
def test_n66_no_value_in_the_state_ends_in_anything_but_a_checkpoint_error(
    stopped: tuple[Run, Checkpoint], untrained: None, seed: int
) -> None:
    run, saved = stopped
    chance = random.Random(seed)
    tensors, paths = save(saved.tensors), list(places(saved.state))
    for path in chance.sample(paths, min(len(paths), 25)):
        for new in chance.sample(VALUES, 2):
            write(run, tensors, json.dumps(replaced(saved.state, path, new)))
            found = outcome(run)
            old = saved.state
            for key in path:
                old = old[key]
            if type(new) is not type(old) and not (isinstance(new, int) and isinstance(old, float)) and new is not None:
                assert found == "refused", (path, new)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, '{"step": 1', "\xff", '{"a":' * 5000])
def test_n66_a_state_that_is_cut_or_nested_is_refused(
    stopped: tuple[Run, Checkpoint], untrained: None, text: str
) -> None:
    run, saved = stopped
    write(run, save(saved.tensors), text)
    assert outcome(run) == "refused"


def damaged(tensors: dict[str, torch.Tensor], name: str, chance: random.Random) -> dict[str, torch.Tensor]:
    """One tensor missing, of another type, of another shape, under another name, or one more."""
    found = dict(tensors)
    old = found.pop(name)
    match chance.randrange(6):
        case 1:
            found[name] = old.to(torch.float64 if old.dtype != torch.float64 else torch.int8)
        case 2:
            found[name] = old[None]
        case 3:
            found[name] = torch.zeros((*old.shape[:-1], old.shape[-1] + 1) if old.ndim else (2,), dtype=old.dtype)
        case 4:
            found[f"{name}.more"] = old
        case 5:
            found[name], found[f"strange.{name}"] = old, old.clone()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_n66_a_tensor_that_is_not_what_it_should_be_is_refused(
    stopped: tuple[Run, Checkpoint], untrained: None, seed: int
) -> None:
    run, saved = stopped
    chance = random.Random(seed)
    state = json.dumps(saved.state)
    for name in chance.sample(sorted(saved.tensors), 25):
        write(run, save(damaged(saved.tensors, name, chance)), state)
        assert outcome(run) == "refused", name


@pytest.mark.parametrize("values", [[-1, 0, 1], [0, 0, 1], [2, 1, 0]])
def test_n66_hard_images_that_there_are_not_are_refused(
    stopped: tuple[Run, Checkpoint], untrained: None, values: list[int]
) -> None:
    run, saved = stopped
    drawn = saved.tensors["hard.drawn"].clone()
    drawn[:3] = torch.tensor(values)
    write(run, save({**saved.tensors, "hard.drawn": drawn}), json.dumps(saved.state))
    assert outcome(run) == "refused"
    write(run, save({**saved.tensors, "hard.drawn": saved.tensors["hard.drawn"] + 10**12}), json.dumps(saved.state))
    assert outcome(run) == "refused"


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_n66_a_file_without_tensors_is_refused(
    stopped: tuple[Run, Checkpoint], untrained: None, content: bytes
) -> None:
    run, saved = stopped
    write(run, content, json.dumps(saved.state))
    assert outcome(run) == "refused"


def test_n66_weights_that_are_no_numbers_are_a_divergence(stopped: tuple[Run, Checkpoint]) -> None:
    run, saved = stopped
    tensors = {**saved.tensors, "model.fc.bias": torch.full_like(saved.tensors["model.fc.bias"], torch.nan)}
    write(run, save(tensors), json.dumps(saved.state))
    with pytest.raises(DivergedError):
        resume(run.path)
