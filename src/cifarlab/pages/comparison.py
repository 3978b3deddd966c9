"""A comparison of runs as a page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from cifarlab.drawing import page as pages
from cifarlab.drawing.charts.description import NUM_COLOURS, Bar, BarChart, LineChart, Series
from cifarlab.drawing.charts.svg import to_svg
from cifarlab.drawing.page import Section, Tile
from cifarlab.evaluation import examples
from cifarlab.language import in_a_row, listed, tr, translatable
from cifarlab.studies.compare.compare import SHOWN_EXAMPLES, Comparison
from cifarlab.studies.compare.conclusions import COLUMNS, headings, p_text, points
from cifarlab.studies.compare.entry import Entry, Member
from cifarlab.studies.compare.pairs import Pair

Row = dict[str, float | None]

GREY = NUM_COLOURS - 1
"""The colour of what is no run."""
FRONT_NOTE = translatable(
    "The dashed line joins the runs that no other beats in accuracy without training longer (Pareto's front)."
)


def comparison_page(comparison: Comparison) -> str:
    """The whole comparison as one self-contained HTML page; pictures come from the run folders that hold them."""
    entries = comparison.entries
    names = [entry.label for entry in entries]
    said = [*map(comparison.claim, comparison.pairs), comparison.basis]
    conclusions = Markup().join(map(pages.paragraph, said))

    # one column per run, so that numbers of a kind are next to each other
    numbers = [comparison.numbers(entry) for entry in entries]
    titles = headings(comparison.split)
    rows = [[titles[key], *(write(row[key]) for row in numbers)] for key, (_, write) in COLUMNS.items()]
    groups = any(entry.is_group for entry in entries)
    if groups:  # a mean over two seeds and one over ten look alike otherwise
        rows.insert(0, [tr("seeds"), *(str(len(entry.members)) for entry in entries)])
    notes = [
        tr("Parentheses hold 95 % intervals; ± is the standard deviation over seeds."),
        tr("Train accuracy is that of the selected epoch, on augmented images."),
        tr("The best validation accuracy has selected the epoch, so it is slightly too high."),
    ]
    if "device" in comparison.differences:  # accuracies are still comparable
        notes.append(tr("The runs used different devices, so their times do not compare the recipes."))

    curves = pages.side_by_side(
        _chart(entries, tr("Validation accuracy"), "val/accuracy", "epoch", percent=True),
        _chart(entries, tr("Validation loss"), "val/loss", "epoch", percent=False),
        _chart(entries, tr("Train loss"), "train/loss", "epoch", percent=False),
        # a recipe with fewer but longer epochs may be the faster one, which only this chart shows
        _chart(entries, tr("Validation accuracy over time"), "val/accuracy", "elapsed_seconds", percent=True),
    )
    settings = Markup().join(
        pages.heading(section) + pages.table(["", *names], [[key, *texts] for key, texts in found.items()])
        for section, found in comparison.settings.items()
    ) or pages.paragraph(tr("Nothing: recipes, machines and versions are the same."))
    pictures = _pictures(entries)
    sections = [
        Section(tr("Conclusions"), conclusions),
        Section(tr("Numbers"), pages.table(["", *names], rows), in_a_row(notes)),
        Section(tr("Accuracy against time"), _against_time(comparison), tr(FRONT_NOTE)),
        Section(tr("Learning curves"), curves, tr("Several seeds are drawn as their mean.") if groups else ""),
        Section(tr("What differs"), settings, tr("Values of the recipes, machines and versions.")),
        *(
            Section(tr("{first} and {second}", first=pair.first, second=pair.second), _pair(comparison, pair, pictures))
            for pair in comparison.pairs
        ),
    ]
    subtitle = tr(
        "{runs}, on the same {n:,} {split} images",
        runs=listed(names),
        n=len(entries[0].correct),
        split=tr(comparison.split),
    )
    return pages.page(tr("Comparison"), sections, subtitle=subtitle)


def _against_time(comparison: Comparison) -> Markup:
    """Every run as a point, and the line of those that are worth their time."""

    def point(entry: Entry) -> list[tuple[float, float]]:
        seconds = comparison.numbers(entry)["seconds"]
        return [] if seconds is None else [(seconds.value, entry.accuracy.value)]

    front = [place for entry in comparison.front for place in point(entry)]
    series = [Series(tr("front"), front, GREY, dashed=True)] if len(front) > 1 else []
    series += [Series(entry.label, point(entry), number % GREY) for number, entry in enumerate(comparison.entries)]
    label = tr("{split} accuracy", split=tr(comparison.split))
    return to_svg(LineChart(tr("Accuracy against training time"), tr("seconds"), label, series, percent=True))


def _chart(entries: Sequence[Entry], title: str, column: str, x_column: str, *, percent: bool) -> Markup:
    series = [  # beyond the colours, lines repeat them, dashed
        Series(entry.label, _mean_curve(entry.members, x_column, column), number % NUM_COLOURS, number >= NUM_COLOURS)
        for number, entry in enumerate(entries)
    ]
    x_label = tr("seconds") if x_column == "elapsed_seconds" else tr("epoch")
    y_label = tr("accuracy") if column.endswith("/accuracy") else tr("loss")
    return to_svg(LineChart(title, x_label, y_label, series, percent=percent))


def _mean_curve(members: Sequence[Member], x_column: str, column: str) -> list[tuple[float, float]]:
    """Row by row, the means over the seeds that trained that long."""
    # early stopping may end one seed before another; epochs without validation leave gaps, which the line bridges
    means = []
    for number in range(max(len(member.rows) for member in members)):
        rows = [member.rows[number] for member in members if number < len(member.rows)]
        xs, ys = ([value for row in rows if (value := row[name]) is not None] for name in (x_column, column))
        if xs and ys:
            means.append((fmean(xs), fmean(ys)))
    return means


def _pair(comparison: Comparison, pair: Pair, pictures: dict[int, bytes]) -> Markup:
    """Two runs against each other: the numbers, the difference of each class, and images that only one gets right."""
    first, second = comparison.entries_of(pair)
    parts = [
        # a single pair has its conclusion at the top of the page
        pages.paragraph(comparison.conclusion(pair)) if len(comparison.pairs) > 1 else Markup(),
        pages.facts(_pair_facts(pair)),
        _class_chart(pair),
        _gallery(_only_right(pair.first, pair.second), pair.first_wins, second, pictures),
        _gallery(_only_right(pair.second, pair.first), pair.second_wins, first, pictures),
    ]
    return Markup().join(parts)


def _only_right(winner: str, loser: str) -> str:
    return tr("{winner} right, {loser} wrong", winner=winner, loser=loser)


def _pair_facts(pair: Pair) -> list[tuple[str, str | Markup]]:
    """The difference and what it rests on."""
    facts: list[tuple[str, str | Markup]] = [(tr("difference"), tr("{n} points", n=points(pair.difference)))]
    is_mcnemar, is_corrected = pair.method == "McNemar", pair.adjusted_p_value != pair.p_value
    if pair.interval is not None:
        # inverted from the test, because an interval made in another way could exclude 0 where the test finds nothing
        kinds = [tr("score interval that agrees with McNemar's test") if is_mcnemar else "Welch"]
        kinds += [tr("corrected for all pairs")] if is_corrected else []
        low, high = map(points, pair.interval)
        text = tr("{low} to {high} points ({kind})", low=low, high=high, kind=listed(kinds))
        facts.append((tr("95 % interval"), text))
    if pair.p_value is not None and pair.adjusted_p_value is not None:
        # McNemar's test counts only the images where the two disagree: all others are the same for both
        test = tr("McNemar, exact") if is_mcnemar else tr("Welch's t-test over seeds")
        text = p_text(pair.p_value)
        if is_corrected:
            adjusted = p_text(pair.adjusted_p_value)
            text = tr("{p}; {adjusted} corrected for all pairs (Holm)", p=text, adjusted=adjusted)
        facts.append((test, text))
    if pair.only_first is not None and pair.only_second is not None:
        facts.append((tr("only {run} right", run=pair.first), tr("{n:,} images", n=pair.only_first)))
        facts.append((tr("only {run} right", run=pair.second), tr("{n:,} images", n=pair.only_second)))
    if pair.smallest_difference is not None:
        text = tr("{n} points, with a probability of 80 %", n=points(pair.smallest_difference))
        # so that "no difference" is not read as "equal": a smaller one would probably have been missed
        facts.append((tr("detectable difference"), text))
    return facts


def _class_chart(pair: Pair) -> Markup:
    ordered = sorted(pair.per_class, key=lambda each: -each.difference)
    bars = [
        Bar(
            f"{each.class_name} *" if each.p_value is not None and each.p_value <= 0.05 else each.class_name,
            each.difference,
            note=tr("{first:.1f} % and {second:.1f} %", first=100 * each.first, second=100 * each.second)
            + (f"\n{p_text(each.p_value)} (Holm)" if each.p_value is not None else ""),
        )
        for each in ordered
    ]
    title = tr(
        "Difference by class: {first} minus {second} (* more than chance, after Holm)",
        first=pair.first,
        second=pair.second,
    )
    x_label = tr("difference of the share of images that are right")
    return to_svg(BarChart(title, x_label, bars, value_name=tr("difference")))


def _gallery(title: str, indices: Sequence[int], loser: Entry, pictures: dict[int, bytes]) -> Markup:
    """The images that only `loser` gets wrong, as far as there are pictures of them."""
    kept = [index for index in indices if index in pictures][:SHOWN_EXAMPLES]
    if not indices:
        return pages.heading(title) + pages.paragraph(tr("There are no such images."))
    if not kept:  # the indices still say which images to look up in the data set
        shown = listed(str(index) for index in indices[:SHOWN_EXAMPLES])
        text = tr("Images {indices}; the run folders hold no pictures of them.", indices=shown)
        return pages.heading(title) + pages.paragraph(text)
    member = loser.members[0]
    names, tiles = member.evaluation.class_names, []
    for index in kept:
        # the prediction of a seed that is wrong: the first one may be among those that are right
        predicted = max(
            (each.predictions.predictions[index] for each in loser.members if not each.correct[index]),
            default=member.predictions.predictions[index],
        )
        label = names[member.predictions.labels[index]]
        files = member.predictions.names
        message = tr("predicted as {name}; image {index}") if files is None else tr("predicted as {name}")
        detail = message.format(name=names[predicted], index=index)
        tiles.append(Tile(pictures[index], label, detail, file="" if files is None else files[index]))
    return pages.heading(title) + pages.gallery(tiles, columns=6)


def _pictures(entries: Sequence[Entry]) -> dict[int, bytes]:
    """The pictures of the evaluated images that the run folders hold, by index."""
    # each run stores its own mistakes, and a mistake of one is what the other may have got right
    found: dict[int, bytes] = {}
    for member in (member for entry in entries for member in entry.members):
        path = member.run.examples_file(member.evaluation.split)
        if path.exists():
            kept = examples.read(path)
            found.update(zip(kept.indices.tolist(), kept.png, strict=True))
    return found
