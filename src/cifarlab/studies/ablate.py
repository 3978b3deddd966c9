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
from cifarlab.drawing import charts
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
"""What the whole recipe is called beside its variants."""

SECTIONS = ("augmentation", "averaging", "schedule", "stopping")
"""Sections whose defaults do nothing, so that they can be dropped whole."""

SETTINGS = ("augmentation.crop_fill", "augmentation.mix_probability")
"""Of an augmentation, but none by themselves."""

OF_SGD = ("optimizer.momentum", "optimizer.nesterov")
"""Of which other optimizers take no notice."""

OFF: dict[str, dict[str, Any]] = {
    "schedule.warmup": {"schedule.warmup": "0 steps"},
    "optimizer.momentum": {"optimizer.momentum": 0.0, "optimizer.nesterov": False},
    "optimizer.nesterov": {"optimizer.nesterov": False},
    "optimizer.weight_decay": {"optimizer.weight_decay": 0.0},
    "training.label_smoothing": {"training.label_smoothing": 0.0},
    "training.class_weights": {"training.class_weights": "none"},
    "training.clip_norm": {"training.clip_norm": 0.0},
    "model.pretrained": {"model.pretrained": False, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.weights": {"model.weights": None, "model.freeze": "none", "model.unfreeze_epoch": None},
    "model.freeze": {"model.freeze": "none", "model.unfreeze_epoch": None},
}
"""What a single field is set to when it is dropped, with those that make no sense without it."""


@dataclass(frozen=True)
class Variant:
    """The trainings of one recipe, on the validation split, one value per seed."""

    name: str
    accuracies: tuple[float, ...]
    num_images: int
    seconds: float
    """Of training, on average."""
    runs: tuple[str, ...]
    """Folders, relative to that of the ablation."""


@dataclass(frozen=True)
class Worth:
    """What the complete recipe gains by a part, in accuracy on the validation split and in seconds of training."""

    part: str
    difference: float
    interval: Interval
    """As wide as the correction of the p-value asks for: it excludes 0 exactly where that is at most 0.05."""
    p_value: float
    """Corrected by Holm for the number of parts."""
    seconds: float
    """That the part costs; negative when the recipe trains faster with it."""
    share_of_time: float
    """The same as a fraction of the complete training."""


@dataclass
class Ablation:
    """The whole table so far; parts whose training diverged stand in `failed` with the reason."""

    run: Run
    method: str
    """McNemar for one seed, Welch for several."""
    variants: list[Variant] = field(default_factory=list)
    worths: list[Worth] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; accuracies and differences are fractions."""
        values = {name: [asdict(each) for each in getattr(self, name)] for name in ("variants", "worths")}
        return {"run": str(self.run.path), "split": "val", "method": self.method, **values, "failed": self.failed}


def ablate(
    recipe: Recipe, parts: Sequence[str], *, seeds: int = 1, out: str | Path = "runs", data_dir: Path | None = None
) -> Ablation:
    """Train a recipe and each variant without one part, and judge all on the validation split; test stays sealed.

    Leaves a folder with every run, ablation.json and figures/ablation.png, written anew after each variant.
    Raises RecipeError for a part that is unknown, already off, or without which the recipe contradicts itself,
    before anything is trained.
    """
    if recipe.validation.size == 0:
        raise RecipeError("An ablation is judged on the validation split: set validation.size, to 0.1 for example.")
    recipes = {COMPLETE: recipe} | {part: without(recipe, part) for part in parts}
    if len(recipes) == 1:
        raise UsageError(f"Name the parts to drop, of {recipe.name} these: {', '.join(parts_of(recipe))}.")
    name = f"{recipe.name[:54]}-ablation"
    with Run.new(Path(out), name, recipe, study=ABLATION) as folder:
        found = Ablation(folder, "McNemar" if seeds == 1 else "Welch")
        _train_all(found, recipes, seeds, data_dir)
    return found


def _train_all(found: Ablation, recipes: dict[str, Recipe], seeds: int, data_dir: Path | None) -> None:
    right: dict[str, NDArray[np.bool_]] = {}
    for number, (name, variant) in enumerate(recipes.items(), 1):
        what = f"{name if name == COMPLETE else f'without {name}'}: variant {number} of {len(recipes)}"
        log.info(what)
        try:
            runs = _train(variant, name, seeds, found.run, data_dir)
        except DivergedError as error:
            if name == COMPLETE:
                raise
            found.failed[name] = str(error)
            _write(found)
            continue
        except InterruptedRunError as stop:
            raise InterruptedRunError(
                f"Stopped in {what}.\nAn ablation cannot be continued: start it anew. What it has trained stays in "
                f"{found.run.path}.",
                stop.exit_code - 128,
            ) from stop
        right[name] = np.stack([_right(run, data_dir) for run in runs])
        found.variants.append(_variant(name, runs, right[name], found.run))
        found.worths = _worths(found.variants, right)
        _write(found)


def without(recipe: Recipe, part: str) -> Recipe:
    """The recipe with one part off; raises RecipeError when it is unknown or off already."""
    if part not in _parts():
        raise RecipeError(unknown("part", part[:80], parts_of(recipe)))
    if not _is_on(recipe, part):
        raise RecipeError(f"{part} is already off in {recipe.name}. On are: {', '.join(parts_of(recipe))}.")
    values = recipe.model_dump()
    for path, off in _off(part).items():
        section, _, key = path.partition(".")
        values[section][key] = off
    return recipe_from(values, f"{recipe.name} without {part}")


def parts_of(recipe: Recipe) -> list[str]:
    """What can be dropped from a recipe, because it is on."""
    return [part for part in _parts() if _is_on(recipe, part)]


def _is_on(recipe: Recipe, part: str) -> bool:
    if part in OF_SGD and recipe.optimizer.name != "sgd":
        return False
    return any(_value(recipe, path) != off for path, off in _off(part).items())


def _parts() -> list[str]:
    single = [path for path in recipe_fields() if path.startswith("augmentation.") and path not in SETTINGS]
    return [*SECTIONS, *single, *OFF]


def _off(part: str) -> dict[str, Any]:
    """The values, by path, with which a part does nothing."""
    if part in OFF:
        return OFF[part]
    section, _, key = part.partition(".")
    defaults = Recipe.model_fields[section].default.model_dump()
    return {f"{section}.{name}": value for name, value in defaults.items() if key in ("", name)}


def _value(recipe: Recipe, path: str) -> Any:
    section, _, key = path.partition(".")
    return getattr(getattr(recipe, section), key)


def _train(recipe: Recipe, name: str, seeds: int, folder: Run, data_dir: Path | None) -> list[Run]:
    """Train a variant with its test split sealed; several seeds become a group that `cifarlab compare` reads."""
    values = recipe.model_dump()
    values["name"] = name if name == COMPLETE else f"without-{name}"
    values["evaluation"]["test"] = False
    variant = recipe_from(values, values["name"])
    if seeds == 1:
        return [train(variant, out=folder.path, data_dir=data_dir)]
    group = train_seeds(variant, seeds, out=folder.path, data_dir=data_dir)
    require_all_seeds(group)
    return group.seeds


def _right(run: Run, data_dir: Path | None) -> NDArray[np.bool_]:
    """Which validation images a run got right, (N,)."""
    judge(run, "val", reason="ablation", data_dir=data_dir)
    found = predictions.read(run.predictions_file("val"))
    return np.asarray(found.predictions == found.labels)


def _variant(name: str, runs: Sequence[Run], right: NDArray[np.bool_], folder: Run) -> Variant:
    return Variant(
        name=name,
        accuracies=tuple(right.mean(axis=1).tolist()),
        num_images=right.shape[1],
        seconds=fmean(run.facts.elapsed_seconds or 0.0 for run in runs),
        runs=tuple(str(run.path.relative_to(folder.path)) for run in runs),
    )


def _worths(variants: Sequence[Variant], right: dict[str, NDArray[np.bool_]]) -> list[Worth]:
    """Every variant against the complete recipe, which is the first."""
    complete, *rest = variants
    p_values = [_p_value(right[COMPLETE], right[each.name]) for each in rest]
    adjusted = holm(p_values)
    levels = map(corrected_confidence, p_values, adjusted)
    return [
        Worth(
            part=each.name,
            difference=fmean(complete.accuracies) - fmean(each.accuracies),
            interval=_interval(right[COMPLETE], right[each.name], confidence),
            p_value=p_value,
            seconds=complete.seconds - each.seconds,
            share_of_time=(complete.seconds - each.seconds) / max(complete.seconds, 1e-9),
        )
        for each, p_value, confidence in zip(rest, adjusted, levels, strict=True)
    ]


def _p_value(complete: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """On the images for one seed, over seeds for several."""
    if len(complete) > 1:
        return welch(_accuracies(complete), _accuracies(other)).p_value
    return mcnemar(*_only(complete, other))


def _interval(complete: NDArray[np.bool_], other: NDArray[np.bool_], confidence: float) -> Interval:
    """Of the difference, by the test that gives the p-value."""
    if len(complete) > 1:
        return welch(_accuracies(complete), _accuracies(other), confidence).interval
    return paired_interval(*_only(complete, other), complete.shape[1], confidence)


def _accuracies(right: NDArray[np.bool_]) -> list[float]:
    return [float(value) for value in right.mean(axis=1)]


def _only(complete: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int]:
    """Images that one of two single runs gets right alone."""
    return int((complete & ~other).sum()), int((other & ~complete).sum())


def _write(ablation: Ablation) -> None:
    ablation.run.write_study(ABLATION, ablation.to_dict())
    worths = ablation.worths
    if worths:
        figure = charts.effects(
            [each.part for each in worths], [each.difference for each in worths], [each.interval for each in worths]
        )
        charts.save_png(figure, ablation.run.figure("ablation"))
