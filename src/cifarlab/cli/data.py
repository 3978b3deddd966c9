"""`cifarlab data`: which data sets there are, whether they are intact, and what they look like."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarlab.cli.command import Command
from cifarlab.cli.data_cache import cache
from cifarlab.cli.options import (
    AsJson,
    ClassNames,
    Columns,
    DataDir,
    Fit,
    FollowLinks,
    Layout,
    SkipBad,
    SplitNames,
    Strict,
    WhiteLevel,
    data_fields,
)
from cifarlab.cli.output import echo, echo_json
from cifarlab.console import count, log
from cifarlab.errors import DataError
from cifarlab.language import tr, translatable

if TYPE_CHECKING:
    from cifarlab.images.source import Source

SOURCES = {
    "cifar10": translatable("60,000 colour images of 10 classes, 32 px"),
    "cifar100": translatable("60,000 colour images of 100 classes, 32 px"),
    "sample": translatable("a small part of CIFAR-10 that ships with cifarlab"),
}

Name = Annotated[str, typer.Argument(metavar="NAME", help="cifar10, cifar100, sample, or the path of a data set.")]

app = typer.Typer(help="List, fetch, check and show data sets.", no_args_is_help=True)
app.command(cls=Command)(cache)


@app.command("list", cls=Command)
def list_sources(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the known data sets and where they are on this machine; nothing is downloaded."""
    from cifarlab.images.sources import data_spec, find

    found = {name: find(data_spec(name), data_dir) for name in SOURCES}
    places = {name: source.path if source else None for name, source in found.items()}
    if as_json:
        echo_json({name: str(place) if place else None for name, place in places.items()})
        return
    for name, place in places.items():
        missing = tr("not here; get it with: {command}", command=f"cifarlab data fetch {name}")
        echo(f"{name:10}{tr(SOURCES[name])}")
        echo(f"{'':10}{place or missing}")


@app.command(cls=Command)
def fetch(name: Name, data_dir: DataDir = None) -> None:
    """Download a data set, unless it is here already, and check it."""
    from cifarlab.images.sources import data_spec, open_source

    source = open_source(data_spec(name), data_dir)
    images = source.load("train")  # reading is the check: it raises DataError for what is damaged
    classes = count(images.num_classes, "class", "classes")
    echo(
        tr(
            "{name}: {images} of {classes} in {path}",
            name=name,
            images=count(len(images), "train image"),
            classes=classes,
            path=source.path,
        )
    )


@app.command(cls=Command)
def verify(
    name: Name,
    strict: Strict = False,
    layout: Layout = None,
    split_names: SplitNames = None,
    columns: Columns = None,
    class_names: ClassNames = None,
    fit: Fit = None,
    white_level: WhiteLevel = None,
    follow_links: FollowLinks = False,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Count and hash the images of every split, and look for images that occur twice."""
    from cifarlab.images.describe import describe, to_text

    source = _open(
        name, data_dir, data_fields(layout, split_names, columns, class_names, fit, white_level, follow_links, skip_bad)
    )
    # all splits together, because images that occur in two of them are looked for as well
    card = describe({split: source.load(split) for split in source.splits}, source.understanding)
    if as_json:
        echo_json(card)
    else:
        echo(to_text(name, card))
    _report_warnings(name, card, strict)  # after the result, which a script that sees exit code 3 can still read


@app.command(cls=Command)
def show(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="Draw examples of each class into this PNG file.")] = None,
    per_class: Annotated[int, typer.Option(min=1, max=50, help="Examples of each class.")] = 10,
    layout: Layout = None,
    split_names: SplitNames = None,
    columns: Columns = None,
    class_names: ClassNames = None,
    fit: Fit = None,
    white_level: WhiteLevel = None,
    follow_links: FollowLinks = False,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show how a data set is understood: splits, classes, what is left out and why; with --out, draw examples."""
    from cifarlab.drawing.grid import class_grid
    from cifarlab.files import write_atomic
    from cifarlab.images.describe import describe, pixels_text, to_text, tree_text

    source = _open(
        name, data_dir, data_fields(layout, split_names, columns, class_names, fit, white_level, follow_links, skip_bad)
    )
    if not as_json:
        # first, because decoding a large data set takes minutes and a wrong layout is seen from its folders alone
        echo(tree_text(name, source.understanding) + "\n")
    images = {split: source.load(split) for split in source.splits}
    card = describe(images, source.understanding)
    if out is not None:
        picture = io.BytesIO()
        class_grid(next(iter(images.values())), per_class).save(picture, "PNG")
        write_atomic(out, picture.getvalue())
    if as_json:
        echo_json({**card, "examples": out and str(out)})
    else:
        # the tree above has counted the classes already, where folders are the classes
        echo(pixels_text(card) if source.understanding.counts else to_text(name, card))
        echo(tr("examples: {file}", file=out) if out else tr("examples: drawn with --out FILE.png"))
    _report_warnings(name, card, strict=False)


def _open(name: str, data_dir: Path | None, fields: dict[str, object]) -> Source:
    """Open a data set by the fields of `DataSpec` that the command line gave."""
    from cifarlab.images.sources import data_spec, open_source

    return open_source(data_spec(name, **fields), data_dir)


def _report_warnings(name: str, card: dict[str, Any], strict: bool) -> None:
    from cifarlab.images.sentences import said

    found = [said(warning) for warning in card["warnings"]]
    if strict and found:  # all of them in one error, so that they need not be found one run after another
        raise DataError(tr("{name} is not clean:", name=name) + "\n" + " ".join(found))
    for warning in found:
        log.warning(tr("Warning: {text}", text=warning))
