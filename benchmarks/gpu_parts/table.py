"""The results as a Markdown table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cifarlab.evaluation.statistics import mean_and_sd
from gpu_parts.pieces import Record, read


def table(folder: Path) -> str:
    """One table per part that has results, under a line that names the machine."""
    parts = [(path.stem, *read(path)) for path in sorted(folder.glob("part-*.json"))]
    return "\n\n".join(_part(name.removeprefix("part-"), machine, records) for name, machine, records in parts)


def _part(name: str, machine: dict[str, Any], records: list[Record]) -> str:
    lines = [f"Part {name}: " + ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines += ["| what | measure | n | mean | sd |", "|---|---|---:|---:|---:|"]
    for group in dict.fromkeys(record.group for record in records):
        members = [record.values for record in records if record.group == group]
        for measure in dict.fromkeys(key for values in members for key in values):
            lines.append(_row(group, measure, [values[measure] for values in members if measure in values]))
    return "\n".join(lines)


def _row(group: str, measure: str, values: list[float]) -> str:
    mean, sd = mean_and_sd(values) if len(values) > 1 else (values[0], None)
    return f"| {group} | {measure} | {len(values)} | {number(measure, mean)} | {number(measure, sd)} |"


def number(measure: str, value: float | None) -> str:
    """Four digits that count; accuracies in percent, and their deviations in points."""
    if value is None:
        return "-"
    if measure.startswith("accuracy"):
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
