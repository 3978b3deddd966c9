"""`cifarlab predict`: what pictures show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import FollowLinks
from cifarlab.cli.output import echo
from cifarlab.console import printable
from cifarlab.errors import DataError, PartialError

if TYPE_CHECKING:
    from cifarlab.inference.classifier import Prediction
    from cifarlab.inference.pictures import FilePredictions

LISTED = 20
"""Bad files that the message names; --json lists all."""


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder or a model file.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Files of any format that training reads, or folders.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name for each image.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")] = "auto",
    follow_links: FollowLinks = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Name what pictures of any size show; those that cannot be read are listed, and the exit code is 8.

    Of folders the same files are taken as in training, in the order of their numbers.
    """
    answers = api.predict(model, images, top=top, device=device, follow_links=follow_links)
    if as_json:
        echo(json.dumps(_as_dict(model, answers), indent=2))
    else:
        _print(answers.predictions)
    if answers.failures:
        _complain(answers)


def _print(predictions: list[Prediction]) -> None:
    names = [printable(prediction.name) for prediction in predictions]
    width = max((len(name) for name in names), default=0) + 2
    for name, prediction in zip(names, predictions, strict=True):
        for rank, (label, probability) in enumerate(prediction.top):
            start = name if rank == 0 else ""
            echo(f"{start:<{width}}{100 * probability:>7.2f} %  {printable(label)}")


def _as_dict(model: Path, answers: FilePredictions) -> dict[str, object]:
    predictions = [
        {
            "path": each.name,
            "label": each.label,
            "probability": each.probability,
            "top": [{"label": label, "probability": probability} for label, probability in each.top],
        }
        for each in answers.predictions
    ]
    return {"model": str(model), "predictions": predictions, "failed": answers.failures}


def _complain(answers: FilePredictions) -> None:
    """List what could not be read: a part that failed, or everything."""
    shown = [f"  {printable(text)}" for text in answers.failures[:LISTED]]
    rest = len(answers.failures) - len(shown)
    lines = "\n".join([*shown, *([f"  and {rest} more"] if rest else [])])
    if not answers.predictions:
        raise DataError(f"None of the images could be read:\n{lines}")
    raise PartialError(f"{len(answers.failures)} of the images could not be read:\n{lines}")
