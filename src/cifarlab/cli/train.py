"""`cifarlab train`: from a recipe to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab import api
from cifarlab.cli.options import (
    AsJson,
    Assignments,
    ClassNames,
    Columns,
    Data,
    DataDir,
    Epochs,
    Fit,
    FollowLinks,
    Layout,
    OptionalRecipeName,
    Out,
    RecipeDevice,
    Seed,
    Seeds,
    SkipBad,
    SplitNames,
    Strict,
    Threads,
    WhiteLevel,
    changed,
    data_fields,
)
from cifarlab.cli.output import echo_json
from cifarlab.console import quoted
from cifarlab.errors import PartialError, UsageError
from cifarlab.language import listed, ntr, tr
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS

Resume = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Continue this run or study as if it had never stopped.")
]
AllowDifferentMachine = Annotated[
    bool,
    typer.Option(
        "--allow-different-machine",
        help="With --resume: continue with other bits where device, instructions, kernels or torch differ.",
    ),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Leave report.html and its figures to cifarlab report.")]


def train(
    recipe: OptionalRecipeName = None,  # --resume takes its place
    data: Data = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    assignments: Assignments = None,
    epochs: Epochs = None,
    seed: Seed = None,
    seeds: Seeds = 1,
    device: RecipeDevice = None,
    threads: Threads = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long and keep what was learned.")] = None,
    resume: Resume = None,
    allow_different_machine: AllowDifferentMachine = False,
    layout: Layout = None,
    split_names: SplitNames = None,
    columns: Columns = None,
    class_names: ClassNames = None,
    fit: Fit = None,
    white_level: WhiteLevel = None,
    follow_links: FollowLinks = False,
    strict: Strict = False,
    skip_bad: SkipBad = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Do not open the test split.")] = False,
    no_report: NoReport = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe and evaluate the result on the test split, which is opened once.

    Values are taken from the recipe, then from --set in order, then from the other options.
    """
    from cifarlab.cli import tables

    _require_one_task(recipe, resume, allow_different_machine)
    options: dict[str, object] = {
        "data.source": data,
        "training.epochs": epochs,
        "training.seed": seed,
        "runtime.device": device,
        "runtime.threads": threads,
        "training.max_minutes": max_minutes,
        "evaluation.test": False if no_test else None,  # None: not given, so a recipe may say false itself
    }
    reading = data_fields(layout, split_names, columns, class_names, fit, white_level, follow_links, skip_bad, strict)
    options |= {f"data.{field}": value for field, value in reading.items()}  # after --set, as the help promises
    if resume is not None:
        changes = [*(assignments or []), *(key for key, value in options.items() if value is not None)]
        changes += ["seeds"] if seeds > 1 else []  # 1 is the default, which cannot be told from not given
        _refuse_changes(changes, resume)
        run = api.resume(
            resume, data_dir=data_dir, report=not no_report, allow_different_machine=allow_different_machine
        )
    else:
        chosen = changed(load_recipe(recipe or ""), assignments, options)
        run = api.train(chosen, seeds=seeds, out=out, data_dir=data_dir, report=not no_report)
    if as_json:
        echo_json(result(run))
    else:
        tables.print_result(run)
    _mention_failures(run)


def result(run: Run) -> dict[str, Any]:
    """What --json prints: the accuracies, then the rest of what is known of the run, or the summary over seeds."""
    if run.study == SEEDS:
        accuracies = {name: run.group[name] for name in ("test_accuracy", "val_accuracy")}
        return {**accuracies, "run": str(run.path), **run.group}
    manifest, test = run.manifest, run.evaluation("test")
    return {
        "test_accuracy": test and test["accuracy"],
        "test_accuracy_interval": test and test["accuracy_interval"],
        "val_accuracy": manifest.get("best_val_accuracy"),
        "run": str(run.path),
        "report": str(run.report_file) if run.report_file.exists() else None,
        "manifest": manifest,
        "test": test,
    }


def _require_one_task(recipe: str | None, resume: Path | None, allow_different_machine: bool) -> None:
    """Raise UsageError unless there is either a recipe to train or a run to resume."""
    if (recipe is None) == (resume is None):
        raise UsageError(
            tr("Give either a recipe or --resume RUN.\nSee the recipes with: {command}", command="cifarlab recipes")
        )
    if allow_different_machine and resume is None:
        raise UsageError(tr("--allow-different-machine is for --resume RUN: a new run takes the machine as it is."))


def _refuse_changes(changes: list[str], path: Path) -> None:
    """Raise UsageError for any changes, with the command that makes them: a resumed run ends like one never stopped."""
    if not changes:
        return
    from cifarlab.training.status import how_to_train_further

    run = Run.open(path)
    recipe = quoted(str(run.recipe_file))  # a command that is suggested has to work when it is pasted
    further = f"\n{how_to_train_further(run)}" if run.model_file.exists() else ""
    raise UsageError(
        tr(
            "--resume continues {run} exactly as it began; it takes no changes ({changes}).\n"
            "To train with changes, start anew from its recipe: {command}",
            run=run.path,
            changes=listed(changes),
            command=f"cifarlab train {recipe}",
        )
        + further
    )


def _mention_failures(run: Run) -> None:
    """Raise PartialError when seeds diverged or images were left out: everything else is done, and says so first."""
    from cifarlab.studies.seeds import divergence_text

    failures = [divergence_text(run)] if run.study == SEEDS else []
    first = (run.seeds or [run])[0]  # seeds share their images, so one list of those left out is enough
    if num_skipped := first.facts.data.skipped:
        failures.append(
            ntr(
                "{n:,} image could not be read: see {file}.",
                "{n:,} images could not be read: see {file}.",
                num_skipped,
                n=num_skipped,
                file=first.skipped_file(),
            )
        )
    if text := "\n".join(filter(None, failures)):
        raise PartialError(tr("Finished, but {what}", what=text))
