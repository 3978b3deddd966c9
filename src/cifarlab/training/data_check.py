"""Warnings about the data of a run: before it trains and, about the test split, once that has been opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cifarlab.console import log
from cifarlab.errors import DataError
from cifarlab.images.images import Images
from cifarlab.images.quality import QualityWarning, inspect, left_out
from cifarlab.images.sentences import said
from cifarlab.images.source import Source, left_out_lines
from cifarlab.language import tr
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run


def check_data(recipe: Recipe, source: Source, train: Images, val: Images | None) -> list[QualityWarning]:
    """Warn of what is questionable about the training data; the test split stays sealed.

    Raises DataError where the recipe is strict and there is a warning.
    """
    found = [*left_out(source.understanding), *_inspect(recipe, source, train, val)]
    if lines := left_out_lines(source.understanding.left_out, worth_a_warning=False):
        log.info(tr("Left out: {items}.", items=tr("; ").join(lines)))
    if found and recipe.data.strict:  # now, while no time has been spent on training
        raise DataError(_refusal(recipe, [warning.text for warning in found], tr("Nothing was trained.")))
    _say(found)
    return found


def check_opened_data(run: Run, source: Source, train: Images, val: Images | None, test: Images) -> None:
    """Look at the data again, together with the test split that has been opened, and write down what is found."""
    # by their texts in English, since the earlier warnings come from the manifest
    before = [warning.text for warning in run.data_facts.warnings or []]
    found = [*left_out(source.understanding), *_inspect(run.recipe, source, train, val, test)]
    _say([warning for warning in found if warning.to_dict()["text"] not in before])  # the others were said at the start
    run.update_data_facts(**quality_facts(found, with_test=True))


def refuse_if_strict(run: Run) -> None:
    """Raise DataError where the recipe is strict and there are warnings; those about test come only at the end."""
    texts = [said(warning.model_dump()) for warning in run.data_facts.warnings or []]
    if texts and run.recipe.data.strict:
        raise DataError(_refusal(run.recipe, texts, tr("The run is complete, in {folder}.", folder=run.path)))


def quality_facts(found: Sequence[QualityWarning], *, with_test: bool = False) -> dict[str, Any]:
    """The facts for the manifest: the warnings, and whether the test images were compared with the others."""
    return {"warnings": [warning.to_dict() for warning in found], "test_compared": with_test}


def _inspect(
    recipe: Recipe, source: Source, train: Images, val: Images | None, test: Images | None = None
) -> list[QualityWarning]:
    # a val that was taken out of train counts into the size of classes, one that the data brings does not; with class
    # weights the warning of unequal classes does not advise them
    images = {split: each for split, each in (("train", train), ("val", val), ("test", test)) if each is not None}
    is_held_out, is_weighted = val is not None and "val" not in source.splits, recipe.training.class_weights != "none"
    return inspect(images, held_out=is_held_out, weighted=is_weighted)


def _say(found: Sequence[QualityWarning]) -> None:
    for warning in found:
        log.warning(tr("Warning: {text}", text=warning.text))


def _refusal(recipe: Recipe, texts: Sequence[str], kept: str) -> str:
    what = tr("{source} is not clean, and data.strict (--strict) refuses that: {warnings}")
    return f"{what.format(source=recipe.data.source, warnings=' '.join(texts))}\n{kept}"
