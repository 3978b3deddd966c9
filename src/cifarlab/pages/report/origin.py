"""What was done, on what, and how to do it again."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.console import count, quoted
from cifarlab.drawing.page import Section, code, details, facts, heading, link, paragraph, table
from cifarlab.drawing.wording import moment, percent, with_interval
from cifarlab.images.sentences import split_name
from cifarlab.language import listed, tr
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import to_toml
from cifarlab.runs.manifest import GitFacts


def recipe_section(material: Material, recipe: Recipe) -> Section:
    """The recipe with its source, and the accuracy that the source reports beside that of this run."""
    parts = []
    if (reference := recipe.reference) is not None:
        title = link(reference.url, reference.title) if reference.url else Markup("{}").format(reference.title)
        parts.append(facts([(tr("Source"), title)]))
        if reference.reported_accuracy is not None:
            rows = [[tr("reported by the source"), percent(reference.reported_accuracy)]]
            # on other images the two numbers would look like a comparison and be none
            if material.result is not None and not material.not_comparable:
                evaluation = material.result.evaluation
                own = with_interval(evaluation.accuracy, evaluation.accuracy_interval)
                rows.append([tr("this run, {split}", split=split_name(evaluation.split)), own])
            parts.append(table(["", tr("accuracy")], rows))
        if reference.differences:
            parts.append(heading(tr("Differences from the source")) + paragraph(tr(reference.differences)))
    # with every default, so that the page still tells what was done when a later version has other defaults
    parts.append(details(tr("The complete recipe"), code(to_toml(recipe))))
    return Section(tr("Recipe"), Markup().join(parts), recipe.description)


def environment(material: Material) -> Section:
    """The command, the machine, the versions, and how to repeat the run."""
    run_facts = material.facts
    machine, runtime, git = run_facts.machine, run_facts.runtime, run_facts.git
    parts = []
    if run_facts.command:
        # the first word is the path of the program on the machine that trained, which is of no use elsewhere
        parts += [heading(tr("Command")), code(" ".join(map(quoted, ["cifarlab", *run_facts.command[1:]])))]
    # recipe.toml rather than the command: it holds what was meant by "the recipe quick" on that day
    parts += [heading(tr("Run it again")), code(f"cifarlab train {quoted(str(material.run.recipe_file))}")]
    # the number of threads, the format and the kernels change the order of additions and so the last bits of a result
    arithmetic = [
        runtime.precision,
        runtime.memory_format,
        count(runtime.threads, "thread") if runtime.threads else "",
        tr("compiled") if runtime.compile else "",
        tr("CPU kernels") if runtime.kernels == "on" else "",
    ]
    computer = [
        machine.system,
        count(machine.cores, "core") if machine.cores else "",
        f"{machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else "",
    ]
    pairs = [
        ("cifarlab", run_facts.cifarlab),
        (tr("Git commit"), _commit(git) if git else ""),
        (tr("Seed"), "" if run_facts.seed is None else str(run_facts.seed)),
        (tr("Started"), moment(run_facts.started)),
        (tr("Finished"), moment(run_facts.finished)),
        (tr("Device"), runtime.device_name),
        (tr("Arithmetic"), listed(filter(None, arithmetic))),
        (tr("Machine"), listed(filter(None, computer))),
    ]
    # older runs have recorded less: an empty line would look like an answer
    parts += [heading(tr("Environment")), facts([(name, text) for name, text in pairs if text])]
    if run_facts.versions:
        # Markup, so that the table does not align versions at the right like numbers
        rows = [[name, Markup.escape(version)] for name, version in run_facts.versions.items()]
        parts.append(details(tr("Versions"), table([tr("package"), tr("version")], rows)))
    return Section(tr("Reproduce this run"), Markup().join(parts))


def _commit(git: GitFacts) -> str:
    return tr("{commit}, with uncommitted changes", commit=git.commit) if git.changed else git.commit
