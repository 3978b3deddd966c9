"""What was done, on what, and how to do it again."""

from __future__ import annotations

import shlex

from markupsafe import Markup

from cifarlab.drawing.page import Section, code, details, facts, heading, link, paragraph, table
from cifarlab.drawing.wording import moment, percent, with_interval
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.section import ReferenceSpec
from cifarlab.recipe.toml import to_toml


def recipe_section(material: Material, recipe: Recipe) -> Section:
    """The recipe with its source, whose reported figure stands beside ours."""
    parts = [] if recipe.reference is None else [_reference(material, recipe.reference)]
    parts.append(details("The complete recipe", code(to_toml(recipe))))
    return Section("Recipe", Markup().join(parts), recipe.description)


def environment(material: Material) -> Section:
    """The command, the machine, the versions, and how to repeat the run."""
    run_facts = material.facts
    parts = []
    if run_facts.command:
        parts += [heading("Command"), code(shlex.join(["cifarlab", *run_facts.command[1:]]))]
    parts += [heading("Again"), code(f"cifarlab train {shlex.quote(str(material.run.recipe_file))}")]
    parts += [heading("Environment"), facts(_pairs(material))]
    if run_facts.versions:
        rows = [[name, Markup.escape(version)] for name, version in run_facts.versions.items()]
        parts.append(details("Versions", table(["package", "version"], rows)))
    return Section("Repeat", Markup().join(parts))


def _reference(material: Material, reference: ReferenceSpec) -> Markup:
    title = link(reference.url, reference.title) if reference.url else Markup("{}").format(reference.title)
    parts = [facts([("Source", title)])]
    if reference.reported_accuracy is not None:
        rows = [["reported by the source", percent(reference.reported_accuracy)]]
        if material.result is not None and not material.not_comparable:
            evaluation = material.result.evaluation
            ours = with_interval(evaluation.accuracy, evaluation.accuracy_interval)
            rows.append([f"this run, {evaluation.split}", ours])
        parts.append(table(["", "accuracy"], rows))
    if reference.differences:
        parts.append(heading("What is done differently here") + paragraph(reference.differences))
    return Markup().join(parts)


def _pairs(material: Material) -> list[tuple[str, str | Markup]]:
    run_facts = material.facts
    machine, runtime, git = run_facts.machine, run_facts.runtime, run_facts.git
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else ""
    cores = f"{machine.cores} cores" if machine.cores else ""
    threads = f"{runtime.threads} threads" if runtime.threads else ""
    compiled = "compiled" if runtime.compile else ""
    kernels = "CPU kernels" if runtime.kernels == "on" else ""
    arithmetic = [runtime.precision, runtime.memory_format, threads, compiled, kernels]
    pairs = [
        ("cifarlab", run_facts.cifarlab),
        ("Sources", f"commit {git.commit}{', with changes' if git.changed else ''}" if git else ""),
        ("Seed", "" if run_facts.seed is None else str(run_facts.seed)),
        ("Started", moment(run_facts.started)),
        ("Finished", moment(run_facts.finished)),
        ("Device", runtime.device_name),
        ("Arithmetic", ", ".join(filter(None, arithmetic))),
        ("Machine", ", ".join(filter(None, [machine.system, cores, memory]))),
    ]
    return [(name, text) for name, text in pairs if text]
