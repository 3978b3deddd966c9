"""What was done, on what, and how to do it again."""

from __future__ import annotations

from markupsafe import Markup

from cifarlab.console import count, quoted
from cifarlab.drawing.page import Section, code, details, facts, heading, link, paragraph, table
from cifarlab.drawing.wording import moment, percent, with_interval
from cifarlab.pages.report.material import Material
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import to_toml


def recipe_section(material: Material, recipe: Recipe) -> Section:
    """The recipe with its source, and the accuracy that the source reports beside that of this run."""
    parts = []
    if (reference := recipe.reference) is not None:
        title = link(reference.url, reference.title) if reference.url else Markup("{}").format(reference.title)
        parts.append(facts([("Source", title)]))
        if reference.reported_accuracy is not None:
            rows = [["reported by the source", percent(reference.reported_accuracy)]]
            # on other images the two numbers would look like a comparison and be none
            if material.result is not None and not material.not_comparable:
                evaluation = material.result.evaluation
                own = with_interval(evaluation.accuracy, evaluation.accuracy_interval)
                rows.append([f"this run, {evaluation.split}", own])
            parts.append(table(["", "accuracy"], rows))
        if reference.differences:
            parts.append(heading("Differences from the source") + paragraph(reference.differences))
    # with every default, so that the page still tells what was done when a later version has other defaults
    parts.append(details("The complete recipe", code(to_toml(recipe))))
    return Section("Recipe", Markup().join(parts), recipe.description)


def environment(material: Material) -> Section:
    """The command, the machine, the versions, and how to repeat the run."""
    run_facts = material.facts
    machine, runtime, git = run_facts.machine, run_facts.runtime, run_facts.git
    parts = []
    if run_facts.command:
        # the first word is the path of the program on the machine that trained, which is of no use elsewhere
        parts += [heading("Command"), code(" ".join(map(quoted, ["cifarlab", *run_facts.command[1:]])))]
    # recipe.toml rather than the command: it holds what was meant by "the recipe quick" on that day
    parts += [heading("Run it again"), code(f"cifarlab train {quoted(str(material.run.recipe_file))}")]
    # the number of threads, the format and the kernels change the order of additions and so the last bits of a result
    arithmetic = [
        runtime.precision,
        runtime.memory_format,
        count(runtime.threads, "thread") if runtime.threads else "",
        "compiled" if runtime.compile else "",
        "CPU kernels" if runtime.kernels == "on" else "",
    ]
    computer = [
        machine.system,
        f"{machine.cores} cores" if machine.cores else "",
        f"{machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else "",
    ]
    pairs = [
        ("cifarlab", run_facts.cifarlab),
        ("Git commit", f"{git.commit}{', with uncommitted changes' if git.changed else ''}" if git else ""),
        ("Seed", "" if run_facts.seed is None else str(run_facts.seed)),
        ("Started", moment(run_facts.started)),
        ("Finished", moment(run_facts.finished)),
        ("Device", runtime.device_name),
        ("Arithmetic", ", ".join(filter(None, arithmetic))),
        ("Machine", ", ".join(filter(None, computer))),
    ]
    # older runs have recorded less: an empty line would look like an answer
    parts += [heading("Environment"), facts([(name, text) for name, text in pairs if text])]
    if run_facts.versions:
        # Markup, so that the table does not align versions at the right like numbers
        rows = [[name, Markup.escape(version)] for name, version in run_facts.versions.items()]
        parts.append(details("Versions", table(["package", "version"], rows)))
    return Section("Reproduce this run", Markup().join(parts))
