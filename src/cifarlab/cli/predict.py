"""`cifarlab predict`: what pictures show."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import AsJson, Device, FollowLinks, Pictures, RunOrModel
from cifarlab.cli.output import echo, echo_json, raise_unreadable
from cifarlab.console import printable


def predict(
    model: RunOrModel,
    images: Pictures,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name for each image.")] = 1,
    device: Device = "auto",
    follow_links: FollowLinks = False,
    as_json: AsJson = False,
) -> None:
    """Name what pictures of any size show; those that cannot be read are listed, and the exit code is 8.

    Folders are searched for the same files as in training, which come in natural order: 2.png before 10.png.
    """
    answers = api.predict(model, images, top=top, device=device, follow_links=follow_links)
    if as_json:
        predictions = [
            {
                "path": each.name,
                "label": each.label,
                "probability": each.probability,
                "top": [{"label": label, "probability": probability} for label, probability in each.top],
            }
            for each in answers.predictions
        ]
        # failures stand in the same document, so that a script need not parse stderr
        echo_json({"model": str(model), "predictions": predictions, "failed": answers.failures})
    else:
        names = [printable(prediction.name) for prediction in answers.predictions]  # escapes change the width
        width = max((len(name) for name in names), default=0) + 2
        for name, prediction in zip(names, answers.predictions, strict=True):
            for rank, (label, probability) in enumerate(prediction.top):
                start = name if rank == 0 else ""  # the further classes of --top go below the first
                echo(f"{start:<{width}}{100 * probability:>7.2f} %  {printable(label)}")
    if answers.failures:
        raise_unreadable(answers.failures, any_read=bool(answers.predictions))
