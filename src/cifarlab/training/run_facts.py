"""What a run rests on: versions, machine, data, command, state of the sources."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cifarlab.errors import CheckpointError, MachineError, OtherMachineError
from cifarlab.images.images import Images
from cifarlab.images.quality import QualityWarning
from cifarlab.images.source import Source
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.language import tr, translatable
from cifarlab.machine.process import memory_bytes, num_cores
from cifarlab.machine.runtime import Runtime, as_begun, onednn_version
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import (
    DataFacts,
    DataWarning,
    GitFacts,
    MachineFacts,
    Manifest,
    Resumption,
    RuntimeFacts,
)
from cifarlab.version import VERSION

PACKAGES = ("torch", "numpy", "pillow", "pyarrow", "safetensors", "scipy")
"""Packages whose version may change a number or a file."""

Say = Callable[..., str]
"""Fills in the fields of a message: `str.format`, in English for the manifest, or `tr`, for people."""


def settle_runtime(run: Run | None, spec: RuntimeSpec, *, allow_different_machine: bool = False) -> Runtime:
    """Choose how the machine is used, once per run: a resumed `run` continues as before; None is a new one.

    Raises OtherMachineError, with all differences, where a resumed run would get other bits than so far, unless
    `allow_different_machine` is set. What this machine lacks is then replaced by what it has.
    """
    if run is None or not run.manifest_file.exists():
        return choose_runtime(spec)
    latest = run.facts.latest
    try:
        # what "auto" became is pinned: bf16 instead of fp32, or another number of threads, gives other bits
        pinned = as_begun(spec, latest.runtime.model_dump(exclude_unset=True))
    except (KeyError, TypeError, ValueError) as error:
        text = tr("{file} does not say how the run used its machine: {error!r}.", file=run.manifest_file, error=error)
        raise CheckpointError(text) from error
    try:
        runtime = choose_runtime(pinned)
    except MachineError:  # no such device or no kernels: what is here instead becomes one of the differences
        instead = {"device": "auto", "kernels": "off" if spec.kernels == "off" else "auto"}
        runtime = choose_runtime(pinned.model_copy(update=instead))
    here = RuntimeFacts.model_validate(runtime.describe())
    if (differing := machine_differences(latest, here, version("torch"), tr)) and not allow_different_machine:
        what = tr("{run} cannot continue here with the same bits. Nothing was changed.", run=run.path)
        what_to_do = tr(
            "Continue it where these are as recorded, or accept other bits: --allow-different-machine "
            "(in Python allow_different_machine=True)."
        )
        raise OtherMachineError("\n  ".join([what, *differing]) + f"\n{what_to_do}")
    return runtime


def describe_run(
    source: Source,
    train: Images,
    val: Images | None,
    data_warnings: Sequence[QualityWarning],
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
        data=describe_data(source, train, val, data_warnings),
        runtime=RuntimeFacts.model_validate(runtime.describe()),
        machine=MachineFacts(system=platform.platform(), cores=num_cores(), memory_bytes=memory_bytes()),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
            "onednn": onednn_version(),
        },
    )


def describe_data(
    source: Source, train: Images, val: Images | None, data_warnings: Sequence[QualityWarning]
) -> DataFacts:
    """Which images were trained on, how their source was understood, and the warnings about them."""
    return DataFacts(
        original=train.original,
        note=train.note,
        class_names=list(train.class_names),
        image_size=list(train.size),
        num_train=len(train),
        num_val=len(val) if val else 0,
        val_from=("source" if "val" in source.splits else "held out") if val else None,
        # the fingerprint of test is added when test is opened: nothing reads that split before
        train_fingerprint=train.fingerprint,
        val_fingerprint=val.fingerprint if val else None,
        skipped=len(train.skipped),
        understanding=source.understanding.to_dict(),
        warnings=[DataWarning.model_validate(each.to_dict()) for each in data_warnings],
        test_compared=False,
    )


def git_state() -> GitFacts | None:
    """Commit of the working folder and whether it has changes; None outside a repository or without git."""
    git = shutil.which("git")
    # Windows looks in the working folder first, where a program may have come with the data
    if git is None or Path(git).resolve().parent == Path.cwd():
        return None
    commit = _git(git, "rev-parse", "HEAD")
    # a changed tree means that the commit alone does not reproduce the run
    return GitFacts(commit=commit, changed=bool(_git(git, "status", "--porcelain"))) if commit else None


def _git(git: str, *words: str) -> str:
    # names of files are UTF-8 whatever the system's own encoding is
    done = subprocess.run([git, *words], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return done.stdout.strip()


def machine_differences(
    before: Manifest | Resumption, here: RuntimeFacts, torch_version: str, say: Say = str.format
) -> list[str]:
    """What a run was trained on and this machine does not have, one line each, with both values."""
    # each sums in an order of its own, and the order of a sum decides its last bits
    then, kernels = before.runtime, (before.runtime.kernels, here.kernels)
    found = {
        translatable("device"): (then.device_name, here.device_name),
        translatable("CPU tier"): (then.tier, here.tier),
        # any reason why there are none is as good as "off"
        translatable("kernels"): kernels if (then.kernels == "on") != (here.kernels == "on") else ("", ""),
        translatable("compiled kernels"): (then.kernels_fingerprint, here.kernels_fingerprint),
        "torch": (before.versions.get("torch", ""), torch_version),
    }
    return _differences(found, say)


def environment_changes(before: Manifest | Resumption, now: Manifest, say: Say = str.format) -> list[str]:
    """What may make a resumed run end with other bits than one that was never stopped, in spite of pinned settings."""
    versions = _differences({"cifarlab": (before.cifarlab, now.cifarlab)}, say)
    return machine_differences(before, now.runtime, now.versions["torch"], say) + versions


def _differences(found: dict[str, tuple[str, str]], say: Say) -> list[str]:
    line = translatable("{what}: recorded {before}, found {now}")
    # "" is what an older version did not write down or what is not used here, so nothing can be said about it
    return [say(line, what=say(what), before=a, now=b) for what, (a, b) in found.items() if a and b and a != b]


def now() -> str:
    """The time of day in UTC, for people to read."""
    # durations never come from it: the system clock may be set back (see loop.Clock)
    return datetime.now(UTC).isoformat(timespec="seconds")
