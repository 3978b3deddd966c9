"""`cifarlab evaluate`: the numbers of a run on one split."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import (
    AsJson,
    ClassNames,
    Columns,
    DataDir,
    Device,
    FollowLinks,
    Layout,
    RunOrModel,
    SkipBad,
    Split,
    SplitNames,
    data_fields,
)
from cifarlab.cli.output import echo, echo_json
from cifarlab.errors import PartialError, UsageError
from cifarlab.language import listed, ntr, tr
from cifarlab.runs.folder import Run

if TYPE_CHECKING:
    from cifarlab.evaluation.evaluate import Evaluation


class Tta(StrEnum):
    """Test-time augmentations: predictions for an image, its mirror image and shifted copies are averaged."""

    NONE = "none"
    MIRROR = "mirror"
    MIRROR_AND_SHIFTS = "mirror+shifts"


def evaluate(
    model: RunOrModel,
    split: Annotated[
        Split | None,
        typer.Option(
            help="What to evaluate on; unset: val, or the test split of --data. "
            "Every opening of the test split is recorded."
        ),
    ] = None,
    tta: Annotated[
        Tta | None,
        typer.Option(help="Test-time augmentation, reported beside the number without it; unset: as the recipe says."),
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
    data_dir: DataDir = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's classifier and leave numbers, tables, a figure and predictions in its folder.

    A model file that is in no run folder needs --data, and leaves nothing.
    """
    from cifarlab.images.sources import data_spec
    from cifarlab.judge import result_name

    # no --fit and --white-level: these decide what the network sees, so they stay as it was trained
    fields = data_fields(layout, split_names, columns, class_names, follow_links=follow_links, skip_bad=skip_bad)
    if fields and data is None:  # the run's own images are read as its recipe says, which these would contradict
        raise UsageError(tr("{fields} say how other images are read: name them with --data.", fields=listed(fields)))
    evaluation = api.evaluate(
        model,
        split,
        reason="cifarlab evaluate",  # what the test split's ledger will say
        tta=tta,
        data=None if data is None else data_spec(data, **fields),
        data_dir=data_dir,
        device=device,
    )
    run = Run.of(model)
    files = [str(path) for path in run.result_files(result_name(evaluation.split, data))] if run else []
    if as_json:
        echo_json({"run": run and str(run.path), **evaluation.to_dict(), "files": files})
    else:
        _print(evaluation, data, files)
    if evaluation.num_skipped:  # last, so that the numbers of the others are printed and stored by then
        raise PartialError(_without(evaluation.num_skipped))


def _print(evaluation: Evaluation, data: str | None, files: Sequence[str]) -> None:
    from cifarlab.evaluation.report_text import summary

    if data is not None:  # matching class names do not prove that both mean the same
        echo(tr("These are the images of {source}, with the class names of the model.", source=data))
    written = ["\n" + tr("Written:"), *(f"  {file}" for file in files)] if files else []
    echo("\n".join([summary(evaluation), *written]))


def _without(num: int) -> str:
    return ntr(
        "Evaluated, without {n:,} image that could not be read.",
        "Evaluated, without {n:,} images that could not be read.",
        num,
        n=num,
    )
