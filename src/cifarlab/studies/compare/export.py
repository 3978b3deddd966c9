"""A comparison for other programs: CSV for spreadsheets, Markdown for a README or an issue."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from cifarlab.console import printable
from cifarlab.language import tr
from cifarlab.studies.compare.compare import Comparison, setting_name, value_text
from cifarlab.studies.compare.conclusions import COLUMNS, headings


def to_csv(comparison: Comparison) -> str:
    """One row per run: every number with its interval or deviation, and the settings that differ.

    Accuracies are fractions and times seconds; what a run does not have is empty.
    """
    rows = [_csv_row(comparison, place) for place in range(len(comparison.entries))]
    # an interval belongs to a run, a deviation to seeds: only the columns that some row has
    numbers = [name for key in COLUMNS for name in (key, f"{key}_low", f"{key}_high", f"{key}_sd")]
    columns = ["name", "path", "num_seeds", *(name for name in numbers if any(name in row for row in rows))]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *comparison.differences], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(comparison: Comparison, place: int) -> dict[str, object]:
    entry = comparison.entries[place]
    row: dict[str, object] = {"name": entry.label, "path": entry.path, "num_seeds": len(entry.members)}
    for key, found in comparison.numbers(entry).items():
        if found is not None:
            row[key] = found.value
            ends = found.interval._asdict() if found.interval else {}
            row |= {f"{key}_{end}": value for end, value in ends.items()}
            row |= {} if found.sd is None else {f"{key}_sd": found.sd}
    return row | {key: texts[place] for key, texts in comparison.differences.items()}


def to_markdown(comparison: Comparison) -> str:
    """The table of the runs, that of the settings that differ, and the conclusions."""
    titles = headings(comparison.split)
    rows = []
    for entry in comparison.entries:
        numbers = comparison.numbers(entry)
        rows.append([entry.label, *(write(numbers[key]) for key, (_, write) in COLUMNS.items())])
    lines = _table([tr("run"), *(titles[key] for key in COLUMNS)], rows)
    if comparison.differences:
        names = [entry.label for entry in comparison.entries]
        found = [[setting_name(key), *map(value_text, each)] for key, each in comparison.differences.items()]
        lines += ["", *_table([tr("what differs"), *names], found)]
    lines += ["", *(f"- {_text(comparison.claim(pair))}" for pair in comparison.pairs)]
    return "\n".join([*lines, "", comparison.basis]) + "\n"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(titles), f"|{'---|' * len(titles)}", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """Text that stays in its cell and is not taken for HTML."""
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
