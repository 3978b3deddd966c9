"""What a finished run looks like in a terminal."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from cifarlab.runs import Run
from cifarlab.wording import duration, percent

BAR_CELLS = 20


def print_result(run: Run) -> None:
    """Print the best validation and the test accuracy, per-class accuracy, time, and what to do next, on stdout."""
    console = Console(highlight=False, soft_wrap=True)
    seeds = run.path / "seeds.json"
    if seeds.exists():
        _print_seeds(console, run, json.loads(seeds.read_text("utf-8")))
        return
    manifest, test = run.manifest, run.evaluation("test")
    console.print(_headline(run, manifest, test))
    if test is not None:
        console.print(_per_class(test))
    if manifest["data"]["original"] is False:
        console.print(f"These are not the original pixels: {manifest['data']['note']}")
    if manifest["data"]["skipped"]:
        console.print(f"{manifest['data']['skipped']} images could not be read: see {run.path}/bad.jsonl")
    console.print(f"\nEverything is in {run.path}. Next:")
    console.print(f"  cifarlab evaluate {run.path} --split val")
    console.print(f"  cifarlab predict {run.path} IMAGE...")


def accuracy_text(accuracy: float, interval: list[float] | None = None) -> str:
    """An accuracy for people: "85.2 % (84.5 to 85.9)"."""
    text = percent(accuracy)
    return text if interval is None else f"{text} ({interval[0] * 100:.1f} to {interval[1] * 100:.1f})"


def _headline(run: Run, manifest: dict[str, Any], test: dict[str, Any] | None) -> Table:
    table = Table(title=run.name, title_justify="left", show_header=False, box=None, padding=(0, 3, 0, 0))
    if manifest.get("best_val_accuracy") is not None:
        validation = f"{accuracy_text(manifest['best_val_accuracy'], _val_interval(manifest))}"
        table.add_row("best validation", f"{validation}  epoch {manifest['best_epoch']}")
    if test is not None:
        table.add_row("test", f"{accuracy_text(test['accuracy'], test['accuracy_interval'])}  95 % interval")
        if test["tta_accuracy"] is not None:
            table.add_row(f"test, {test['tta']}", accuracy_text(test["tta_accuracy"], test["tta_interval"]))
    table.add_row("training", f"{duration(manifest['elapsed_seconds'])}, {_speed(run)}, {manifest['ending']}")
    runtime = manifest["runtime"]
    table.add_row("on", f"{runtime['device_name']}, {runtime['precision']}, {runtime['memory_format']}")
    return table


def _val_interval(manifest: dict[str, Any]) -> list[float]:
    from cifarlab.evaluation.statistics import wilson

    num_images = manifest["data"]["num_val"]
    return list(wilson(round(manifest["best_val_accuracy"] * num_images), num_images))


def _per_class(test: dict[str, Any]) -> Table:
    table = Table(title="test accuracy per class", title_justify="left", show_header=False, box=None)
    for row in test["per_class"]:
        filled = round(row["recall"] * BAR_CELLS)
        table.add_row(
            str(row["class_name"])[:24], "█" * filled + "·" * (BAR_CELLS - filled), accuracy_text(row["recall"])
        )
    return table


def _print_seeds(console: Console, run: Run, summary: dict[str, Any]) -> None:
    for name in ("val_accuracy", "test_accuracy"):
        if (spread := summary[name]) is not None:
            mean, sd = spread["mean"] * 100, spread["sd"] * 100
            console.print(f"{name.replace('_', ' '):15} {mean:.2f} ± {sd:.2f} %  (mean ± sd, n = {spread['n']})")
    console.print(f"\nThe runs are in {run.path}: {', '.join(summary['runs'])}")


def _speed(run: Run) -> str:
    speeds = [row["images_per_second"] for row in run.metrics if row["images_per_second"]]
    return f"{sorted(speeds)[len(speeds) // 2]:,.0f} images/s" if speeds else "no epoch"
