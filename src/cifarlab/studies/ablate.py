"""What each part of a recipe is worth: train it whole, and again without one part at a time."""

from __future__ import annotations

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
from cifarlab.errors import DivergedError, InterruptedRunError, RecipeError, UsageError, unknown
from cifarlab.evaluation import predictions
from cifarlab.evaluation.statistics import Interval, corrected_confidence, holm, mcnemar, paired_interval, welch
from cifarlab.judge import judge
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_fields, recipe_from
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import ABLATION
from cifarlab.studies.seeds import require_all_seeds, train_seeds
from cifarlab.training.train import train

COMPLETE = "complete"
"""The name of the whole recipe among its variants."""

SECTIONS = ("augmentation", "averaging", "schedule", "stopping")
"""Sections whose defaults do nothing, so that they can be dropped whole."""

SETTINGS = ("augmentation.crop_fill", "augmentation.mix_probability")
"""Fields that only say how another augmentation works, and are not parts themselves."""

OF_SGD = ("optimizer.momentum", "optimizer.nesterov")
"""Fields that other optimizers ignore."""

OFF: dict[str, dict[str, Any]] = {
    "schedule.warmup": {"schedule.warmup": "0 steps"},
    "optimizer.momentum": {"optimizer.momentum": 0.0, "optimizer.nesterov": False},
    "optimizer.nesterov": {"optimizer.nesterov": False},
    "optimizer.weight_decay": {"optimizer.weight_decay": 0.0},
    "training.label_smoothing": {"training.label_smoothing": 0.0},
    "training.class_weights": {"training.class_weights": "none"},
    "training.clip_norm": {"training.clip_norm": 0.0},
    # frozen random features would measure freezing, not the loss of the learnt weights
    "model.pretrained": {"model.pretrained": False, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.weights": {"model.weights": None, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.freeze": {"model.freeze": "none", "model.unfreeze_epoch": None},
}
"""A field that can be dropped -> the values that do so, with those of the fields that make no sense without it."""


@dataclass(frozen=True)
class Variant:
    """The trainings of one recipe, on the validation split, one value per seed."""

    name: str
    accuracies: tuple[float, ...]
    num_images: int
    seconds: float
    """Mean training time."""
    runs: tuple[str, ...]
    """Folders, relative to that of the ablation."""


@dataclass(frozen=True)
class Worth:
    """What a part adds to the complete recipe: accuracy on the validation split, and seconds of training."""

    part: str
    difference: float
    interval: Interval
    """As wide as the correction of the p-value demands: it excludes 0 exactly where that is at most 0.05."""
    p_value: float
    """Corrected by Holm for the number of parts."""
    seconds: float
    """Seconds that the part costs; negative when the recipe trains faster with it."""
    share_of_time: float
    """The same as a fraction of the complete training."""


@dataclass
class Ablation:
    """The whole table so far; parts whose training diverged are in `failed` with the reason."""

    run: Run
    method: str
    """McNemar for one seed, Welch for several."""
    variants: list[Variant] = field(default_factory=list)
    worths: list[Worth] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON values; accuracies and differences are fractions."""
        values = {name: [asdict(each) for each in getattr(self, name)] for name in ("variants", "worths")}
        return {"run": str(self.run.path), "split": "val", "method": self.method, **values, "failed": self.failed}


def ablate(
    recipe: Recipe, parts: Sequence[str], *, seeds: int = 1, out: str | Path = "runs", data_dir: Path | None = None
) -> Ablation:
    """Train a recipe and each variant without one part, and evaluate all of them on the validation split.

    Leaves a folder with every run, ablation.json and figures/ablation.png, rewritten after each variant.
    Raises RecipeError for a part that is unknown, already off, or without which the recipe contradicts itself,
    before anything is trained.
    """
    if recipe.validation.size == 0:
        raise RecipeError("An ablation is judged on the validation split: set validation.size, to 0.1 for example.")
    recipes = {COMPLETE: recipe} | {part: without(recipe, part) for part in parts}  # every mistake is found here
    if len(recipes) == 1:
        raise UsageError(f"Name the parts to drop, of {recipe.name} these: {', '.join(parts_of(recipe))}.")
    with Run.new(Path(out), f"{recipe.name[:54]}-ablation", recipe, study=ABLATION) as folder:  # a name has up to 64
        found = Ablation(folder, "McNemar" if seeds == 1 else "Welch")
        correct: dict[str, NDArray[np.bool_]] = {}
        for number, (name, variant) in enumerate(recipes.items(), 1):
            what = f"{name if name == COMPLETE else f'without {name}'}: variant {number} of {len(recipes)}"
            log.info(what)
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
                    f"Stopped in {what}.\nAn ablation cannot be continued: start it anew. What it has trained stays in "
                    f"{found.run.path}.",
                    stop.exit_code - 128,  # the number of the signal
                ) from stop
            correct[name] = np.stack([_correct_images(run, data_dir) for run in runs])
            found.variants.append(
                Variant(
                    name=name,
                    accuracies=tuple(correct[name].mean(axis=1).tolist()),
                    num_images=correct[name].shape[1],
                    seconds=fmean(run.facts.elapsed_seconds or 0.0 for run in runs),
                    runs=tuple(str(run.path.relative_to(folder.path)) for run in runs),
                )
            )
            # all of them again, since Holm's correction of each p-value depends on the others
            found.worths = _worths(found.variants, correct)
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


def _correct_images(run: Run, data_dir: Path | None) -> NDArray[np.bool_]:
    """Which validation images a run classifies correctly, (N,)."""
    judge(run, "val", reason="ablation", data_dir=data_dir)
    found = predictions.read(run.predictions_file("val"))
    return np.asarray(found.predictions == found.labels)


def _worths(variants: Sequence[Variant], correct: dict[str, NDArray[np.bool_]]) -> list[Worth]:
    """Compare every variant with the complete recipe, which is the first."""
    complete, *rest = variants
    p_values = [_compared(correct[COMPLETE], correct[each.name])[0] for each in rest]
    # With 20 parts that are worth nothing, one would be expected below 0.05 by luck. After Holm's correction the chance
    # that any of them is stays below 0.05.
    adjusted = holm(p_values)
    levels = map(corrected_confidence, p_values, adjusted)
    return [
        Worth(
            part=each.name,
            difference=fmean(complete.accuracies) - fmean(each.accuracies),
            interval=_compared(correct[COMPLETE], correct[each.name], confidence)[1],
            p_value=p_value,
            seconds=complete.seconds - each.seconds,
            share_of_time=(complete.seconds - each.seconds) / max(complete.seconds, 1e-9),
        )
        for each, p_value, confidence in zip(rest, adjusted, levels, strict=True)
    ]


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
    x_label = "points of accuracy that the part is worth, with 95 % interval"
    return BarChart("What the parts are worth", x_label, bars, "worth", "95 % interval", percent=False, points=True)


def without(recipe: Recipe, part: str) -> Recipe:
    """The recipe with one part off; raises RecipeError when it is unknown or off already."""
    if part not in _parts():
        raise RecipeError(unknown("part", part[:80], parts_of(recipe)))
    if not _is_on(recipe, part):  # the variant would be the complete recipe once more
        raise RecipeError(f"{part} is already off in {recipe.name}. On are: {', '.join(parts_of(recipe))}.")
    values = recipe.model_dump()
    for path, off in _off(part).items():
        section, _, key = path.partition(".")
        values[section][key] = off
    return recipe_from(values, f"{recipe.name} without {part}")  # checked again: the rest may need the part


def parts_of(recipe: Recipe) -> list[str]:
    """The parts that can be dropped from a recipe, because they are on."""
    return [part for part in _parts() if _is_on(recipe, part)]


def _parts() -> list[str]:
    single = [path for path in recipe_fields() if path.startswith("augmentation.") and path not in SETTINGS]
    return [*SECTIONS, *single, *OFF]


def _is_on(recipe: Recipe, part: str) -> bool:
    if part in OF_SGD and recipe.optimizer.name != "sgd":
        return False
    values = recipe.model_dump()
    paths = ((path.partition("."), off) for path, off in _off(part).items())
    return any(values[section][key] != off for (section, _, key), off in paths)


def _off(part: str) -> dict[str, Any]:
    """The values, by path, with which a part does nothing."""
    if part in OFF:
        return OFF[part]
    section, _, key = part.partition(".")
    # these sections do nothing by default
    defaults = Recipe.model_fields[section].get_default(call_default_factory=True).model_dump()
    return {f"{section}.{name}": value for name, value in defaults.items() if key in ("", name)}
