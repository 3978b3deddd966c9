"""What a run rests on: versions, machine, data, command, state of the sources."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from cifarlab.errors import CheckpointError, MachineError
from cifarlab.images.images import Images
from cifarlab.images.quality import QualityWarning
from cifarlab.images.source import Source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.machine.process import num_cores
from cifarlab.machine.runtime import Runtime, as_begun
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import DataFacts, DataWarning, GitFacts, MachineFacts, Manifest, RuntimeFacts
from cifarlab.version import VERSION

PACKAGES = ("torch", "numpy", "pillow", "pyarrow", "safetensors", "scipy")


def describe_run(
    source: Source,
    train: Images,
    val: Images | None,
    questionable: Sequence[QualityWarning],
    runtime: Runtime,
    num_parameters: int,
    seed: int,
) -> Manifest:
    """The facts of manifest.json that are known when training starts."""
    return Manifest(
        cifarlab=VERSION,
        started=now(),
        command=sys.argv,
        git=git_state(),
        seed=seed,
        num_parameters=num_parameters,
        data=describe_data(source, train, val, questionable),
        runtime=RuntimeFacts.model_validate(runtime.describe()),
        machine=MachineFacts(system=platform.platform(), cores=num_cores(), memory_bytes=_memory_bytes()),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )


def settle_runtime(run: Run, spec: RuntimeSpec) -> Runtime:
    """Choose how the machine is used, once for the whole run: a resumed one goes on as it began.

    Raises MachineError where this machine cannot do what the run began with.
    """
    if not run.manifest_file.exists():
        return choose_runtime(spec)
    try:
        settled = as_begun(spec, run.facts.runtime.model_dump(exclude_unset=True))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{run.manifest_file} does not say how the run used its machine: {error!r}.") from error
    try:
        return choose_runtime(settled)
    except MachineError as error:
        recipe = shlex.quote(str(run.recipe_file))
        raise MachineError(
            f"{run.path} began on {settled.device} in {settled.precision} with CPU kernels {settled.kernels}, which "
            f"this machine cannot continue: {str(error).splitlines()[0]}\n"
            f"Continue it where it began, or train anew here from its recipe: cifarlab train {recipe}"
        ) from error


def other_bits(before: Manifest, now: Manifest) -> list[str]:
    """What may make a resumed run end with other bits than one that was never stopped, in spite of pinned settings."""
    values: dict[str, Callable[[Manifest], str]] = {
        "torch": lambda facts: facts.versions.get("torch", ""),
        "the device": lambda facts: facts.runtime.device_name,
        "the compiled kernels": lambda facts: facts.runtime.kernels_fingerprint,
        "cifarlab": lambda facts: facts.cifarlab,
    }
    pairs = {name: (of(before), of(now)) for name, of in values.items()}
    return [f"{name} was {then} and is {here}" for name, (then, here) in pairs.items() if then not in ("", here)]


def describe_data(
    source: Source, train: Images, val: Images | None, questionable: Sequence[QualityWarning]
) -> DataFacts:
    """Which images were trained on, how their source was understood, what is questionable about them."""
    return DataFacts(
        original=train.original,
        note=train.note,
        class_names=list(train.class_names),
        image_size=list(train.size),
        num_train=len(train),
        num_val=len(val) if val else 0,
        val_from=("source" if "val" in source.splits else "held out") if val else None,
        train_fingerprint=train.fingerprint,
        val_fingerprint=val.fingerprint if val else None,
        skipped=len(train.skipped),
        understanding=source.understanding.to_dict(),
        warnings=[DataWarning.model_validate(each.to_dict()) for each in questionable],
        test_compared=False,
    )


def git_state() -> GitFacts | None:
    """Commit of the working folder and whether it has changes; None outside a repository or without git."""
    git = shutil.which("git")
    if git is None:
        return None
    commit = _git(git, "rev-parse", "HEAD")
    return GitFacts(commit=commit, changed=bool(_git(git, "status", "--porcelain"))) if commit else None


def now() -> str:
    """The time for people to read; durations never come from it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(git: str, *words: str) -> str:
    return subprocess.run([git, *words], capture_output=True, text=True, check=False).stdout.strip()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
