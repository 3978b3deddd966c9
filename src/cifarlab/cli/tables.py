"""What a finished run or benchmark looks like in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from cifarlab.cli.output import Output, plain_table, with_purposes
from cifarlab.console import count
from cifarlab.drawing.wording import duration, percent, with_ends, with_interval
from cifarlab.images.retold import retold
from cifarlab.language import listed, ntr, tr, translatable
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import Manifest
from cifarlab.runs.metrics import median_images_per_second
from cifarlab.runs.paths import SEEDS

if TYPE_CHECKING:
    from cifarlab.bench.kernels import KernelTable
    from cifarlab.bench.time_to_accuracy import TimeToAccuracy
    from cifarlab.bench.timing import Benchmark
    from cifarlab.evaluation.evaluate import Evaluation

BAR_CELLS = 20
"""Characters of a full bar, so that each stands for 5 points of accuracy."""

ACCURACIES = (translatable("val"), translatable("val, tta"), translatable("test"), translatable("test, tta"))
"""Columns of the time to accuracy, in the order of the fields of `Trained`."""


def next_steps() -> dict[str, str]:
    """Commands that lead on from a finished run -> what each is for."""
    return {
        "cifarlab report {run} --open": tr("every number and picture"),
        "cifarlab explain {run} IMAGE...": tr("what in a picture decides"),
        "cifarlab compare {run} RUN": tr("which of two is better"),
        "cifarlab evaluate {run} --data DIR": tr("other images, same classes"),
        "cifarlab predict {run} IMAGE...": tr("what pictures show"),
    }


def print_result(run: Run) -> None:
    """Print the best validation and the test accuracy, per-class accuracy, time, and what to do next, on stdout."""
    from cifarlab.evaluation.stored import read_evaluation

    console = Output()
    if run.study == SEEDS:
        console.print(_spreads(run))
        _print_next(console, run, {"cifarlab report {run} --open": tr("the seeds side by side, in the browser")})
        return
    facts, test = run.facts, read_evaluation(run, "test")
    console.print(_headline(run, facts, test))
    if test is not None:
        _print_classes(console, test)
    if facts.data.original is False:  # None: nobody has published accuracies on these images
        console.print(tr("These are not the original pixels: {note}", note=retold(facts.data.note)))
    if num := facts.data.skipped:
        text = ntr("{n:,} image could not be read: see {file}", "{n:,} images could not be read: see {file}", num)
        console.print(text.format(n=num, file=run.skipped_file()))
    if num := len(facts.data.warnings or ()):
        text = ntr(
            "{n} warning about the data: see the report, or data.warnings in manifest.json",
            "{n} warnings about the data: see the report, or data.warnings in manifest.json",
            num,
        )
        console.print(text.format(n=num))
    _print_next(console, run, next_steps())


def _spreads(group: Run) -> Table:
    """Mean and deviation over the seeds of a group, and their names."""
    table, summary = plain_table(show_header=False), group.group
    for title, name in ((tr("validation accuracy"), "val_accuracy"), (tr("test accuracy"), "test_accuracy")):
        if (spread := summary[name]) is not None:
            # one seed has no deviation (n - 1 = 0), and says so instead of "± 0.00"
            deviation = "" if spread["sd"] is None else f" ± {100 * spread['sd']:.2f}"
            what = tr("mean ± sd, n = {n}") if deviation else "n = {n}"
            table.add_row(title, f"{100 * spread['mean']:.2f}{deviation} %  ({what.format(n=spread['n'])})")
    table.add_row(tr("runs"), listed(summary["runs"]))
    return table


def _print_next(console: Output, run: Run, steps: Mapping[str, str]) -> None:
    """Print what may be done with the run now, and, as the last line, the address of its report."""
    commands = {command.format(run=run.as_argument): purpose for command, purpose in steps.items()}
    console.print("\n" + tr("Everything is in {path}. Next:", path=run.path))
    console.print("\n".join(with_purposes(commands, console.width)))
    if run.report_file.exists():  # as an address, which most terminals open at a click
        console.print("\n" + tr("Report: {address}", address=run.report_file.resolve().as_uri()))


def _headline(run: Run, facts: Manifest, test: Evaluation | None) -> Table:
    from cifarlab.evaluation.statistics import wilson

    table = plain_table(run.name, show_header=False)
    if facts.best_val_accuracy is not None:
        # Wilson's interval stays within 0..1 and is right for few images and for accuracies near 1, where the normal
        # approximation would print "100.0 % (100.0 to 100.0)"
        num_val = facts.data.num_val
        interval = wilson(round(facts.best_val_accuracy * num_val), num_val)
        epoch = tr("at epoch {n}", n=facts.best_epoch)
        table.add_row(tr("best validation"), f"{with_ends(facts.best_val_accuracy, interval)}  {epoch}")
    if test is not None:
        interval_words = tr("95 % interval")
        table.add_row(tr("test"), f"{with_ends(test.accuracy, test.accuracy_interval)}  {interval_words}")
        if test.is_unbalanced:  # the share says what always naming one class would reach
            share = tr("{share} of the images are {name}")
            text = share.format(share=percent(test.majority_share), name=test.largest_class)
            balanced = with_ends(test.balanced_accuracy, test.balanced_interval)
            table.add_row(tr("test, balanced"), f"{balanced}  {text}")
        if test.tta_accuracy is not None:  # beside the plain accuracy, never instead of it
            views = tr("test, {tta}", tta=test.tta)
            table.add_row(views, with_ends(test.tta_accuracy, test.tta_interval))
    images_per_second = median_images_per_second(run.metrics)
    speed = tr("no epoch") if images_per_second is None else tr("{n:,.0f} images/s", n=images_per_second)
    ending = endings().get(facts.ending or "", facts.ending or "")
    table.add_row(tr("training"), listed([duration(facts.elapsed_seconds or 0), speed, ending]))
    runtime = facts.runtime
    table.add_row(tr("on"), listed([runtime.device_name, runtime.precision, runtime.memory_format]))
    return table


def endings() -> dict[str, str]:
    """Why a training ended, as its manifest says and as people read it."""
    return {
        "all epochs done": tr("all epochs done"),
        "early stopping": tr("early stopping"),
        "time limit": tr("time limit"),
    }


def _print_classes(console: Output, test: Evaluation) -> None:
    """Print the accuracy on each class as a bar and with its interval; of many classes, only the best and the worst."""
    from cifarlab.evaluation.report_text import shown_classes

    shown, which = shown_classes(test)
    title = tr("test accuracy per class, 95 % interval")
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for each in shown:
        if each.recall is None:  # no images of the class in this split: unknown, and not 0 %
            table.add_row(each.class_name[:24], "", "–", tr("no images"))
            continue
        filled = round(each.recall * BAR_CELLS)
        bar = "" if console.is_narrow else "█" * filled + "·" * (BAR_CELLS - filled)
        accuracy = with_ends(each.recall, each.recall_interval)
        support = ntr("{n:,} image", "{n:,} images", each.support, n=each.support)
        # cut, because a name of 300 letters would push the numbers out of the terminal; the CSV has it whole
        table.add_row(each.class_name[:24], bar, accuracy, *([] if console.is_narrow else [support]))
    console.print(table)
    if which:
        console.print(tr("These are {which}; all are in evaluation-test.csv.", which=which))


def print_benchmark(found: Benchmark) -> None:
    """Print the median, minimum and maximum over the rounds of each part, the settings, and the machine, on stdout."""
    from cifarlab.bench.timing import subject_text, word

    console = Output()
    unit = tr("unit")
    titles = ("", tr("median"), tr("min"), tr("max"), "p99", unit, "n", tr("warm-up"))
    table = _numbers(subject_text(found.subject), titles, text=("", unit))
    for name, timing in found.timings.items():
        values = (_figure(value) for value in (timing.median, timing.min, timing.max, timing.p99))
        table.add_row(word(name), *values, word(timing.unit), str(timing.n), str(timing.warmup))
    console.print(table)
    # settings beside the numbers: a speed without batch size and image size cannot be compared with anything
    numbers = {key: f"{value:,}" if isinstance(value, int) else value for key, value in found.settings.items()}
    console.print(listed(f"{word(key)} {value}" for key, value in numbers.items()))
    console.print(machine_text(found.machine))


def print_kernels(found: KernelTable) -> None:
    """Print images per second with kernels and without, their ratio, and which kernels are used, on stdout."""
    from cifarlab.bench.timing import word

    console = Output()
    for model in dict.fromkeys(row.model for row in found.rows):  # a table each, so that lines fit into 80 columns
        titles = ("", tr("kernels"), "torch", tr("compiled"), tr("ratio"))
        table = _numbers(tr("{model}, images per second", model=model), titles, text=("",))
        for row in found.rows:
            if row.model == model:
                speeds = [f"{timing.median:,.0f}" for timing in row.timings.values()]
                speeds += ["–"] * (3 - len(speeds))  # without torch.compile
                ratio, (low, high) = row.ratio
                what = listed([word(row.mode), row.precision, word(row.images)])
                text = tr("{ratio:.2f} ({low:.2f} to {high:.2f})", ratio=ratio, low=low, high=high)
                table.add_row(what, *speeds, text)
        console.print(table)
    pairs = found.rows[0].timings["kernels"].n
    ratios = tr(
        "Ratios of kernels to the faster of the others, with 95 % intervals over {pairs}.", pairs=count(pairs, "pair")
    )
    console.print(ratios)
    used = tr("; ").join(_used_text(what, kernels) for what, kernels in found.used.items())
    console.print(tr("Used on this tier, {tier}: {used}", tier=found.tier, used=used))
    console.print(machine_text(found.machine))


def _used_text(what: str, kernels: Sequence[str]) -> str:
    """Write the kernels of "training, bfloat16" or of "prediction"."""
    from cifarlab.bench.timing import word

    mode, *precision = what.split(", ")
    names = listed(kernels) or tr("none")
    return tr("{what}: {names}", what=listed([word(mode), *precision]), names=names)


def print_time_to_accuracy(found: TimeToAccuracy) -> None:
    """Print a line per seed, the mean accuracy against the target, the times, and the machine, on stdout."""
    console = Output()
    titles = (tr("seed"), tr("training"), tr("to target"), *map(tr, ACCURACIES))
    table = _numbers(found.run.name, titles)
    for each in found.seeds:
        values = (each.val_accuracy, each.val_tta_accuracy, each.test_accuracy, each.test_tta_accuracy)
        # known only at the ends of epochs that were validated, so the time is no finer than that
        soonest = tr("never") if each.seconds_to_target is None else tr("{n:.1f} s", n=each.seconds_to_target)
        accuracies = ("" if value is None else percent(value, 2) for value in values)
        table.add_row(str(each.seed), tr("{n:.1f} s", n=each.seconds), soonest, *accuracies)
    console.print(table)
    console.print(f"\n{_target_text(found)}")
    times = found.seconds  # first epochs included: whoever trains once pays for them as well
    text = tr(
        "training: {median:.1f} s  (median; {min:.1f} to {max:.1f}), nothing warmed up",
        median=times.median,
        min=times.min,
        max=times.max,
    )
    console.print(text)
    if (soonest_times := found.seconds_to_target) is not None:
        text = tr(
            "to the target on val: {median:.1f} s  (median; {n} of {seeds})",
            median=soonest_times.median,
            n=soonest_times.n,
            seeds=count(len(found.seeds), "seed"),
        )
        console.print(text)
    total = duration(found.total_seconds)
    console.print(tr("with data, building and evaluation: {duration} in all", duration=total))
    console.print(machine_text(found.machine))
    console.print(tr("The runs are in {path}.", path=found.run.path))


def _target_text(found: TimeToAccuracy) -> str:
    """The accuracy that counts against the target, in one line."""
    what = tr("{split} accuracy", split=tr(found.split))
    if found.tta:
        what = tr("{accuracy} with {tta}", accuracy=what, tta=found.tta)
    # an interval over images for one seed; for several, their deviation, which includes luck in training
    if found.interval is not None:
        reached = listed([with_interval(found.mean, found.interval, 2), "n = 1"])
    else:
        spread = tr("mean ± sd, n = {n}", n=len(found.seeds))
        reached = f"{100 * found.mean:.2f} ± {100 * (found.sd or 0.0):.2f} %  ({spread})"
    message = (
        tr("{what}: {reached}; the target of {target} is reached")
        if found.reached
        else tr("{what}: {reached}; the target of {target} is not reached")
    )
    text = message.format(what=what, reached=reached, target=percent(found.target, 2))
    if found.p_value is None:
        return text
    # how often so many seeds would be as good if the mean of all were at the target
    return text + "  " + tr("(p = {p:.2g}, one-sided)", p=found.p_value)


def machine_text(facts: dict[str, Any]) -> str:
    """The machine in one line: device, precision, threads, versions."""
    parts = [f"{facts['device_name']} ({facts['device']})", facts["precision"], facts["memory_format"]]
    parts += [tr("compiled")] if facts["compile"] else []
    parts.append(count(facts["threads"], "thread"))
    torch = f"torch {facts['torch']}"
    if facts["onednn"]:
        torch = tr("{torch} with oneDNN {version}", torch=torch, version=facts["onednn"])
    versions = [f"cifarlab {facts['cifarlab']}", torch, f"Python {facts['python']}"]
    return tr("; ").join([listed(parts), listed(versions)])


def _numbers(title: str, titles: tuple[str, ...], text: tuple[str, ...] = ()) -> Table:
    """A table of right-aligned columns, except those whose titles are in `text`."""
    table = plain_table(title)
    for name in titles:
        table.add_column(name, justify="left" if name in text else "right")
    return table


def _figure(value: float | None) -> str:
    """At least three digits: "0.0123", "1.23", "12.3", "12,346"; empty for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
