"""`cifarlab evaluate`: the numbers of a run on one split."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import ClassNames, Columns, FollowLinks, Layout, SkipBad, SplitNames, data_fields
from cifarlab.cli.output import echo
from cifarlab.errors import PartialError, UsageError
from cifarlab.runs.folder import Run

if TYPE_CHECKING:
    from cifarlab.evaluation.evaluate import Evaluation


class Split(StrEnum):
    """Parts of a data set."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Tta(StrEnum):
    """Test-time augmentations."""

    NONE = "none"
    MIRROR = "mirror"
    MIRROR_AND_SHIFTS = "mirror+shifts"


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    split: Annotated[
        Split | None,
        typer.Option(
            help="What to evaluate on; unset: val, or the test split of --data. Every opening of test is written down."
        ),
    ] = None,
    tta: Annotated[
        Tta | None, typer.Option(help="Test-time augmentation, a number of its own; unset: as the recipe says.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Other images with the same classes: a name or a path. Without splits, all of them are evaluated."
        ),
    ] = None,
    layout: Layout = None,
    split_names: SplitNames = None,
    columns: Columns = None,
    class_names: ClassNames = None,
    follow_links: FollowLinks = False,
    skip_bad: SkipBad = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for named data first.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Judge a run's classifier and leave numbers, tables, a figure and predictions in its folder."""
    from cifarlab.images.sources import data_spec
    from cifarlab.judge import result_name

    fields = data_fields(
        layout=layout,
        split_names=split_names,
        columns=columns,
        class_names=class_names,
        follow_links=follow_links,
        skip_bad=skip_bad,
    )
    if fields and data is None:
        raise UsageError(f"{', '.join(fields)} say how other images are read: name them with --data.")
    evaluation = api.evaluate(
        *(run, split),
        reason="cifarlab evaluate",
        tta=tta,
        data=None if data is None else data_spec(data, **fields),
        data_dir=data_dir,
        device=device,
    )
    _print(Run(run), result_name(evaluation.split, data), evaluation, data, as_json)
    if evaluation.num_skipped:
        raise PartialError(f"Judged, but {evaluation.num_skipped} images could not be read and do not count.")


def _print(run: Run, name: str, evaluation: Evaluation, data: str | None, as_json: bool) -> None:
    from cifarlab.evaluation.report_text import summary

    files = [str(path) for path in run.result_files(name)]
    if as_json:
        echo(json.dumps({"run": str(run.path), **evaluation.to_dict(), "files": files}, indent=2))
        return
    if data is not None:
        echo(f"These are the images of {data}, with the class names of the run.")
    echo(summary(evaluation))
    echo("\nWritten:")
    for file in files:
        echo(f"  {file}")
