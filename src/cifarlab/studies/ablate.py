"""What each part of a recipe is worth: train it whole, and again without one part at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import log
from cifarlab.drawing.charts.description import Bar, BarChart
from cifarlab.drawing.charts.png import write_png
from cifarlab.errors import DivergedError, InterruptedRunError, RecipeError, UsageError
from cifarlab.evaluation import predictions
from cifarlab.evaluation.statistics import (
    Interval,
    corrected_confidence,
    holm,
    mcnemar,
    paired_interval,
    ratio_interval,
    welch,
)
from cifarlab.judge import judge
from cifarlab.language import in_english, listed, ntr, tr
from cifarlab.machine.contention import Usage, contention, read
from cifarlab.recipe.parts import parts_of, without
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import ABLATION
from cifarlab.studies.seeds import require_all_seeds, train_seeds
from cifarlab.training.train import train

COMPLETE = "complete"
"""The name of the whole recipe among its variants."""

WARM_UP = 0.1
"""Share of the epochs whose times do not count, and at least the first: it compiles and asks for memory."""

MOST_WAITED = 0.05
"""Share of the time that threads may wait for cores of other programs before a training's times say nothing."""

LEVEL = 0.05
"""A p-value up to this says that a part is worth something."""


@dataclass(frozen=True)
class Variant:
    """The trainings of one recipe, on the validation split, one value per seed."""

    name: str
    accuracies: tuple[float, ...]
    num_images: int
    epochs: float
    """Mean number of epochs, which early stopping may end sooner."""
    seconds: float
    """Mean training time."""
    disturbed: bool
    """Whether other programs held the cores, so that the times say nothing about the recipe."""
    runs: tuple[str, ...]
    """Folders, relative to that of the ablation."""


@dataclass(frozen=True)
class Worth:
    """What a part adds to the complete recipe: accuracy on the validation split, and training time."""

    part: str
    difference: float
    interval: Interval
    """As wide as the correction of the p-value demands: it excludes 0 exactly where that is at most LEVEL."""
    p_value: float
    """Corrected by Holm for the number of parts."""
    share_of_time: float | None
    """The share of the time per training image that the part costs; negative when the recipe is faster with it. The
    mean ratio over `num_epochs` pairs of the same epoch and seed, after the warm-up; None for fewer than two, and where
    other programs held the cores."""
    time_interval: Interval | None
    num_epochs: int


@dataclass
class Ablation:
    """The whole table so far; parts whose training diverged are in `failed` with the reason."""

    run: Run
    method: str
    """McNemar for one seed, Welch for several."""
    variants: list[Variant] = field(default_factory=list)
    worths: list[Worth] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def conclusions(self) -> list[str]:
        """What can be told from the table, and what cannot, in sentences."""
        undecided = [each.part for each in self.worths if each.p_value > LEVEL]
        num_seeds = len(self.variants[0].accuracies) if self.variants else 0
        found = []
        if undecided:
            any_part = len(undecided) == len(self.worths) > 1
            message = ntr(
                "Nothing can be told about {parts} from {seeds} each: the interval includes 0. "
                "More seeds may tell: {option}.",
                "Nothing can be told about {parts} from {seeds} each: their intervals include 0. "
                "More seeds may tell: {option}.",
                len(undecided),
            )
            parts = tr("any of the parts") if any_part else tr(" and ").join(undecided)
            seeds = ntr("one seed", "{n} seeds", num_seeds).format(n=num_seeds)
            found.append(message.format(parts=parts, seeds=seeds, option=f"--seeds {max(3, 2 * num_seeds)}"))
        if self.method == "McNemar" and self.worths:
            # McNemar's test compares two sets of predictions on the same images: it knows no other variation
            found.append(
                tr("Each variant was trained once, so the intervals do not include luck in training: see --seeds.")
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON values; accuracies and differences are fractions."""
        values = {name: [asdict(each) for each in getattr(self, name)] for name in ("variants", "worths")}
        facts = {"run": str(self.run.path), "split": "val", "method": self.method}
        with in_english():
            return {**facts, **values, "failed": self.failed, "conclusions": self.conclusions}


@dataclass(frozen=True)
class Outcome:
    """What the trainings of a variant are compared by, one entry per seed."""

    correct: NDArray[np.bool_]
    """Which validation images are classified correctly, (seeds, N)."""
    speeds: tuple[dict[int, float], ...]
    """Training images per second by epoch."""
    disturbed: bool


def ablate(
    recipe: Recipe, parts: Sequence[str], *, seeds: int = 1, out: str | Path = "runs", data_dir: Path | None = None
) -> Ablation:
    """Train a recipe and each variant without one part, and evaluate all of them on the validation split.

    Leaves a folder with every run, ablation.json and figures/ablation.png, rewritten after each variant.
    Raises RecipeError for a part that is unknown, already off, or without which the recipe contradicts itself,
    before anything is trained.
    """
    if recipe.validation.size == 0:
        raise RecipeError(tr("An ablation is judged on the validation split: set validation.size, to 0.1 for example."))
    recipes = {COMPLETE: recipe} | {part: without(recipe, part) for part in parts}  # every mistake is found here
    if len(recipes) == 1:
        raise UsageError(
            tr(
                "Name the parts to drop, of {recipe} these: {parts}.",
                recipe=recipe.name,
                parts=listed(parts_of(recipe)),
            )
        )
    with Run.new(Path(out), f"{recipe.name[:54]}-ablation", recipe, study=ABLATION) as folder:  # a name has up to 64
        found = Ablation(folder, "McNemar" if seeds == 1 else "Welch")
        outcomes: dict[str, Outcome] = {}
        for number, (name, variant) in enumerate(recipes.items(), 1):
            what = (
                tr("complete: variant {number} of {total}", number=number, total=len(recipes))
                if name == COMPLETE
                else tr("without {part}: variant {number} of {total}", part=name, number=number, total=len(recipes))
            )
            log.info(what)
            usage, started = read(), time.monotonic()
            try:
                runs = _train_variant(variant, name, seeds, folder, data_dir)
            except DivergedError as error:
                if name == COMPLETE:
                    raise  # there is nothing to compare the variants with
                found.failed[name] = str(error)  # a finding: the recipe does not train without this part
                _write(found)
                continue
            except InterruptedRunError as stop:
                raise InterruptedRunError(
                    tr(
                        "Stopped in {variant}.\n"
                        "An ablation cannot be continued: start it anew. What it has trained stays in {path}.",
                        variant=what,
                        path=found.run.path,
                    ),
                    stop.exit_code - 128,  # the number of the signal
                ) from stop
            disturbed = _was_disturbed(usage, read(), time.monotonic() - started, runs[0])
            outcomes[name] = _outcome(runs, disturbed, data_dir)
            found.variants.append(_variant(name, runs, outcomes[name], folder))
            # all of them again, since Holm's correction of each p-value depends on the others
            found.worths = _worths(found.variants, outcomes)
            _write(found)
    return found


def _train_variant(recipe: Recipe, name: str, seeds: int, folder: Run, data_dir: Path | None) -> list[Run]:
    """Train a variant; several seeds become a group that `cifarlab compare` reads."""
    values = recipe.model_dump()
    values["name"] = name if name == COMPLETE else f"without-{name}"
    # the test split stays sealed: a part chosen by its test accuracy would make that accuracy too high
    values["evaluation"]["test"] = False
    variant = recipe_from(values, values["name"])
    if seeds == 1:
        return [train(variant, out=folder.path, data_dir=data_dir)]
    group = train_seeds(variant, seeds, out=folder.path, data_dir=data_dir)
    require_all_seeds(group)
    return group.seeds


def _variant(name: str, runs: Sequence[Run], outcome: Outcome, folder: Run) -> Variant:
    return Variant(
        name=name,
        accuracies=tuple(outcome.correct.mean(axis=1).tolist()),
        num_images=outcome.correct.shape[1],
        epochs=fmean(len(speeds) for speeds in outcome.speeds),
        seconds=fmean(run.facts.elapsed_seconds or 0.0 for run in runs),
        disturbed=outcome.disturbed,
        runs=tuple(str(run.path.relative_to(folder.path)) for run in runs),
    )


def _was_disturbed(before: Usage | None, after: Usage | None, seconds: float, run: Run) -> bool:
    """Whether other programs held the cores between two readings; unknown counts as no."""
    runtime = run.facts.runtime
    if before is None or after is None or runtime.device != "cpu":
        return False
    found = contention(before, after, seconds, runtime.threads or 1)
    return found.waited > MOST_WAITED and found.others > MOST_WAITED


def _outcome(runs: Sequence[Run], disturbed: bool, data_dir: Path | None) -> Outcome:
    correct = []
    for run in runs:
        judge(run, "val", reason="ablation", data_dir=data_dir)
        found = predictions.read(run.predictions_file("val"))
        correct.append(found.predictions == found.labels)
    speeds = ({int(row["epoch"] or 0): row["images_per_second"] or 0.0 for row in run.metrics} for run in runs)
    return Outcome(np.stack(correct), tuple(speeds), disturbed)


def _worths(variants: Sequence[Variant], outcomes: dict[str, Outcome]) -> list[Worth]:
    """Compare every variant with the complete recipe, which is the first."""
    complete, *rest = variants
    whole = outcomes[COMPLETE]
    p_values = [_compared(whole.correct, outcomes[each.name].correct)[0] for each in rest]
    # With 20 parts that are worth nothing, one would be expected below 0.05 by luck. After Holm's correction the chance
    # that any of them is stays below 0.05.
    adjusted = holm(p_values)
    levels = map(corrected_confidence, p_values, adjusted)
    found = []
    for each, p_value, confidence in zip(rest, adjusted, levels, strict=True):
        share, interval, num_epochs = _share_of_time(whole, outcomes[each.name])
        found.append(
            Worth(
                part=each.name,
                difference=fmean(complete.accuracies) - fmean(each.accuracies),
                interval=_compared(whole.correct, outcomes[each.name].correct, confidence)[1],
                p_value=p_value,
                share_of_time=share,
                time_interval=interval,
                num_epochs=num_epochs,
            )
        )
    return found


def _share_of_time(complete: Outcome, other: Outcome) -> tuple[float | None, Interval | None, int]:
    """The share of the time that a part costs, its interval, and from how many pairs of epochs."""
    # Pairs of the same epoch and seed, since images may grow and seeds differ: only the part is left to explain a
    # ratio. The speed of an epoch counts no validation and no writing of checkpoints.
    pairs: list[tuple[float, float]] = []
    if complete.disturbed or other.disturbed:
        return None, None, 0
    for mine, theirs in zip(complete.speeds, other.speeds, strict=True):
        first = max(1, math.ceil(WARM_UP * min(len(mine), len(theirs))))
        both = sorted(set(mine) & set(theirs))[first:]
        pairs += [(mine[epoch], theirs[epoch]) for epoch in both if mine[epoch] and theirs[epoch]]
    if len(pairs) < 2:
        return None, None, len(pairs)
    ratio, (low, high) = ratio_interval([mine for mine, _ in pairs], [theirs for _, theirs in pairs])
    return 1 - ratio, Interval(1 - high, 1 - low), len(pairs)


def _compared(
    complete: NDArray[np.bool_], other: NDArray[np.bool_], confidence: float = 0.95
) -> tuple[float, Interval]:
    """The p-value and the interval of the difference; both arguments: which images are correct, (seeds, N)."""
    if len(complete) > 1:
        # Several trainings: their spread shows the luck of a training. Welch, not Student: it may differ by variant.
        found = welch(complete.mean(axis=1).tolist(), other.mean(axis=1).tolist(), confidence)
        return found.p_value, found.interval
    # One training each, on the same images: only those on which the two differ tell them apart, and each of these is a
    # coin toss if they are equally good. A difference is one of these two trainings, not yet of the recipes.
    only_complete, only_other = int((complete & ~other).sum()), int((other & ~complete).sum())
    interval = paired_interval(only_complete, only_other, complete.shape[1], confidence)
    return mcnemar(only_complete, only_other), interval


def _write(ablation: Ablation) -> None:
    ablation.run.write_study(ABLATION, ablation.to_dict())
    if ablation.worths:
        write_png([worth_chart(ablation.worths)], ablation.run.figure("ablation"))


def worth_chart(worths: Sequence[Worth]) -> BarChart:
    """Describe what parts are worth, in points of accuracy, each with its interval."""
    bars = []
    for each in worths:
        low, high = each.interval
        bars.append(Bar(each.part, 100 * each.difference, (100 * low, 100 * high)))
    x_label = tr("points of accuracy that the part is worth, with 95 % interval")
    title, interval = tr("What the parts are worth"), tr("95 % interval")
    return BarChart(title, x_label, bars, tr("worth"), interval, percent=False, points=True)
