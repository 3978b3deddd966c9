"""What the classics reach on the official CIFAR-10, on two CPU cores, beside what their authors reported.

    CIFARLAB_DATA=... python benchmarks/classics.py [RECIPE ...] [--runs DIR]
    python benchmarks/classics.py --table

Trains the recipes of `EPOCHS`, as many epochs as their authors did where 45 minutes suffice, else with the schedule
shortened to that; then the five plain ResNets for the same three epochs each. The test split is opened once per run.
Each result goes to results/classics/NAME.json as soon as it is there, and what stands there is not trained again; a
training that was stopped continues. --table writes docs/classics.md from the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cifarlab
from cifarlab.bench.timing import machine_of
from cifarlab.cli.tables import machine_text
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, override_all
from cifarlab.runs.folder import Run

RESULTS = Path(__file__).parent / "results" / "classics"
PAGE = Path(__file__).parents[1] / "docs" / "classics.md"

EPOCHS: dict[str, int | None] = {
    "basic-cnn": None,  # as many as its authors
    "simple-cnn": None,
    "simple-cnn-early-stopping": None,
    "inception-basic": None,
    "residual-basic": None,
    "resnet18-imagenet-stem": None,
    "googlenet": 3,
    "resnet18-plain": 30,
    "resnet34-plain": 15,
    "resnet34-cosine": 15,
    "resnet34-augmented": 15,
    "resnet34-mix": 15,
    "resnet18": None,
}
DEPTHS = ("resnet18-plain", "resnet34-plain", "resnet50-plain", "resnet101-plain", "resnet152-plain")
DEPTH_EPOCHS = 3

Row = dict[str, Any]


def main() -> None:
    """Train what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="only these; unset: all")
    parser.add_argument("--runs", type=Path, default=Path("runs/classics"), help="where the run folders go")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="write docs/classics.md, and train nothing")
    options = parser.parse_args()
    if options.table:
        PAGE.write_text(page(RESULTS), "utf-8")
        return
    for name, recipe in planned().items():
        if not options.recipes or recipe.name in options.recipes:
            measure(name, recipe, options)


def planned() -> dict[str, Recipe]:
    """The trainings by the names of their results, the quickest networks first."""
    single = {name: shortened(name, epochs) for name, epochs in EPOCHS.items()}
    return single | {f"{name}-{DEPTH_EPOCHS}-epochs": shortened(name, DEPTH_EPOCHS) for name in DEPTHS}


def shortened(name: str, epochs: int | None) -> Recipe:
    """The recipe on the official pixels, with a schedule that ends after so many epochs."""
    values = [] if epochs is None else [f"training.epochs={epochs}"]
    return override_all(load_recipe(name), values)


def measure(name: str, recipe: Recipe, options: argparse.Namespace) -> None:
    """Train one, or go on, and store what it reached."""
    result = options.results / f"{name}.json"
    if result.exists():
        return
    recipe = override_all(recipe, [f"data.source={options.data}"])
    folder = options.runs / name
    begun = sorted(folder.glob("*/recipe.toml"))
    run = cifarlab.resume(begun[-1].parent, report=False) if begun else cifarlab.train(recipe, out=folder, report=False)
    cifarlab.evaluate(run, "train", tta="none")
    row = row_of(run)
    if not row["original"]:  # the page says that all of them are
        sys.exit(f"{run.path} was tested on other pixels than the published ones; its result is not stored.")
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(row, indent=2) + "\n", "utf-8")
    print(f"{result}: {100 * row['accuracy']:.2f} %", flush=True)


def row_of(run: Run) -> Row:
    """What a finished run reached, and where."""
    facts, recipe = run.facts, run.recipe
    test, train = read_evaluation(run, "test"), read_evaluation(run, "train")
    assert test is not None and train is not None
    return {
        "recipe": recipe.name,
        "seed": facts.seed,
        "epochs": len(run.metrics),
        "parameters": facts.num_parameters,
        "seconds": facts.elapsed_seconds,
        "accuracy": test.accuracy,
        "interval": list(test.accuracy_interval),
        "train_accuracy": train.accuracy,
        "original": test.original,
        "started": facts.started,
        "machine": machine_of(facts),
    }


def page(results: Path) -> str:
    """docs/classics.md."""
    rows = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(results.glob("*.json"))}
    lines = [
        "# The classics, measured",
        "",
        "What course projects train on CIFAR-10 and what they report, beside what the same recipes reach here on the",
        "official pixels. One seed each; the interval (95 %) is that of 10,000 test images. `make results` measures",
        "what is missing. Fewer epochs than the authors': the schedule is shortened to end there, except for",
        "`simple-cnn-early-stopping` and `resnet18-imagenet-stem`, which stop when validation no longer improves.",
        "Made by `make results`; do not edit.",
        "",
        *_table([(name, rows.get(name)) for name in EPOCHS]),
        "",
        "## Five depths, three epochs each",
        "",
        *_table([(name, rows.get(f"{name}-{DEPTH_EPOCHS}-epochs")) for name in DEPTHS]),
        "",
        *sorted({_machine(row) for row in rows.values()}),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(rows: list[tuple[str, Row | None]]) -> list[str]:
    head = "| Recipe | Parameters | Epochs (authors') | Time | Train | Test (95 % interval) | Reported |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, row in rows:
        recipe = load_recipe(name)
        theirs = f"{recipe.training.epochs:g}"
        reference = recipe.reference
        reported = f"{100 * reference.reported_accuracy:g} %" if reference and reference.reported_accuracy else ""
        if row is None:
            lines.append(f"| `{name}` | | {theirs} | not yet measured | | | {reported} |")
            continue
        low, high = (f"{100 * bound:.1f}" for bound in row["interval"])
        lines.append(
            f"| `{name}` | {row['parameters'] / 1e6:.2f} million | {row['epochs']} ({theirs}) "
            f"| {row['seconds'] / 60:.1f} min | {100 * row['train_accuracy']:.1f} % "
            f"| {100 * row['accuracy']:.1f} % ({low} to {high}) | {reported} |"
        )
    return lines


def _machine(row: Row) -> str:
    return f"Measured {row['started'][:10]} on {machine_text(row['machine'])}."


if __name__ == "__main__":
    main()
