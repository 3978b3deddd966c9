"""`cifarlab explain`: why a network says what it says about pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.output import echo
from cifarlab.console import printable
from cifarlab.errors import DataError, PartialError

if TYPE_CHECKING:
    from cifarlab.explain.files import Explained
    from cifarlab.explain.image import Explanation


def explain(
    model: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder or a model file.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Files of any format that training reads, or folders.")
    ],
    layer: Annotated[
        str | None, typer.Option(help="Layer for feature maps and Grad-CAM; `cifarlab models NAME` lists them.")
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Explain this class, not the predicted one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and pictures; unset: explanations, beside the model.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers and heat maps as JSON on stdout.")] = False,
) -> None:
    """Show feature maps, Grad-CAM, HiResCAM and occlusion for pictures, each map tested against random ones.

    A lower deletion score means that the map has found more of the evidence.
    """
    done, written = api.explain(model, images, layer=layer, class_name=class_name, out=out, device=device)
    _print_json(model, done, written) if as_json else _print(done.explanations, written)
    if done.failures:
        _complain(done)


def _print(explanations: list[Explanation], written: list[Path]) -> None:
    from cifarlab.explain.render import map_name, verdict

    for explanation in explanations:
        top = ", ".join(f"{printable(label)} {100 * share:.1f} %" for label, share in explanation.prediction.top)
        echo(f"{printable(explanation.prediction.name)}: {top}")
        echo(f"  why {printable(explanation.class_name)}:")
        for each in explanation.maps:
            scores = f"deletion {each.deletion.area:.2f}, random {each.deletion.random_area:.2f}"
            echo(f"  {map_name(each.heat_map)}: {scores}; {verdict(each, explanation.class_name)}")
    if written:
        echo("\nWritten:")
    for path in written:
        echo(f"  {path}")


def _print_json(model: Path, done: Explained, written: list[Path]) -> None:
    from cifarlab.explain.files import as_dict

    result = {
        "model": str(model),
        "explanations": [as_dict(explanation) for explanation in done.explanations],
        "failed": done.failures,
        "files": [str(path) for path in written],
    }
    echo(json.dumps(result, indent=2))


def _complain(done: Explained) -> None:
    listed = "\n".join(f"  {printable(text)}" for text in done.failures)
    if not done.explanations:
        raise DataError(f"None of the images could be read:\n{listed}")
    raise PartialError(f"{len(done.failures)} of the images could not be read:\n{listed}")
