"""From a run folder to its report, whatever state the folder is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cifarlab.drawing.page import Section, page
from cifarlab.errors import CheckpointError, UsageError
from cifarlab.files import write_atomic
from cifarlab.pages.report.classes import confusion, per_class
from cifarlab.pages.report.data import data_quality
from cifarlab.pages.report.figures import write_figures
from cifarlab.pages.report.group import group_sections
from cifarlab.pages.report.learning import learning
from cifarlab.pages.report.material import Material, collect
from cifarlab.pages.report.origin import environment, recipe_section
from cifarlab.pages.report.people import people
from cifarlab.pages.report.pictures import explanations, extremes, predictions
from cifarlab.pages.report.reliability import trust
from cifarlab.pages.report.summary import summary
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS


def write_report(run: Run, *, humans: Path | None = None) -> Path:
    """Write report.html and figures/ into a run folder and return the page; of several seeds, one over all and each.

    `humans`: answers of people to the test images, an .npy array of counts (N, C). Raises CheckpointError that names
    what is damaged, after the rest was written; DataError for answers about other images, before anything is.
    """
    if run.study == SEEDS:
        return _write_group(run, humans)
    return _close(run, *_write_one(collect(run), humans))


def _write_one(material: Material, humans: Path | None) -> tuple[Path, Sequence[str]]:
    """The page, and what is damaged."""
    beside = [people(material.result, humans)] if humans is not None else []
    explained, damages = explanations(material)
    material = replace(material, damages=(*material.damages, *damages))
    write_figures(material)
    recipe = [recipe_section(material, material.recipe)] if material.recipe is not None else []
    sections = [
        summary(material),
        data_quality(material),
        learning(material),
        *_results(material),
        explained,
        *beside,
        *recipe,
    ]
    return _write(material.run, [*sections, environment(material)], _subtitle(material)), material.damages


def _write_group(group: Run, humans: Path | None) -> Path:
    if humans is not None:
        raise UsageError(f"{group.path} holds several runs. Give the folder of one of them to compare it with people.")
    materials = [collect(run) for run in group.seeds]
    damages = [text for material in materials for text in _write_one(material, None)[1]]
    return _close(group, _write_group_page(group, materials), damages)


def write_group_page(group: Run) -> Path:
    """Write the page over several seeds alone, which links to the reports that they have."""
    return _write_group_page(group, [collect(run) for run in group.seeds])


def _write_group_page(group: Run, materials: Sequence[Material]) -> Path:
    sections = [*group_sections(materials, group.group.get("diverged", {})), data_quality(materials[0])]
    return _write(group, sections, _subtitle(materials[0]))  # seeds share their images


def _write(run: Run, sections: Sequence[Section | None], subtitle: str) -> Path:
    path = run.report_file
    write_atomic(path, page(run.name, [each for each in sections if each is not None], subtitle=subtitle))
    return path


def _close(run: Run, path: Path, damages: Sequence[str]) -> Path:
    if damages:
        listed = "\n".join(damages)
        raise CheckpointError(f"{run.path} is damaged.\n{listed}\nThe report shows what can still be shown: {path}")
    return path


def _results(material: Material) -> list[Section]:
    result = material.result
    if result is None:
        return []
    sections = [confusion(result), per_class(result.evaluation)]
    if result.examples is not None:
        names = result.evaluation.class_names
        sections += [predictions(result.examples, names), extremes(result.examples, names)]
    return [*sections, trust(result)]


def _subtitle(material: Material) -> str:
    parts = [
        material.recipe.description if material.recipe is not None else "",
        f"Trained {material.facts.started[:10]}" if material.facts.started else "",
        f"cifarlab {material.facts.cifarlab}" if material.facts.cifarlab else "",
    ]
    return ". ".join(filter(None, parts))
