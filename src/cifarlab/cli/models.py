"""`cifarlab models`: the networks, and what they consist of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from cifarlab.cli.options import AsJson
from cifarlab.cli.output import echo, echo_json
from cifarlab.errors import UsageError, unknown
from cifarlab.recipe.schema import ModelSpec

if TYPE_CHECKING:
    from torch import nn

Stem = Literal["default", "cifar", "imagenet"]
STEMS = ("default", "cifar", "imagenet")
NUM_CLASSES = 10
"""As in CIFAR-10; the last layer's parameters depend on it."""


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
        table = _one(ModelSpec(name=name, stem=cast(Stem, stem)), image_size)
        if as_json:
            echo_json(table)
        else:
            echo(_layer_text(table))
        return
    if stem != "default":  # which a list would ignore, since not every network has each stem
        raise UsageError("--stem needs the name of a network: cifarlab models NAME --stem cifar.")
    rows = _all(image_size)
    if as_json:
        echo_json(rows)
    else:
        echo(_list_text(rows, image_size))


def _all(image_size: int) -> list[dict[str, Any]]:
    """A row per network; its numbers are None where the images are too small for it."""
    from cifarlab.models.registry import MODELS
    from cifarlab.models.summary import multiply_adds, num_parameters

    rows = []
    for name, entry in MODELS.items():
        fits = image_size >= entry.min_size
        network = _build(ModelSpec(name=name), image_size) if fits else None
        rows.append(
            {
                "name": name,
                "num_parameters": num_parameters(network) if network else None,  # unknown, and not 0
                "multiply_adds": multiply_adds(network, image_size) if network else None,
                "min_size": entry.min_size,
                "source": entry.source,
            }
        )
    return rows


def _one(spec: ModelSpec, image_size: int) -> dict[str, Any]:
    from cifarlab.models.summary import layers, multiply_adds, num_parameters

    network = _build(spec, image_size)
    return {
        "name": spec.name,
        "stem": spec.stem,
        "image_size": image_size,
        "num_classes": NUM_CLASSES,
        "num_parameters": num_parameters(network),
        "multiply_adds": multiply_adds(network, image_size),
        "layers": [asdict(layer) for layer in layers(network, image_size)],
    }


def _build(spec: ModelSpec, image_size: int) -> nn.Module:
    import torch

    from cifarlab.models.registry import build_network

    # On the meta device a network has shapes and no memory, and a forward pass computes nothing, so that all of them
    # are listed at once. torchvision and timm ("package:name") may look at the values of tensors while they build.
    with torch.device("cpu" if ":" in spec.name else "meta"):
        return build_network(spec, NUM_CLASSES, image_size)


def _list_text(rows: list[dict[str, Any]], image_size: int) -> str:
    lines = [f"{'name':18}{'parameters':>12}{f'madds {image_size} px':>15}  source"]
    for row in rows:
        if row["num_parameters"] is None:
            numbers = f"{'needs ' + str(row['min_size']) + ' px':>27}"  # over both columns of numbers
        else:
            parameters, madds = (f"{row[key] / 1e6:.2f} M" for key in ("num_parameters", "multiply_adds"))
            numbers = f"{parameters:>12}{madds:>15}"
        lines.append(f"{row['name']:18}{numbers}  {row['source']}")
    lines.append("Also: torchvision:<name> and timm:<name>, the networks of those packages.")
    return "\n".join(lines)


def _layer_text(table: dict[str, Any]) -> str:
    width = max(len(layer["name"]) for layer in table["layers"]) + 2
    lines = [f"{'layer':{width}}{'kind':20}{'output':>16}{'parameters':>14}{'multiply-adds':>16}"]
    for layer in table["layers"]:
        output = "×".join(map(str, layer["output"])) if layer["output"] else "-"  # None: not called on its own
        numbers = f"{layer['num_parameters']:14,}{layer['multiply_adds']:16,}"
        lines.append(f"{layer['name']:{width}}{layer['kind']:20}{output:>16}{numbers}")
    totals = f"{table['num_parameters']:14,}{table['multiply_adds']:16,}"
    lines.append(f"{'total':{width}}{'':36}{totals}")
    return "\n".join(lines)
