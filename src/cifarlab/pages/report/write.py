"""From a run folder to its report, whatever state the folder is in: one page that needs nothing else.

Charts are SVG within the page: sharp at any size, in its colours by day and by night, and readable to screen readers.
Its one script shows values under the pointer and the images behind a cell of the confusion matrix. The page loads
nothing from outside, so that it can be mailed, opened without a network, and shown safely although names of classes and
files come from data that somebody else may have made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cifarlab.drawing.page import Section, page
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.files import write_atomic
from cifarlab.language import tr
from cifarlab.pages.report.advice import advice
from cifarlab.pages.report.classes import confusion, per_class
from cifarlab.pages.report.figures import write_figures
from cifarlab.pages.report.group import group_sections
from cifarlab.pages.report.learning import learning
from cifarlab.pages.report.material import Material, collect
from cifarlab.pages.report.origin import environment, recipe_section
from cifarlab.pages.report.people import people
from cifarlab.pages.report.pictures import explanations, extremes, predictions
from cifarlab.pages.report.reliability import trust
from cifarlab.pages.report.summary import data_quality, summary
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS


def write_report(run: Run, *, humans: Path | None = None) -> Path:
    """Write report.html and figures/ into a run folder; for several seeds, into each and over all. Returns the page.

    humans: human labels of the test images, counts (N, C) as .npy. Raises CheckpointError that names what is damaged,
    after the rest was written, and DataError for labels of other images, before anything is.
    """
    if run.study != SEEDS:
        path, damages = _write_one(collect(run), humans)
        return _close(run, path, damages)
    if humans is not None:
        text = tr("{path} holds several runs. Give the folder of one of them to compare it with people.", path=run.path)
        raise UsageError(text)
    materials = [collect(each) for each in run.seeds]
    # one damaged seed must not hide the others, so all are written before anything is raised
    damages = [text for material in materials for text in _write_one(material, None)[1]]
    return _close(run, _write_group_page(run, materials), damages)


def write_group_page(group: Run) -> Path:
    """Write the page over several seeds alone, which links to the reports that they have."""
    return _write_group_page(group, [collect(run) for run in group.seeds])


def _write_one(material: Material, humans: Path | None) -> tuple[Path, Sequence[str]]:
    """Write the report of one run; returns the page, and what is damaged."""
    # first, because labels of other images are refused before anything is written
    beside = [people(material.result, humans)] if humans is not None else []
    explained, damages = explanations(material)
    material = replace(material, damages=(*material.damages, *damages))
    recipe = [recipe_section(material, material.recipe)] if material.recipe is not None else []
    sections = [
        summary(material),
        data_quality(material),
        advice(material),
        learning(material),
        *_results(material),
        explained,
        *beside,
        *recipe,
    ]
    write_figures(sections, material.result, material.run)
    return _write(material, material.run, [*sections, environment(material)]), material.damages


def _write_group_page(group: Run, materials: Sequence[Material]) -> Path:
    # seeds share their recipe and their images, so the first one speaks for all
    sections = [*group_sections(materials, group.group.get("diverged", {})), data_quality(materials[0])]
    return _write(materials[0], group, sections)


def _write(material: Material, run: Run, sections: Sequence[Section | None]) -> Path:
    path = run.report_file
    data = material.data_name
    title = tr("{run} on {data}", run=run.name, data=data) if data else run.name
    # written whole or not at all: a browser that shows the page never sees half of it
    shown = [each for each in sections if each is not None]
    write_atomic(path, page(title, shown, subtitle=_subtitle(material)))
    return path


def _close(run: Run, path: Path, damages: Sequence[str]) -> Path:
    """Return the page, or raise CheckpointError: a script should not take a report with gaps for a whole one."""
    if damages:
        lines = "\n".join(damages)
        text = tr(
            "{run} is damaged.\n{damages}\nThe report shows what can still be shown: {path}",
            run=run.path,
            damages=lines,
            path=path,
        )
        raise CheckpointError(text)
    return path


def _results(material: Material) -> list[Section]:
    """From the overview to single images, and then how far to trust a probability."""
    result = material.result
    if result is None:
        return []
    sections = [confusion(result), per_class(result.evaluation)]
    if result.examples is not None:  # None where they are damaged, or too old to have been stored
        sections += [predictions(result, result.examples), extremes(result, result.examples)]
    return [*sections, trust(result)]


def _subtitle(material: Material) -> str:
    parts = [
        tr(material.recipe.description) if material.recipe is not None else "",
        tr("Trained {date}", date=material.facts.started[:10]) if material.facts.started else "",
        f"cifarlab {material.facts.cifarlab}" if material.facts.cifarlab else "",
    ]
    return tr(". ").join(filter(None, parts))
