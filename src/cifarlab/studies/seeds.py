"""The same recipe from several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cifarlab.console import log
from cifarlab.errors import (
    CheckpointError,
    CifarlabError,
    DivergedError,
    InterruptedRunError,
    MachineError,
    OtherMachineError,
)
from cifarlab.evaluation.statistics import mean_and_sd
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.files import machine_errors, remove_leftovers
from cifarlab.images.holdout import TrainingData
from cifarlab.images.retold import retold
from cifarlab.language import listed, tr
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import COMPLETE, TRAINING
from cifarlab.runs.paths import SEEDS, group_name
from cifarlab.training.status import is_complete
from cifarlab.training.train import Then, resume, train


def train_seeds(
    recipe: Recipe,
    num_seeds: int,
    *,
    out: str | Path = "runs",
    data: TrainingData | None = None,
    data_dir: Path | None = None,
    then: Then | None = None,
) -> Run:
    """Train with seeds training.seed, +1, ... and leave one run per seed in a folder with seeds.json.

    seeds.json has the planned seeds, the runs that have finished, those that have diverged with the reason, and mean,
    standard deviation (n - 1) and n of the validation and test accuracy of the finished ones. `then` is called with
    each trained run, and at last with the group's folder, which is returned as a Run. A seed that diverges does not
    stop the others. Raises what `train` raises; DivergedError when no seed is left.
    """
    first = recipe.training.seed
    # The plan is written before anything is trained: a group that is killed in its first seed can be continued, and a
    # mean over fewer seeds than were planned can be seen to be one.
    plan = _summary(TRAINING, list(range(first, first + num_seeds)), [])
    with Run.new(Path(out), group_name(recipe.name), recipe, study=SEEDS, plan=plan) as group:
        _train_rest(group, data, data_dir, then)
    return group


def resume_seeds(
    path: str | Path,
    *,
    data_dir: Path | None = None,
    then: Then | None = None,
    allow_different_machine: bool = False,
) -> Run:
    """Continue a group: finished seeds stay, the one that was stopped continues exactly, the others follow.

    allow_different_machine: for the one that was stopped, as in `training.train.resume`.
    """
    group = Run.open(path)
    with group.locked():
        if group.group.get("status") == COMPLETE:
            log.info(tr("{path} is already complete.", path=group.path))
        else:
            _train_rest(group, None, data_dir, then, allow_different_machine)
    return group


def _train_rest(
    group: Run,
    data: TrainingData | None,
    data_dir: Path | None,
    then: Then | None,
    allow_different_machine: bool = False,
) -> None:
    seeds = group.group.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise CheckpointError(tr("{file} does not say which seeds were planned.", file=group.path / SEEDS))
    runs: list[Run] = []
    diverged: dict[str, str] = {}
    for number, seed in enumerate(seeds, 1):
        log.info(
            tr(
                "seed {seed}: run {number} of {total}, in {group}",
                seed=seed,
                number=number,
                total=len(seeds),
                group=group.path,
            )
        )
        try:
            runs.append(_train_seed(group, seed, data, data_dir, then, allow_different_machine))
        except InterruptedRunError as stop:
            # the exit code is 128 + the number of the signal
            raise InterruptedRunError(_stopped(group, seed, runs, stop), stop.exit_code - 128) from stop
        except OtherMachineError:  # says what differs and what to do; nothing has happened yet
            raise
        except MachineError as stop:  # a full disk would stop every other seed, too
            raise MachineError(_stopped(group, seed, runs, stop)) from stop
        except DivergedError as error:  # bad luck of one seed, and a number worth reporting
            # as the run has stored it, in English whatever is spoken
            diverged[f"seed-{seed}"] = Run(group.path / f"seed-{seed}").divergence or str(error).splitlines()[0]
            log.warning(tr("seed {seed}: {error}", seed=seed, error=error))
        group.write_study(SEEDS, _summary(TRAINING, seeds, runs, diverged))
    if not runs:
        require_all_seeds(group)  # always raises: all of them diverged
    if then is not None:
        then(group)
    group.write_study(SEEDS, _summary(COMPLETE, seeds, runs, diverged))


def require_all_seeds(group: Run) -> None:
    """Raise DivergedError when a seed of a group diverged: the mean over the others would flatter the recipe."""
    if text := divergence_text(group):
        raise DivergedError(text + "\n" + tr("Everything is in {path}.", path=group.path))


def divergence_text(group: Run) -> str:
    """Which seeds of a group diverged, and how, in one line; empty when none did."""
    diverged = group.group.get("diverged", {})
    if not diverged:
        return ""
    reasons = " ".join(f"{name}: {reason}" for name, reason in diverged.items())
    num_seeds = len(group.group["seeds"])
    return tr("{n} of {total} seeds diverged. {reasons}", n=len(diverged), total=num_seeds, reasons=reasons)


def _train_seed(
    group: Run,
    seed: int,
    data: TrainingData | None,
    data_dir: Path | None,
    then: Then | None,
    allow_different_machine: bool,
) -> Run:
    run = Run(group.path / f"seed-{seed}")
    if run.recipe_file.exists():
        if run.divergence:  # training it again would diverge at the same step
            raise DivergedError(retold(run.divergence))
        if is_complete(run):
            return run
        return resume(run.path, data_dir=data_dir, then=then, allow_different_machine=allow_different_machine)
    if run.path.exists():  # killed between making the folder and writing the recipe
        with machine_errors(run.path):
            remove_leftovers(run.path)
            (run.path / ".lock").unlink(missing_ok=True)
            run.path.rmdir()
    # the seed of training alone: all seeds share one validation split, or their accuracies would not be comparable
    recipe = override(group.recipe, "training.seed", str(seed))
    return train(recipe, out=group.path, name=run.name, data=data, data_dir=data_dir, then=then)


def _stopped(group: Run, seed: int, done: Sequence[Run], stop: CifarlabError) -> str:
    """The message of the run that was stopped, as one about the whole group."""
    command = f"cifarlab train --resume {group.as_argument}"
    return "\n".join(
        [
            tr("Seed {seed}: {reason}", seed=seed, reason=str(stop).splitlines()[0]),
            tr("Complete: {runs}.", runs=listed(run.name for run in done)) if done else tr("No seed is complete yet."),
            tr("Continue with this seed and those after it: {command}", command=command),
        ]
    )


def _summary(status: str, seeds: Sequence[int], runs: list[Run], diverged: Mapping[str, str] = {}) -> dict[str, Any]:
    return {"status": status, "seeds": list(seeds), "diverged": dict(diverged), **summarise(runs)}


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """Mean, standard deviation and n of the accuracies of finished runs, with the single values."""
    tests = [evaluation.accuracy for run in runs if (evaluation := read_evaluation(run, "test"))]
    vals = [value for run in runs if (value := run.facts.best_val_accuracy) is not None]
    return {"runs": [run.name for run in runs], "val_accuracy": _spread(vals), "test_accuracy": _spread(tests)}


def _spread(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    mean, sd = mean_and_sd(values) if len(values) > 1 else (values[0], None)  # None until the second seed is done
    return {"mean": mean, "sd": sd, "n": len(values), "values": values}
