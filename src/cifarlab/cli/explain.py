"""`cifarlab explain`: why a network predicts what it predicts for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import AsJson, Device, Pictures, RunOrModel
from cifarlab.cli.output import echo, echo_json, raise_unreadable
from cifarlab.console import printable
from cifarlab.language import listed, tr


def explain(
    model: RunOrModel,
    images: Pictures,
    layer: Annotated[
        str | None, typer.Option(help="Layer for feature maps and Grad-CAM; `cifarlab models NAME` lists them.")
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Explain this class, not the predicted one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and pictures; unset: explanations, beside the model.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show feature maps, Grad-CAM, HiResCAM and occlusion for pictures, each map tested against random ones.

    A lower deletion score means that the map has found more of the evidence. --json prints the heat maps, too.
    """
    from cifarlab.explanation.files import as_dict
    from cifarlab.explanation.render import map_name, verdict

    done, written = api.explain(model, images, layer=layer, class_name=class_name, out=out, device=device)
    if as_json:
        explanations = [as_dict(explanation) for explanation in done.explanations]
        files = [str(path) for path in written]
        echo_json({"model": str(model), "explanations": explanations, "failed": done.failures, "files": files})
    else:
        for explanation in done.explanations:
            top = listed(f"{printable(label)} {100 * share:.1f} %" for label, share in explanation.prediction.top)
            echo(f"{printable(explanation.prediction.name)}: {top}")
            # not always the first of them: see --class
            echo("  " + tr("why {name}:", name=printable(explanation.class_name)))
            for each in explanation.maps:
                # a deletion score alone says little, since it depends on the picture: hence the random maps beside it
                text = tr(
                    "{map}: deletion {area:.2f}, random {random:.2f}; {verdict}",
                    map=map_name(each.heat_map),
                    area=each.deletion.area,
                    random=each.deletion.random_area,
                    verdict=verdict(each, explanation.class_name),
                )
                echo(f"  {text}")
        if written:
            echo("\n" + tr("Written:"))
        for path in written:
            echo(f"  {path}")
    if done.failures:  # after the explanations of the others
        raise_unreadable(done.failures, any_read=bool(done.explanations))
