"""`cifarlab train`: from a recipe to a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from cifarlab import api
from cifarlab.cli.options import (
    ClassNames,
    Columns,
    Fit,
    FollowLinks,
    Layout,
    SkipBad,
    SplitNames,
    Strict,
    WhiteLevel,
    data_fields,
)
from cifarlab.cli.output import echo
from cifarlab.errors import PartialError, UsageError
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, override, override_all
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS


def train(
    recipe: Annotated[str | None, typer.Argument(help="A recipe's name or the path of a TOML file.")] = None,
    data: Annotated[str | None, typer.Option(help="Images: a name or a path. Same as --set data.source=...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for named data first.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets the run folder.")] = Path("runs"),
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Same as --set training.epochs=...")] = None,
    seed: Annotated[int | None, typer.Option(help="Same as --set training.seed=...")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many times and report mean and deviation.")] = 1,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this long, keeping what was learnt.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Continue this run or study exactly.")] = None,
    layout: Layout = None,
    split_names: SplitNames = None,
    columns: Columns = None,
    class_names: ClassNames = None,
    fit: Fit = None,
    white_level: WhiteLevel = None,
    follow_links: FollowLinks = False,
    strict: Strict = False,
    skip_bad: SkipBad = False,
    no_test: Annotated[bool, typer.Option("--no-test", help="Leave the test split sealed.")] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Leave report.html and its figures to cifarlab report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train a recipe and judge the result on the test split, opened once.

    Values are taken from the recipe, then from --set in order, then from the other options.
    """
    from cifarlab.cli import tables

    if (recipe is None) == (resume is None):
        raise UsageError("Give either a recipe or --resume RUN.\nSee the recipes with: cifarlab recipes")
    options: dict[str, object] = {
        "data.source": data,
        "training.epochs": epochs,
        "training.seed": seed,
        "runtime.device": device,
        "training.max_minutes": max_minutes,
        "evaluation.test": False if no_test else None,
    }
    reading = data_fields(layout, split_names, columns, class_names, fit, white_level, follow_links, skip_bad, strict)
    options |= {f"data.{field}": value for field, value in reading.items()}
    if resume is not None:
        changes = [*(assignments or []), *(key for key, value in options.items() if value is not None)]
        _refuse_changes([*changes, *(["seeds"] if seeds > 1 else [])], resume)
        run = api.resume(resume, data_dir=data_dir, report=not no_report)
    else:
        chosen = _choose(recipe or "", assignments or [], options)
        run = api.train(chosen, seeds=seeds, out=out, data_dir=data_dir, report=not no_report)
    if as_json:
        echo(json.dumps(result(run), indent=2))
    else:
        tables.print_result(run)
    _mention_failures(run)


def result(run: Run) -> dict[str, Any]:
    """What --json prints: the run's path, its manifest's facts and its evaluation, or the summary over seeds."""
    if run.study == SEEDS:
        return {"run": str(run.path), **run.group}
    return {"run": str(run.path), "manifest": run.manifest, "test": run.evaluation("test")}


def _choose(name: str, assignments: list[str], options: dict[str, Any]) -> Recipe:
    """The recipe with everything replaced that the command line replaces."""
    chosen = override_all(load_recipe(name), assignments)
    for key, value in options.items():
        if value is not None:
            chosen = override(chosen, key, str(value).lower() if isinstance(value, bool) else str(value))
    return chosen


def _mention_failures(run: Run) -> None:
    """Raise PartialError, after everything else was done, when seeds diverged or images were left out."""
    from cifarlab.studies.seeds import divergence_text

    failures = [divergence_text(run)] if run.study == SEEDS else []
    first = (run.seeds or [run])[0]  # seeds share their images
    if num_skipped := first.facts.data.skipped:
        failures.append(f"{num_skipped} images could not be read: see {first.skipped_file()}.")
    if text := "\n".join(filter(None, failures)):
        raise PartialError(f"Finished, but {text}")


def _refuse_changes(changes: list[str], path: Path) -> None:
    from cifarlab.training.status import how_to_train_further

    if not changes:
        return
    run = Run.open(path)
    recipe = shlex.quote(str(run.recipe_file))
    further = f"\n{how_to_train_further(run)}" if run.model_file.exists() else ""
    raise UsageError(
        f"--resume continues {run.path} exactly as it began; it takes no changes ({', '.join(changes)}).\n"
        f"To train with changes, start anew from its recipe: cifarlab train {recipe}{further}"
    )
