"""Where a run stands, and how it goes on from there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from cifarlab.errors import DataError, MachineError
from cifarlab.images.images import Images
from cifarlab.runs.files import STUDIES
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import COMPLETE, TRAINING


def status(run: Run) -> str:
    """A status of `runs.manifest`; a run that was killed before anything was written down has yet to be trained."""
    return run.facts.status if run.manifest_file.exists() else TRAINING


def is_complete(run: Run) -> bool:
    """Whether a run was trained to its end and judged, and everything was drawn and written that was asked for."""
    return status(run) == COMPLETE


def how_to_train_further(run: Run) -> str:
    """What to do with a run that has made all its epochs: its learning-rate schedule has ended with them."""
    recipe, weights = (shlex.quote(str(path)) for path in (run.recipe_file, run.model_file))
    start = f"--set model.weights={weights}" + (" --set model.pretrained=false" if run.recipe.model.pretrained else "")
    return f"For more epochs start a new run from its weights: cifarlab train {recipe} {start} --epochs N"


@contextmanager
def saying_what_is_kept(run: Run) -> Iterator[None]:
    """Add to an error of the machine, such as a full disk, how the run goes on when it has passed."""
    try:
        yield
    except MachineError as error:
        if not run.has_begun:
            raise
        what = str(error).splitlines()[0]
        raise MachineError(
            f"{what}\nWhat the run had kept by then stays in {run.path}.\n"
            f"Continue, with the machine in order again: cifarlab train --resume {run.as_argument}"
        ) from error


def not_a_run(folder: Run) -> str:
    """Say that a study's folder is not a run to be continued, and which runs lie in it."""
    inside = [run.name for run in folder.inner_runs]
    hint = f"Give the folder of one of its runs: {', '.join(inside)}." if inside else "There are no runs in it."
    return f"{folder.path} is not a run: it holds {STUDIES[folder.study]}.\n{hint}"


def check_same_data(run: Run, train: Images, val: Images | None) -> None:
    """Raise DataError when these are not the training and validation images that a run began with."""
    if not run.manifest_file.exists():
        return  # killed before anything was written down, so there is nothing to continue that could differ
    for split, images in (("train", train), ("val", val)):
        before, found = run.data_facts.fingerprint(split), images.fingerprint if images else None
        if before != found:
            raise DataError(
                f"The {split} images are not those that {run.path} began with.\n"
                f"Then: {_short(before)}, now: {_short(found)}. Restore the data, or train anew."
            )


def _short(fingerprint: str | None) -> str:
    return f"{fingerprint[:16]}..." if fingerprint else "none"
