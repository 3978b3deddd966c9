"""`cifarlab ablate`: what each part of a recipe is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cifarlab import api
from cifarlab.cli.output import Output, echo
from cifarlab.errors import PartialError
from cifarlab.recipe.toml import load_recipe, override, override_all

if TYPE_CHECKING:
    from cifarlab.studies.ablate import Ablation, Variant


def ablate(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or the path of a TOML file.")],
    drop: Annotated[
        str, typer.Option(metavar="PART,PART,...", help="Sections or values to drop, each by itself; unset: list them.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Train each variant this many times.")] = 1,
    data: Annotated[str | None, typer.Option(help="Images: a name or a path. Same as --set data.source=...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for named data first.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets the ablation's folder.")] = Path("runs"),
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; can be repeated.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Same as --set training.epochs=...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train a recipe with and without some of its parts and say what each is worth on the validation split."""
    chosen = override_all(load_recipe(recipe), assignments or [])
    for key, value in {"data.source": data, "training.epochs": epochs}.items():
        if value is not None:
            chosen = override(chosen, key, str(value))
    parts = [part.strip() for part in drop.split(",") if part.strip()]
    found = api.ablate(chosen, parts, seeds=seeds, out=out, data_dir=data_dir)
    echo(json.dumps(found.to_dict(), indent=2)) if as_json else _print(found)
    if found.failed:
        reasons = "; ".join(f"without {part}: {reason.splitlines()[0]}" for part, reason in found.failed.items())
        raise PartialError(f"Finished, but {len(found.failed)} of the variants failed. {reasons}")


def _reached(variant: Variant) -> str:
    """The validation accuracy with its interval; of several seeds their mean and deviation."""
    from cifarlab.drawing.wording import with_interval
    from cifarlab.evaluation.statistics import mean_and_sd, wilson

    if len(variant.accuracies) > 1:
        mean, sd = mean_and_sd(variant.accuracies)
        return f"{100 * mean:.2f} ± {100 * sd:.2f} % (mean ± sd, n = {len(variant.accuracies)})"
    [accuracy] = variant.accuracies
    return with_interval(accuracy, wilson(round(accuracy * variant.num_images), variant.num_images))


def _print(found: Ablation) -> None:
    console = Output()
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    for name in ("part", "worth", "95 % interval", "p", "costs"):
        table.add_column(name)
    for each in sorted(found.worths, key=lambda worth: -worth.difference):
        table.add_row(
            each.part,
            f"{100 * each.difference:+.2f} points",
            f"{100 * each.interval.low:+.2f} to {100 * each.interval.high:+.2f}",
            f"{each.p_value:.2g}",
            f"{each.seconds:+.1f} s, {100 * each.share_of_time:+.0f} % of the time",
        )
    console.print(table)
    if len(found.worths) > 1:
        console.print("\nIntervals and p-values are corrected for the number of parts (Holm), so that they agree.")
    complete = found.variants[0]
    console.print(f"\nThe complete recipe reaches {_reached(complete)} on val in {complete.seconds:.1f} s.")
    if found.method == "McNemar":
        console.print("Each variant was trained once, so luck in training is no part of the intervals: see --seeds.")
    chart = ", the chart in figures/ablation.png" if found.worths else ""
    console.print(f"Everything is in {found.run.path}{chart}.")
