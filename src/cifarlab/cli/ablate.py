"""`cifarlab ablate`: what each part of a recipe contributes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarlab import api
from cifarlab.cli.fitted import Column, fitted, wrapped
from cifarlab.cli.options import (
    AsJson,
    Assignments,
    Data,
    DataDir,
    Epochs,
    Out,
    RecipeDevice,
    RecipeName,
    Seed,
    Seeds,
    SkipBad,
    Threads,
    changed,
    training_fields,
)
from cifarlab.cli.output import Output, echo_json
from cifarlab.console import count, quoted
from cifarlab.errors import PartialError
from cifarlab.language import listed, tr
from cifarlab.recipe.parts import explained_parts
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe

if TYPE_CHECKING:
    from cifarlab.studies.ablate import Ablation, Worth


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
    seed: Seed = None,
    device: RecipeDevice = None,
    threads: Threads = None,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe with and without some of its parts and say what each contributes to the validation accuracy.

    Without --drop nothing is trained: the parts that the recipe has are listed.
    """
    options = training_fields(data, seed, device, threads, skip_bad) | {"training.epochs": epochs}
    chosen = changed(load_recipe(recipe), assignments, options)
    parts = [part.strip() for part in drop.split(",") if part.strip()]
    if not parts:
        _list(chosen, recipe, as_json)
        return
    found = api.ablate(chosen, parts, seeds=seeds, out=out, data_dir=data_dir)
    if as_json:
        echo_json(found.to_dict())
    else:
        _print(found)
    if found.failed:  # a variant without its learning-rate warm-up may well diverge; the others still count
        reasons = tr("; ").join(
            tr("without {part}: {reason}", part=part, reason=reason.splitlines()[0])
            for part, reason in found.failed.items()
        )
        message = tr("Finished, but {n} of the variants failed. {reasons}", n=len(found.failed), reasons=reasons)
        raise PartialError(message)


def _list(recipe: Recipe, argument: str, as_json: bool) -> None:
    """Print the parts that can be dropped."""
    parts = explained_parts(recipe)
    if as_json:
        echo_json({"recipe": recipe.name, "parts": [asdict(part) for part in parts]})
        return
    console = Output()
    if not parts:
        console.print(tr("{recipe} has no parts that can be dropped.", recipe=recipe.name))
        return
    columns = (Column(tr("part")), Column(tr("value"), 1, most=24), Column(tr("what it is"), 2, most=70))
    rows = [(part.name, _value(part.value), tr(part.explanation)) for part in parts]
    for line in fitted(columns, {"": rows}, console.width):
        console.print(line)
    names = ",".join(part.name for part in parts[-2:])
    text = tr("Train {recipe} with and without some of them, each dropped by itself:", recipe=recipe.name)
    console.print("\n" + text)
    console.print(f"  cifarlab ablate {quoted(argument)} --drop {names} --seeds 3")


def _value(value: object) -> str:
    if isinstance(value, dict):  # of a section
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print(found: Ablation) -> None:
    from cifarlab.drawing.wording import with_interval
    from cifarlab.evaluation.statistics import mean_and_sd, wilson

    console = Output()
    columns = (
        Column(tr("part")),
        Column(tr("worth"), 1, right=True),
        Column(tr("95 % interval"), 2, tr("95 % interval {}")),
        Column("p", 3, "p {}"),
        Column(tr("costs"), 4, tr("costs {} of the time")),
    )
    rows = [_row(each) for each in sorted(found.worths, key=lambda worth: -worth.difference)]
    for line in fitted(columns, {"": rows}, console.width):
        console.print(line)
    complete = found.variants[0]  # the recipe with all its parts, which is trained first
    if len(complete.accuracies) > 1:
        mean, sd = mean_and_sd(complete.accuracies)
        spread = tr("mean ± sd, n = {n}", n=len(complete.accuracies))
        accuracy = f"{100 * mean:.2f} ± {100 * sd:.2f} % ({spread})"
    else:  # one seed has no deviation; what is left is the uncertainty from the number of images
        [share] = complete.accuracies
        accuracy = with_interval(share, wilson(round(share * complete.num_images), complete.num_images))
    reached = tr(
        "The complete recipe reaches {accuracy} on val in {seconds:.1f} s.",
        accuracy=accuracy,
        seconds=complete.seconds,
    )
    notes = [reached, *found.conclusions]
    if len(found.worths) > 1:
        # one part in twenty would look significant by chance; an uncorrected interval beside a corrected p-value could
        # exclude zero where the test does not
        notes.append(tr("Intervals and p-values are corrected for the number of parts (Holm), so that they agree."))
    console.print()
    for note in [*notes, *_about_times(found)]:
        console.print("\n".join(wrapped(note, console.width)))
    everything = (
        tr("Everything is in {path}, the chart in figures/ablation.png.")
        if found.worths
        else tr("Everything is in {path}.")
    )
    console.print(everything.format(path=found.run.path))  # on one line, so that the path can be copied


def _row(worth: Worth) -> list[str]:
    low, high = worth.interval
    cells = [
        worth.part,
        tr("{n:+.2f} points", n=100 * worth.difference),
        tr("{low:+.2f} to {high:+.2f}", low=100 * low, high=100 * high),
        f"{worth.p_value:.2g}",
    ]
    if worth.share_of_time is None or worth.time_interval is None:
        return [*cells, ""]
    low, high = worth.time_interval
    share = tr(
        "{share:+.1f} % ({low:+.1f} to {high:+.1f})", share=100 * worth.share_of_time, low=100 * low, high=100 * high
    )
    return [*cells, share]


def _about_times(found: Ablation) -> list[str]:
    """What the times are, where they say nothing, and which trainings had another number of epochs."""
    notes = []
    if pairs := max((each.num_epochs for each in found.worths if each.share_of_time is not None), default=0):
        notes.append(
            tr(
                "Costs are shares of the complete recipe's time per training image, with 95 % intervals over {pairs} "
                "of the same epoch, after a warm-up of a tenth. The variants were trained one after the other.",
                pairs=count(pairs, "pair"),
            )
        )
    elif found.worths and not any(each.disturbed for each in found.variants):
        notes.append(tr("Times need at least two epochs after the first, which is a warm-up."))
    if names := [each.name for each in found.variants if each.disturbed]:
        notes.append(
            tr("Other programs held the cores ({variants}), so those times say nothing.", variants=listed(names))
        )
    complete, *rest = found.variants
    others = [
        tr("{n:g} without {part}", n=each.epochs, part=each.name) for each in rest if each.epochs != complete.epochs
    ]
    if others:
        notes.append(tr("Epochs: {n:g}, but {others}.", n=complete.epochs, others=listed(others)))
    return notes
