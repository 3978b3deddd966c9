"""The status of a run, and how to continue it from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cifarlab.console import quoted
from cifarlab.errors import DataError, MachineError
from cifarlab.images.images import Images
from cifarlab.language import listed, tr
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import COMPLETE, TRAINING
from cifarlab.runs.paths import STUDIES


def status(run: Run) -> str:
    """The status in the manifest, one of those in `runs.manifest`."""
    # a run that was killed before its manifest was written has all of its training ahead
    return run.facts.status if run.manifest_file.exists() else TRAINING


def is_complete(run: Run) -> bool:
    """Whether a run was trained and tested, and every figure and page that was asked for is there."""
    return status(run) == COMPLETE


def how_to_train_further(run: Run) -> str:
    """The command that trains a complete run for more epochs."""
    # a new run, since the learning-rate schedule of this one has ended with its epochs
    recipe, weights = (quoted(str(path)) for path in (run.recipe_file, run.model_file))
    start = f"--set model.weights={weights}"
    if run.recipe.model.pretrained:  # a recipe that names both kinds of weights is refused
        start += " --set model.pretrained=false"
    command = f"cifarlab train {recipe} {start} --epochs N"
    return tr("For more epochs start a new run from its weights: {command}", command=command)


@contextmanager
def resume_hint(run: Run) -> Iterator[None]:
    """Add to a MachineError, such as a full disk, how to continue the run once the machine is in order."""
    try:
        yield
    except MachineError as error:
        if not run.has_begun:
            raise  # its folder is removed, so there is nothing to continue
        text = tr(
            "{error}\nWhat the run had kept by then stays in {folder}.\n"
            "Continue, with the machine in order again: cifarlab train --resume {run}",
            error=str(error).splitlines()[0],
            folder=run.path,
            run=run.as_argument,
        )
        raise MachineError(text) from error


def not_a_run(folder: Run) -> str:
    """The error for a study's folder that was given as a run, with the runs inside it."""
    what = tr("{folder} is not a run: it holds {study}.", folder=folder.path, study=tr(STUDIES[folder.study]))
    if not folder.inner_runs:
        return f"{what}\n{tr('There are no runs in it.')}"
    names = listed(run.name for run in folder.inner_runs)
    return f"{what}\n{tr('Give the folder of one of its runs: {names}.', names=names)}"


def check_same_data(run: Run, train: Images, val: Images | None) -> None:
    """Raise DataError when these are not the training and validation images that a run began with."""
    if not run.manifest_file.exists():
        return  # it was killed before its data was written down, and starts from its first step anyway
    for split, images in (("train", train), ("val", val)):
        before, found = run.data_facts.fingerprint(split), images.fingerprint if images else None
        # other images would neither repeat the lost steps nor choose the epoch by the same measure
        if before != found:
            text = tr(
                "The {split} images are not those that {run} began with.\n"
                "Then: {before}, now: {now}. Restore the data, or train anew."
            )
            raise DataError(text.format(split=split, run=run.path, before=_short(before), now=_short(found)))


def _short(fingerprint: str | None) -> str:
    return f"{fingerprint[:16]}..." if fingerprint else tr("none")
