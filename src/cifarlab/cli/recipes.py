"""`cifarlab recipes`: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from cifarlab.cli.fitted import DASH, Column, Row, fitted, wrapped
from cifarlab.cli.options import AsJson
from cifarlab.cli.output import Output, echo, echo_json
from cifarlab.console import printable, progress
from cifarlab.language import listed, ntr, tr
from cifarlab.machine.estimates import estimates, remember
from cifarlab.recipe.catalogue import GROUPS, augmentation_words, group_title
from cifarlab.recipe.explained import differences, explained_toml
from cifarlab.recipe.measured import Measured, measured
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_names

WIDEST_COMMENT = 100
"""Characters of a line that explains a value; longer ones are hard to read."""


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this recipe complete, as TOML, and explain what is not the default."),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Estimate how long they, or NAME, would train on this machine; takes minutes."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the shipped recipes with what they reached, or show one complete."""
    if estimate:
        found = _estimate(recipe_names() if name is None else [name])
        if name is not None:
            _print_estimate(found, as_json)
            return
    if name is not None:
        _show(load_recipe(name), as_json)
    elif as_json:
        echo_json(facts())
    else:
        _list()


def _estimate(names: list[str]) -> dict[str, float]:
    """Estimate how long recipes would train here, and remember it of those that are shipped; returns the seconds."""
    from cifarlab.bench.estimate import estimated_seconds

    found = {}
    with progress(tr("Estimating"), len(names), tr("recipes")) as advance:
        for name in names:
            recipe = load_recipe(name)
            found[recipe.name] = estimated_seconds(recipe)
            if name in recipe_names():  # what is called so elsewhere may be something else
                remember(name, found[name])
            advance(1)
    return found


def _print_estimate(seconds: dict[str, float], as_json: bool) -> None:
    from cifarlab.drawing.wording import roughly

    if as_json:
        echo_json({"name": next(iter(seconds)), "estimated_seconds": next(iter(seconds.values()))})
        return
    for recipe, each in seconds.items():
        echo(tr("{recipe}: about {time} on this machine", recipe=recipe, time=roughly(each)))


def _show(recipe: Recipe, as_json: bool) -> None:
    # as it would run, defaults included: `cifarlab recipes NAME > my.toml` is where a recipe of one's own begins
    if as_json:
        found = [{"key": key, **asdict(each)} for key, each in differences(recipe).items()]
        echo_json({"recipe": recipe.model_dump(mode="json"), "differences": found})
        return
    console = Output()
    console.print("# " + tr("What is not the default has a comment, which explains it."))
    before = ""
    for line in explained_toml(recipe, min(console.width, WIDEST_COMMENT)).splitlines():
        is_marked = before.startswith("#") or line.startswith("[")
        console.print(Text(printable(line), "" if line.startswith("#") else "bold" if is_marked else "dim"))
        before = line


def facts() -> list[dict[str, Any]]:
    """Every shipped recipe with what the table shows, and its results as they were measured."""
    # resnet34-plain begins two of the groups; it is listed in the first
    groups = {name: group for group, names in reversed(GROUPS.items()) for name in names}
    found, here = [], estimates()
    for name in dict.fromkeys(name for names in GROUPS.values() for name in names):
        recipe, results = load_recipe(name), measured().get(name)
        found.append(
            {
                "name": name,
                "group": groups[name],
                "description": recipe.description,
                "network": recipe.model.name,
                "epochs": recipe.training.epochs,
                "augmentation": augmentation_words(recipe.augmentation),
                "measured": asdict(results) if results else None,
                "estimated_seconds": here.get(name),
                "source": recipe.reference.model_dump() if recipe.reference else None,
            }
        )
    return found


def _list() -> None:
    columns = [
        Column(tr("recipe")),
        Column(tr("network"), 4, most=15),
        Column(tr("epochs"), 3, tr("{} epochs"), right=True),
        Column(tr("augmentation"), 5, most=31),
        Column(tr("test accuracy"), 1),
        Column(tr("training"), 2, tr("trained in {}"), right=True),
    ]
    here = estimates()
    if here:
        columns.append(Column(tr("here, about"), 2, tr("about {} here"), right=True))
    groups: dict[str, list[Row]] = {}
    shown: set[str] = set()
    for title, names in GROUPS.items():
        chosen = [load_recipe(name) for name in names if name not in shown]
        shown.update(names)
        rows = [_row(recipe, measured().get(recipe.name), here.get(recipe.name)) for recipe in chosen]
        groups[f"{group_title(title)}\n{_sources(chosen)}"] = [row[: len(columns)] for row in rows]
    console = Output()
    for line in fitted(columns, groups, console.width):
        console.print(line)
    console.print()
    for note in _notes():
        console.print("\n".join(wrapped(note, console.width)))


def _row(recipe: Recipe, results: Measured | None, seconds_here: float | None) -> list[str]:
    from cifarlab.drawing.wording import duration, roughly

    augmentation = listed(map(tr, augmentation_words(recipe.augmentation))) or tr("no augmentation")
    cells = [recipe.name, recipe.model.name, f"{recipe.training.epochs:g}", augmentation]
    here = "" if seconds_here is None else roughly(seconds_here)
    if results is None:
        return [*cells, "", "", here]
    seconds = "" if results.seconds is None else duration(results.seconds)
    return [*cells, _accuracy(recipe, results), seconds, here]


def _accuracy(recipe: Recipe, results: Measured) -> str:
    """The accuracy with its uncertainty and, on lines of their own, what makes it another one than it seems."""
    from cifarlab.drawing.wording import percent, with_ends

    if results.sd is not None:
        text = f"{100 * results.accuracy:.1f} ± {percent(results.sd)} (n = {results.num_seeds})"
    else:
        text = with_ends(results.accuracy, results.interval)
    if results.data != "cifar10":
        text += "\n" + tr("on the {data}", data=results.data)
    if results.epochs < recipe.training.epochs:
        text += "\n" + ntr("after {n} epoch", "after {n} epochs", results.epochs, n=results.epochs)
    return text


def _sources(group: list[Recipe]) -> str:
    titles = dict.fromkeys(recipe.reference.title for recipe in group if recipe.reference)
    return tr("Source: {titles}", titles=tr("; ").join(titles))


def _notes() -> list[str]:
    """What the numbers are, and where they hold."""
    timed = dict.fromkeys(results.machine for results in measured().values() if results.seconds is not None)
    return [
        tr(
            "Test accuracy on the official pixels: mean ± standard deviation over n seeds, or one training with its "
            "95 % interval. {dash} stands for not yet measured.",
            dash=DASH,
        ),
        tr(
            "Training times are measured, and no estimate for this machine: on {machines}.",
            machines=tr(" and ").join(timed),
        ),
        tr("How long each takes on this machine, estimated: {command}", command="cifarlab recipes --estimate"),
        tr("One of them complete, with what differs from the defaults: {command}", command="cifarlab recipes NAME"),
    ]
