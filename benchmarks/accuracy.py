"""What the shipped recipes reach on the official CIFAR-10, on two CPU cores: the tables of README and docs/classics.md.

    CIFARLAB_DATA=... python benchmarks/accuracy.py [NAME ...] [--runs DIR] [--fashion-mnist DIR]
    python benchmarks/accuracy.py --table

Trains our own recipes from the seeds of `SEEDS`, which were never used to choose a recipe; then those of `EPOCHS` once,
for as many epochs as their authors did where 45 minutes suffice, else with the schedule shortened to that; then the
five plain ResNets for the same three epochs each; and some of our own on Fashion-MNIST, whose four IDX files are those
of Debian's package dataset-fashion-mnist. The test split is opened once per run. Each result goes to
results/accuracy/NAME.json as soon as it is there, and what stands there is not trained again; a training that was
stopped continues. One that was disturbed keeps its accuracy, which is that of its seed, and not its time: its
"seconds" are set to null by hand. --table writes the tables from the results, and measured.json of the package, from
which `cifarlab recipes` has its figures.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import cifarlab
from cifarlab.bench.timing import machine_of
from cifarlab.cli.tables import machine_text
from cifarlab.console import count
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.recipe.measured import Measured
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_names
from cifarlab.runs.folder import Run

RESULTS = Path(__file__).parent / "results" / "accuracy"
ROOT = Path(__file__).parents[1]

FIRST_SEED = 1000
SEEDS = {"quick": 5, "speed": 10, "speed-plus": 3}
"""How many seeds of our own recipes."""

FASHION = {"speed": None, "quick": 10}
"""Epochs on Fashion-MNIST; None: those of the recipe. quick is made for 2,700 images, not for 54,000."""
FASHION_SEEDS = 3

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

IN_README = ("quick", "speed", "speed-plus", "resnet18", "simple-cnn", "resnet18-plain")
START, END = "<!-- made by `make results` -->", "<!-- end -->"
"""Between them stands the table of a README."""

ENGLISH = {
    "head": "| recipe | images | epochs | training | test accuracy | with more views | reported by its authors |",
    "sample": "sample, {:,}",
    "cifar10": "{:,}",
    "minutes": "{} min {} s",
    "seconds": "{} s",
    "interval": "{:.1f} % ({:.1f} to {:.1f})",
    "mirror": "two: ",
    "mirror+shifts": "six: ",
    "after": "{:g} % after {:g} epochs",
}
CHINESE = {
    "head": "| 配方 | 图片 | 轮数 | 训练用时 | 测试准确率 | 多视图测试 | 原作者报告 |",
    "sample": "自带样本，{:,} 张",
    "cifar10": "{:,} 张",
    "minutes": "{} 分 {} 秒",
    "seconds": "{} 秒",
    "interval": "{:.1f} %（{:.1f} 到 {:.1f}）",
    "mirror": "两视图：",
    "mirror+shifts": "六视图：",
    "after": "{1:g} 轮后 {0:g} %",
}
READMES = {"README.md": ENGLISH, "README.zh-CN.md": CHINESE}

Row = dict[str, Any]


def main() -> None:
    """Train what is missing, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these results, with all seeds; unset: all")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="where the run folders go")
    parser.add_argument("--fashion-mnist", default="/usr/share/datasets/fashion-mnist", metavar="DIR")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="write the tables, and train nothing")
    options = parser.parse_args()
    if options.table:
        for path, text in pages(RESULTS).items():
            (ROOT / path).write_text(text, "utf-8")
        return
    for name, recipe in planned(options.fashion_mnist).items():
        if not options.names or any(is_of(name, chosen) for chosen in options.names):
            measure(name, recipe, options)


def planned(fashion_mnist: str) -> dict[str, Recipe]:
    """The trainings by the names of their results."""
    recipes: dict[str, Recipe] = {}
    for name, num_seeds in SEEDS.items():
        recipes |= seeded(name, name, [], num_seeds)
    recipes |= {name: load_recipe(name).set(*in_epochs(epochs)) for name, epochs in EPOCHS.items()}
    depths = in_epochs(DEPTH_EPOCHS)
    recipes |= {f"{name}-{DEPTH_EPOCHS}-epochs": load_recipe(name).set(*depths) for name in DEPTHS}
    for name, epochs in FASHION.items():  # last, since its files may be missing
        values = [f"data.source={fashion_mnist}", *in_epochs(epochs)]
        recipes |= seeded(f"{name}-fashion-mnist", name, values, FASHION_SEEDS)
    return recipes


def seeded(result: str, name: str, values: list[str], num_seeds: int) -> dict[str, Recipe]:
    """A recipe with some values from several seeds."""
    seeds = range(FIRST_SEED, FIRST_SEED + num_seeds)
    return {f"{result}-{seed}": load_recipe(name).set(*values, f"training.seed={seed}") for seed in seeds}


def in_epochs(epochs: int | None) -> list[str]:
    """What shortens a recipe's schedule, so that it ends after so many epochs."""
    return [] if epochs is None else [f"training.epochs={epochs}"]


def measure(name: str, recipe: Recipe, options: argparse.Namespace) -> None:
    """Train one, or go on, and store what it reached."""
    result = options.results / f"{name}.json"
    if result.exists():
        return
    folder = options.runs / name
    begun = sorted(folder.glob("*/recipe.toml"))
    run = cifarlab.resume(begun[-1].parent, report=False) if begun else cifarlab.train(recipe, out=folder, report=False)
    cifarlab.evaluate(run, "train", tta="none")
    row = row_of(run)
    if row["original"] is False:  # the tables say that all of them are
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
        "data": Path(recipe.data.source).name,  # without the folders of this machine
        "images": train.num_images,
        "seed": facts.seed,
        "epochs": len(run.metrics),
        "parameters": facts.num_parameters,
        "seconds": facts.elapsed_seconds,
        "test_images": test.num_images,
        "accuracy": test.accuracy,
        "interval": list(test.accuracy_interval),
        "tta": test.tta,
        "tta_accuracy": test.tta_accuracy,
        "train_accuracy": train.accuracy,
        "original": test.original,
        "started": facts.started,
        "machine": machine_of(facts),
    }


# The tables


def pages(results: Path) -> dict[str, str]:
    """Every file with a table, by its path."""
    rows = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(results.glob("*.json"))}
    tables = {path: readme_table(rows, words) for path, words in READMES.items()}
    tables["docs/results.md"] = seeds_table(rows)
    whole = {"docs/classics.md": classics_page(rows), "src/cifarlab/recipe/measured.json": measured_file(rows)}
    return whole | {path: inserted(path, text) for path, text in tables.items()}


def inserted(path: str, table: str) -> str:
    """A file with its table as it should be."""
    before, rest = (ROOT / path).read_text("utf-8").split(START)
    return f"{before}{START}\n\n{table}\n{END}{rest.split(END)[1]}"


def of_seeds(rows: dict[str, Row], name: str) -> list[Row]:
    """The results of a name: all its seeds, or the only one."""
    return [row for key, row in rows.items() if is_of(key, name)]


def is_of(result: str, name: str) -> bool:
    """Whether a result is the one of a name, or that of one of its seeds: quick-1000 is of quick."""
    return re.fullmatch(rf"{re.escape(name)}(-\d{{4,}})?", result) is not None


def readme_table(rows: dict[str, Row], words: dict[str, str]) -> str:
    """The recipes that README names: the mean over seeds ± the standard deviation, or one run with its interval."""
    lines = [words["head"], "|" + "---|" * 7]
    for name in IN_README:
        found = of_seeds(rows, name)
        if not found:
            continue
        first, reference = found[0], load_recipe(name).reference
        cells = [
            f"`{name}`",
            words[first["data"]].format(first["images"]),
            f"{first['epochs']}",
            duration(times(found), words),
            accuracy_text([row["accuracy"] for row in found], first["interval"], words),
            "–",
            "–",
        ]
        if first["tta_accuracy"] is not None:
            cells[5] = words[first["tta"]] + plain_text([row["tta_accuracy"] for row in found])
        if reference and reference.reported_accuracy and name not in SEEDS:
            cells[6] = words["after"].format(100 * reference.reported_accuracy, load_recipe(name).training.epochs)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def times(rows: list[Row]) -> list[float]:
    """The seconds of the trainings; a disturbed one has null instead."""
    return [row["seconds"] for row in rows if row["seconds"] is not None]


def duration(seconds: list[float], words: dict[str, str]) -> str:
    """The mean in minutes and seconds."""
    if not seconds:
        return "–"
    minutes, rest = divmod(round(fmean(seconds)), 60)
    return words["minutes"].format(minutes, rest) if minutes else words["seconds"].format(rest)


def accuracy_text(values: list[float], interval: list[float], words: dict[str, str]) -> str:
    """Several seeds, or one with the interval of its test images."""
    if len(values) > 1:
        return plain_text(values)
    return words["interval"].format(*(100 * value for value in (values[0], *interval)))


def plain_text(values: list[float]) -> str:
    """The mean in percent, with deviation and n where there are several."""
    mean = 100 * fmean(values)
    return f"{mean:.2f} ± {100 * stdev(values):.2f} % (n = {len(values)})" if len(values) > 1 else f"{mean:.1f} %"


def measured_file(rows: dict[str, Row]) -> str:
    """What the package knows of each recipe's results."""
    found = {name: asdict(measured_of(seeds)) for name in recipe_names() if (seeds := of_seeds(rows, name))}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def measured_of(rows: list[Row]) -> Measured:
    """One recipe's results over its seeds."""
    # times of different machines have no mean: those of the machine that has the first one count
    timed = [row for row in rows if row["seconds"] is not None]
    machine = machine_name((timed or rows)[0])
    accuracies, several = [row["accuracy"] for row in rows], len(rows) > 1
    views = [row["tta_accuracy"] for row in rows if row["tta_accuracy"] is not None]
    return Measured(
        data=rows[0]["data"],
        num_train=rows[0]["images"],
        epochs=rows[0]["epochs"],
        num_seeds=len(rows),
        accuracy=fmean(accuracies),
        sd=stdev(accuracies) if several else None,
        interval=None if several else rows[0]["interval"],
        tta=rows[0]["tta"],
        tta_accuracy=fmean(views) if views else None,
        seconds=fmean([row["seconds"] for row in timed if machine_name(row) == machine]) if timed else None,
        machine=machine,
        date=rows[0]["started"][:10],
    )


def machine_name(row: Row) -> str:
    """The machine of a result in short."""
    return f"{row['machine']['device_name']}, {count(row['machine']['threads'], 'thread')}"


def seeds_table(rows: dict[str, Row]) -> str:
    """Every recipe: our own from several seeds, the classics once."""
    lines = ["| recipe | data | epochs | n | training | test | with more views | machine, date |", "|" + "---|" * 8]
    for name in [*SEEDS, *EPOCHS, *(f"{name}-fashion-mnist" for name in FASHION)]:
        found = of_seeds(rows, name)
        if not found:
            continue
        first = found[0]
        seconds = times(found)
        spread = f" ± {stdev(seconds):.0f}" if len(seconds) > 1 else ""
        views = [row["tta_accuracy"] for row in found]
        cells = [
            f"`{first['recipe']}`",
            f"{first['data']}, {first['images']:,}",
            f"{first['epochs']}",
            f"{len(found)}",
            f"{fmean(seconds):.0f}{spread} s" if seconds else "–",
            accuracy_text([row["accuracy"] for row in found], first["interval"], ENGLISH),
            "–" if None in views else ENGLISH[first["tta"]] + plain_text(views),
            f"{first['machine']['device_name']}, {first['started'][:10]}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def classics_page(rows: dict[str, Row]) -> str:
    """docs/classics.md."""
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
