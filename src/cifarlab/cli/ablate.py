"""`cifarlab ablate`: what each part of a recipe contributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.options import AsJson, Assignments, Data, DataDir, Epochs, Out, RecipeName, Seeds, changed
from cifarlab.cli.output import Output, echo_json, plain_table
from cifarlab.errors import PartialError
from cifarlab.recipe.toml import load_recipe

if TYPE_CHECKING:
    from cifarlab.studies.ablate import Ablation


def ablate(
    recipe: RecipeName,
    drop: Annotated[
        str, typer.Option(metavar="PART,PART,...", help="Sections or values to drop, each by itself; unset: list them.")
    ] = "",
    seeds: Seeds = 1,
    data: Data = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    assignments: Assignments = None,
    epochs: Epochs = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe with and without some of its parts and say what each contributes to the validation accuracy."""
    chosen = changed(load_recipe(recipe), assignments, {"data.source": data, "training.epochs": epochs})
    parts = [part.strip() for part in drop.split(",") if part.strip()]
    found = api.ablate(chosen, parts, seeds=seeds, out=out, data_dir=data_dir)
    if as_json:
        echo_json(found.to_dict())
    else:
        _print(found)
    if found.failed:  # a variant without its learning-rate warm-up may well diverge; the others still count
        reasons = "; ".join(f"without {part}: {reason.splitlines()[0]}" for part, reason in found.failed.items())
        raise PartialError(f"Finished, but {len(found.failed)} of the variants failed. {reasons}")


def _print(found: Ablation) -> None:
    from cifarlab.drawing.wording import with_interval
    from cifarlab.evaluation.statistics import mean_and_sd, wilson

    console = Output()
    table = plain_table()
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
        # one part in twenty would look significant by chance; an uncorrected interval beside a corrected p-value could
        # exclude zero where the test does not
        console.print("\nIntervals and p-values are corrected for the number of parts (Holm), so that they agree.")
    complete = found.variants[0]  # the recipe with all its parts, which is trained first
    if len(complete.accuracies) > 1:
        mean, sd = mean_and_sd(complete.accuracies)
        accuracy = f"{100 * mean:.2f} ± {100 * sd:.2f} % (mean ± sd, n = {len(complete.accuracies)})"
    else:  # one seed has no deviation; what is left is the uncertainty from the number of images
        [share] = complete.accuracies
        accuracy = with_interval(share, wilson(round(share * complete.num_images), complete.num_images))
    console.print(f"\nThe complete recipe reaches {accuracy} on val in {complete.seconds:.1f} s.")
    if found.method == "McNemar":
        # McNemar's test compares two sets of predictions on the same images, so it sees no other source of variation
        console.print("Each variant was trained once, so the intervals do not include luck in training: see --seeds.")
    chart = ", the chart in figures/ablation.png" if found.worths else ""
    console.print(f"Everything is in {found.run.path}{chart}.")
