"""A comparison as a page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from cifarlab.drawing import page as pages
from cifarlab.drawing.page import Section, Tile
from cifarlab.drawing.svg import Bar, Series, bar_chart, line_chart
from cifarlab.evaluation import examples
from cifarlab.studies.compare.compare import SHOWN_EXAMPLES, Comparison
from cifarlab.studies.compare.conclusions import COLUMNS, headings, p_text, points
from cifarlab.studies.compare.entry import Entry, Member
from cifarlab.studies.compare.pairs import Pair

NUM_COLOURS = 7
"""Further lines repeat the colours, dashed."""

Row = dict[str, float | None]


def comparison_page(comparison: Comparison) -> str:
    """The whole comparison as one self-contained HTML page; pictures come from the run folders that hold them."""
    entries = comparison.entries
    groups = any(entry.is_group for entry in entries)
    pictures = _pictures(entries)
    sections = [
        Section("What may be concluded", _conclusions(comparison)),
        Section("Numbers", _numbers(comparison), _numbers_note(comparison)),
        Section("Curves", _curves(entries), "Lines of several seeds are their mean." if groups else ""),
        Section("What differs", _differences(comparison), "Values of the recipes, machines and versions."),
        *(Section(f"{pair.first} and {pair.second}", _pair(comparison, pair, pictures)) for pair in comparison.pairs),
    ]
    names = ", ".join(entry.label for entry in entries)
    num_images = len(entries[0].correct)
    return pages.page("Comparison", sections, subtitle=f"{names}, on the same {num_images:,} {comparison.split} images")


def _conclusions(comparison: Comparison) -> Markup:
    texts = [pages.paragraph(comparison.conclusion(pair)) for pair in comparison.pairs]
    return Markup().join(texts)


def _numbers(comparison: Comparison) -> Markup:
    """One column per run: names stand beside each other, and numbers of a kind in a row."""
    numbers = [comparison.numbers(entry) for entry in comparison.entries]
    titles = headings(comparison.split)
    rows = [[titles[key], *(write(row[key]) for row in numbers)] for key, (_, write) in COLUMNS.items()]
    if any(entry.is_group for entry in comparison.entries):
        rows.insert(0, ["seeds", *(str(len(entry.members)) for entry in comparison.entries)])
    return pages.table(["", *(entry.label for entry in comparison.entries)], rows)


def _numbers_note(comparison: Comparison) -> str:
    note = (
        "Brackets hold 95 % intervals; ± is the standard deviation over seeds. Train accuracy is that of the kept "
        "epoch, on augmented images; the best validation chose the epoch and is a little too high."
    )
    if "device" in comparison.differences:
        note += " The runs were made on different devices, so their times say nothing about the recipes."
    return note


def _curves(entries: Sequence[Entry]) -> Markup:
    return pages.side_by_side(
        _chart(entries, "Validation accuracy", "val/accuracy", "epoch", percent=True),
        _chart(entries, "Validation loss", "val/loss", "epoch", percent=False),
        _chart(entries, "Train loss", "train/loss", "epoch", percent=False),
        _chart(entries, "Validation accuracy over time", "val/accuracy", "elapsed_seconds", percent=True),
    )


def _chart(entries: Sequence[Entry], title: str, column: str, x_column: str, *, percent: bool) -> Markup:
    series = [
        Series(entry.label, _mean_curve(entry.members, x_column, column), number % NUM_COLOURS, number >= NUM_COLOURS)
        for number, entry in enumerate(entries)
    ]
    return line_chart(
        series,
        title=title,
        x_label="seconds" if x_column == "elapsed_seconds" else x_column,
        y_label=column.rpartition("/")[2],
        percent=percent,
    )


def _mean_curve(members: Sequence[Member], x_column: str, column: str) -> list[tuple[float, float]]:
    """Row by row, the means over the seeds that got so far."""
    points_ = []
    for number in range(max(len(member.rows) for member in members)):
        rows = [member.rows[number] for member in members if number < len(member.rows)]
        xs, ys = ([value for row in rows if (value := row[name]) is not None] for name in (x_column, column))
        if xs and ys:
            points_.append((fmean(xs), fmean(ys)))
    return points_


def _differences(comparison: Comparison) -> Markup:
    if not comparison.differences:
        return pages.paragraph("Nothing: recipes, machines and versions are the same.")
    rows = [[key, *texts] for key, texts in comparison.differences.items()]
    return pages.table(["", *(entry.label for entry in comparison.entries)], rows)


def _pair(comparison: Comparison, pair: Pair, pictures: dict[int, bytes]) -> Markup:
    entries = comparison.entries_of(pair)
    return Markup().join(
        [
            pages.paragraph(comparison.conclusion(pair)) if len(comparison.pairs) > 1 else Markup(),
            pages.facts(_facts(pair)),
            _class_chart(pair),
            _examples(pair, entries, pictures),
        ]
    )


def _facts(pair: Pair) -> list[tuple[str, str | Markup]]:
    facts: list[tuple[str, str | Markup]] = [("difference", f"{points(pair.difference)} points")]
    if pair.interval is not None:
        kind = "score interval that agrees with McNemar's test" if pair.method == "McNemar" else "Welch"
        corrected = ", corrected for all pairs" if pair.adjusted_p_value != pair.p_value else ""
        text = f"{points(pair.interval.low)} to {points(pair.interval.high)} points ({kind}{corrected})"
        facts.append(("95 % interval", text))
    if pair.p_value is not None and pair.adjusted_p_value is not None:
        test = "McNemar, exact" if pair.method == "McNemar" else "Welch's t-test over seeds"
        corrected = f"; {p_text(pair.adjusted_p_value)} corrected for all pairs (Holm)"
        facts.append((test, p_text(pair.p_value) + (corrected if pair.adjusted_p_value != pair.p_value else "")))
    if pair.only_first is not None and pair.only_second is not None:
        facts.append((f"only {pair.first} right", f"{pair.only_first:,} images"))
        facts.append((f"only {pair.second} right", f"{pair.only_second:,} images"))
    if pair.smallest_difference is not None:
        text = f"{points(pair.smallest_difference)} points would show in four of five cases"
        facts.append(("smallest difference", text))
    return facts


def _class_chart(pair: Pair) -> Markup:
    ordered = sorted(pair.per_class, key=lambda each: -each.difference)
    bars = [
        Bar(
            f"{each.class_name} *" if each.p_value is not None and each.p_value <= 0.05 else each.class_name,
            each.difference,
            note=f"{100 * each.first:.1f} % and {100 * each.second:.1f} %"
            + (f"\n{p_text(each.p_value)} (Holm)" if each.p_value is not None else ""),
        )
        for each in ordered
    ]
    return bar_chart(
        bars,
        title=f"Difference by class: {pair.first} minus {pair.second} (* more than chance, after Holm)",
        x_label="difference of the share of images that are right",
        value_name="difference",
    )


def _examples(pair: Pair, entries: tuple[Entry, Entry], pictures: dict[int, bytes]) -> Markup:
    first, second = entries
    return Markup().join(
        [
            _gallery(f"{pair.first} right, {pair.second} wrong", pair.first_wins, first, second, pictures),
            _gallery(f"{pair.second} right, {pair.first} wrong", pair.second_wins, second, first, pictures),
        ]
    )


def _gallery(title: str, indices: Sequence[int], winner: Entry, loser: Entry, pictures: dict[int, bytes]) -> Markup:
    kept = [index for index in indices if index in pictures][:SHOWN_EXAMPLES]
    if not indices:
        return pages.heading(title) + pages.paragraph("There are no such images.")
    if not kept:
        shown = ", ".join(str(index) for index in indices[:SHOWN_EXAMPLES])
        return pages.heading(title) + pages.paragraph(f"Images {shown}; the run folders hold no pictures of them.")
    return pages.heading(title) + pages.gallery(
        [_tile(index, winner, loser, pictures[index]) for index in kept], columns=6
    )


def _tile(index: int, winner: Entry, loser: Entry, png: bytes) -> Tile:
    member = loser.members[0]
    names = member.evaluation.class_names
    taken_for = max(
        (other.predictions.predictions[index] for other in loser.members if not other.correct[index]),
        default=member.predictions.predictions[index],
    )
    return Tile(png, names[member.predictions.labels[index]], f"taken for {names[taken_for]}; image {index}")


def _pictures(entries: Sequence[Entry]) -> dict[int, bytes]:
    """The pictures of the judged images that the run folders hold, by index."""
    found: dict[int, bytes] = {}
    for member in (member for entry in entries for member in entry.members):
        path = member.run.examples_file(member.evaluation.split)
        if path.exists():
            kept = examples.read(path)
            found.update(zip(kept.indices.tolist(), kept.png, strict=True))
    return found
