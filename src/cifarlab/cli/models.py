"""`cifarlab models`: the networks, and what they consist of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.cells import cell_len

from cifarlab.cli.options import AsJson
from cifarlab.cli.output import echo, echo_json
from cifarlab.errors import UsageError, unknown
from cifarlab.language import tr
from cifarlab.recipe.schema import ModelSpec

if TYPE_CHECKING:
    from torch import nn

Stem = Literal["default", "cifar", "imagenet"]
STEMS = ("default", "cifar", "imagenet")
NUM_CLASSES = 10
"""The classes of CIFAR-10; the number of parameters in the last layer depends on it."""


def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show the layers of this network.")] = None,
    stem: Annotated[str, typer.Option(help="First layers: default, cifar or imagenet; with NAME.")] = "default",
    image_size: Annotated[int, typer.Option(min=8, max=512, help="Side of the images in pixels.")] = 32,
    as_json: AsJson = False,
) -> None:
    """List the networks with parameters and multiply-adds, or show the layers of one (for 10 classes)."""
    if stem not in STEMS:  # checked here and not by typer, for the suggestion of the nearest name
        raise UsageError(unknown("stem", stem, STEMS))
    if name is not None:
        _show(ModelSpec(name=name, stem=cast(Stem, stem)), image_size, as_json)
    elif stem != "default":  # which a list would ignore, since not every network has each stem
        command = "cifarlab models NAME --stem cifar"
        raise UsageError(tr("--stem needs the name of a network: {command}.", command=command))
    else:
        _list(image_size, as_json)


def _list(image_size: int, as_json: bool) -> None:
    from cifarlab.models.registry import MODELS
    from cifarlab.models.summary import multiply_adds, num_parameters

    rows: list[dict[str, Any]] = []
    for name, entry in MODELS.items():
        # where the images are too small for a network, its numbers are unknown, and not 0
        network = _build(ModelSpec(name=name), image_size) if image_size >= entry.min_size else None
        rows.append(
            {
                "name": name,
                "num_parameters": num_parameters(network) if network else None,
                "multiply_adds": multiply_adds(network, image_size) if network else None,
                "min_size": entry.min_size,
                "source": entry.source,
            }
        )
    if as_json:
        echo_json(rows)
        return
    madds = tr("madds {side} px", side=image_size)
    echo(f"{_left(tr('name'), 18)}{_right(tr('parameters'), 12)}{_right(madds, 15)}  {tr('source')}")
    for row in rows:
        if row["num_parameters"] is None:
            numbers = _right(tr("needs {side} px", side=row["min_size"]), 27)  # across both columns of numbers
        else:
            parameters, madds = (f"{row[key] / 1e6:.2f} M" for key in ("num_parameters", "multiply_adds"))
            numbers = f"{parameters:>12}{madds:>15}"
        echo(f"{row['name']:18}{numbers}  {tr(row['source'])}")
    # not one by one: there are hundreds, and neither package has to be installed
    echo(tr("Also: torchvision:<name> and timm:<name>, the networks of those packages."))


def _show(spec: ModelSpec, image_size: int, as_json: bool) -> None:
    from cifarlab.models.summary import layers, multiply_adds, num_parameters

    network = _build(spec, image_size)
    table = layers(network, image_size)
    total_parameters, total_madds = num_parameters(network), multiply_adds(network, image_size)
    if as_json:
        facts = {"name": spec.name, "stem": spec.stem, "image_size": image_size, "num_classes": NUM_CLASSES}
        totals = {"num_parameters": total_parameters, "multiply_adds": total_madds}
        echo_json({**facts, **totals, "layers": [asdict(layer) for layer in table]})
        return
    width = max(len(layer.name) for layer in table) + 2
    names = f"{_left(tr('layer'), width)}{_left(tr('kind'), 20)}"
    echo(f"{names}{_right(tr('output'), 16)}{_right(tr('parameters'), 14)}{_right(tr('multiply-adds'), 16)}")
    for layer in table:
        output = "×".join(map(str, layer.output)) if layer.output else "-"  # None: not called on its own
        echo(f"{layer.name:{width}}{layer.kind:20}{output:>16}{layer.num_parameters:14,}{layer.multiply_adds:16,}")
    # of the whole network, not a sum over the rows: what happens between layers has multiply-adds, too
    echo(f"{_left(tr('total'), width)}{'':36}{total_parameters:14,}{total_madds:16,}")


def _left(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _build(spec: ModelSpec, image_size: int) -> nn.Module:
    import torch

    from cifarlab.models.registry import build_empty

    # On the meta device a network has shapes and no memory, and a forward pass computes nothing, so that all of them
    # are listed at once. torchvision and timm ("package:name") may look at the values of tensors while they build.
    with torch.device("cpu" if ":" in spec.name else "meta"):
        return build_empty(spec, NUM_CLASSES, image_size)
