"""One public function per command: `cifarlab.train(...)` does what `cifarlab train` does, report included.

A command parses its options, calls its function and prints what it returns. Each function imports what it needs when it
is called, so that comparing or reporting does not wait for torch. `@notes_shown()` shows what it notes, as the command
does, unless the program has configured logging.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING

from cifarlab import language
from cifarlab.console import doing, log
from cifarlab.errors import UsageError, unknown
from cifarlab.language import tr
from cifarlab.notes import notes_shown
from cifarlab.recipe.schema import DataSpec, Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.paths import SEEDS, group_name

if TYPE_CHECKING:
    from cifarlab.evaluation.evaluate import Evaluation
    from cifarlab.explanation.files import Explained
    from cifarlab.inference.pictures import FilePredictions
    from cifarlab.studies.ablate import Ablation
    from cifarlab.studies.compare.compare import Comparison
    from cifarlab.studies.lr_find import RangeTest

MOST_EXPLAINED = 50
"""Pictures on one page of explanations: each takes several heat maps, and a page has to stay readable."""


def speak(name: str) -> None:
    """Choose the language of notes, errors, pages and what notebooks show: "en", "zh", or another with a catalogue.

    Until then it is that of the environment when cifarlab was imported: CIFARLAB_LANG or, as everywhere, LC_ALL and
    LANG. Names, and what is stored, are the same in every language. Raises UsageError for an unknown one.
    """
    try:
        language.speak(name)
    except LookupError as error:
        raise UsageError(unknown("language", name, language.languages())) from error


@notes_shown()
def train(
    recipe: Recipe | str | Path,
    *,
    seeds: int = 1,
    out: str | Path = "runs",
    data_dir: Path | None = None,
    report: bool = True,
) -> Run:
    """Train a recipe, test the result once, draw what explains it and write its report; returns the new run folder.

    recipe: a recipe, its name, or a TOML file. seeds: train this many times, with the recipe's seed and those after it;
    the returned run is then the folder of all of them. report: write report.html; figures that need the network are
    drawn in any case. Raises what `training.train.train` raises.
    """
    from cifarlab.images.holdout import TrainingData
    from cifarlab.images.sources import open_source
    from cifarlab.training.announcement import announcement, hint

    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    # Read and said before torch is imported, which takes seconds: whoever waits sees what will be trained.
    data = TrainingData.of(open_source(chosen.data, data_dir), chosen)
    name = chosen.name if seeds == 1 else group_name(chosen.name)
    folder = Run.next_path(Path(out), name)
    log.info(announcement(chosen, data, folder, seeds))
    if advice := hint(chosen, data):
        log.info(advice)
    from cifarlab.studies.seeds import train_seeds
    from cifarlab.training.train import train as train_once

    # Handed down instead of called afterwards: the run is complete only when its page is written, so that a process
    # that is killed while it draws leaves a run that --resume finishes without training again.
    then = partial(_present, data_dir=data_dir, report=report)
    if seeds > 1:  # one seed needs no study around it: its run folder is the result
        return train_seeds(chosen, seeds, out=Path(out), data=data, data_dir=data_dir, then=then)
    return train_once(chosen, out=out, announced=folder, data=data, data_dir=data_dir, then=then)


@notes_shown()
def resume(
    run: Run | str | Path, *, data_dir: Path | None = None, report: bool = True, allow_different_machine: bool = False
) -> Run:
    """Continue a run, or a study of several seeds, exactly where it was stopped, and finish it as `train` does.

    allow_different_machine: continue, with other bits, where the device, its instructions, the kernels or torch differ
    from those that the run was trained on; the manifest records it. Raises OtherMachineError for them otherwise, and
    what `training.train.resume` raises.
    """
    from cifarlab.training.announcement import resumed

    opened = Run.open(run)
    if opened.study in ("", SEEDS):  # other studies are refused below
        log.info(resumed(opened))  # before torch is imported, as in `train`
    from cifarlab.studies.seeds import resume_seeds
    from cifarlab.training.train import resume as resume_once

    then = partial(_present, data_dir=data_dir, report=report)
    if opened.study == SEEDS:  # the folder says what it is, so the caller need not know
        return resume_seeds(Path(run), data_dir=data_dir, then=then, allow_different_machine=allow_different_machine)
    return resume_once(Path(run), data_dir=data_dir, then=then, allow_different_machine=allow_different_machine)


@notes_shown()
def evaluate(
    model: Run | str | Path,
    split: str | None = None,
    *,
    tta: str | None = None,
    data: str | DataSpec | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    reason: str = "cifarlab.evaluate",
) -> Evaluation:
    """Evaluate a run's classifier on a split and leave numbers, tables, a figure and predictions in its folder.

    model: a run, or a model file alone, of which nothing is known but its classes: it needs `data`, and nothing is
    written. split: train, val or test; unset: val, or the test split of `data`, which names other images of the same
    classes. tta: test-time augmentation, whose accuracy is reported separately; unset: the recipe's. reason: recorded
    in the test split's ledger. Raises what `judge.judge` raises.
    """
    from cifarlab.images.sources import data_spec
    from cifarlab.inference.classifier import Classifier, inference_runtime
    from cifarlab.judge import judge, judge_model

    opened = model if isinstance(model, Run) else Run.of(model)
    if opened is None:
        file = Path(str(model))
        if data is None:
            text = tr("{file} belongs to no run, so its images are not known: name some with --data (data=).")
            raise UsageError(text.format(file=file))
        spec = data if isinstance(data, DataSpec) else data_spec(data)
        classifier = Classifier.load(file, runtime=inference_runtime(device))
        return judge_model(classifier, file, split, spec, tta=tta or "none", data_dir=data_dir)
    settings = opened.recipe.evaluation
    # the recipe's batch size, because a network that has just fitted into memory will fit again
    classifier = Classifier.load(opened.model_file, runtime=inference_runtime(device), batch_size=settings.batch_size)
    return judge(
        opened,
        split,
        reason=reason,
        tta=tta or settings.tta,
        classifier=classifier,
        source=data,
        data_dir=data_dir,
    )


@notes_shown()
def predict(
    model: Run | str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    device: str = "auto",
    follow_links: bool = False,
) -> FilePredictions:
    """Predict what pictures of any size show, with a run folder or model file; unreadable pictures are listed.

    images: files, and folders, of which the same files are taken as in training, in natural order; one or several.
    top: classes per picture, most probable first. Raises UsageError if there are no pictures, CheckpointError for a
    damaged model.
    """
    from cifarlab.inference.classifier import Classifier, inference_runtime
    from cifarlab.inference.pictures import find_images, predict_files

    found = find_images(_paths(images), follow_links=follow_links)
    if found.left_out:  # said, because a prediction that is silently missing would be worse
        log.info(tr("Left out: {items}.", items=tr("; ").join(found.left_out)))
    answers = predict_files(Classifier.load(model, runtime=inference_runtime(device)), found.files, top=top)
    answers.failures.extend(found.failures)
    return answers


@notes_shown()
def explain(
    model: Run | str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    layer: str | None = None,
    class_name: str | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> tuple[Explained, list[Path]]:
    """Explain what a network predicts for pictures; returns the explanations and the files that were written.

    layer: for feature maps and Grad-CAM, unset: the last one with a map. class_name: explain this class instead of the
    predicted one. out: folder for the page, unset: `explanations` in the run folder or beside the model file.
    """
    from cifarlab.explanation.files import explain_files, write_explanations
    from cifarlab.inference.classifier import Classifier, inference_runtime
    from cifarlab.inference.pictures import find_images

    found = find_images(_paths(images))
    if len(found.files) > MOST_EXPLAINED:
        text = tr("{n} images are too many for one page; explain at most {most} at a time.")
        raise UsageError(text.format(n=len(found.files), most=MOST_EXPLAINED))
    classifier = Classifier.load(model, runtime=inference_runtime(device))
    done = explain_files(classifier, found.files, layer=layer, class_name=class_name)
    done.failures.extend(found.failures)
    if not done.explanations:
        return done, []  # no empty page, which would replace one that shows something
    beside = Path(model) if Path(model).is_dir() else Path(model).parent
    folder = out or beside / "explanations"
    files = write_explanations(folder, fspath(model), classifier, done.explanations, chosen_layer=layer is not None)
    return done, files


@notes_shown()
def report(run: Run | str | Path, *, humans: Path | None = None) -> Path:
    """Write report.html and figures/ into a run folder, or into those of several seeds; returns the page.

    humans: human labels of the test images, counts (N, C) as .npy (Peterson et al., 2019: CIFAR-10H).
    Raises CheckpointError that names damaged files, after the rest of the page was written.
    """
    from cifarlab.pages.report.write import write_report

    folder = run if isinstance(run, Run) else Run(Path(run))
    # not Run.open alone: a run whose recipe is lost can still be reported on, if it has a manifest
    opened = folder if folder.manifest_file.is_file() else Run.open(folder.path)
    # "if free": a run that is still training may be reported on, and its own process holds the lock
    with ExitStack() as stack:
        for each in (opened, *opened.seeds):
            stack.enter_context(each.locked_if_free())
        return write_report(opened, humans=humans)


@notes_shown()
def compare(
    runs: Sequence[Run | str | Path], *, split: str = "test", sort: str | None = None, html: Path | None = None
) -> Comparison:
    """Compare runs that were trained and evaluated on the same images, with what may be concluded.

    split: val or test. sort: name, parameters, epochs, time, speed, train, val, accuracy or calibration, the best
    first; unset: as given. html: where to write the page with curves and examples. Raises UsageError for runs that
    cannot be compared, because their images differ or they were not evaluated on the split.
    """
    from cifarlab.files import write_atomic
    from cifarlab.pages.comparison import comparison_page
    from cifarlab.studies.compare.compare import compare as compare_folders

    found = compare_folders(runs, split=split, sort=sort)
    if html is not None:
        write_atomic(html, comparison_page(found))
    return found


@notes_shown()
def ablate(
    recipe: Recipe | str | Path,
    parts: Sequence[str],
    *,
    seeds: int = 1,
    out: str | Path = "runs",
    data_dir: Path | None = None,
) -> Ablation:
    """Train a recipe with and without each of some parts and say what each contributes to the validation accuracy."""
    from cifarlab.studies.ablate import ablate as train_variants

    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    # no page or figures for each variant: what counts is the table, and the test split stays sealed
    return train_variants(chosen, list(parts), seeds=seeds, out=Path(out), data_dir=data_dir)


@notes_shown()
def lr_find(
    recipe: Recipe | str | Path,
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    out: str | Path = "runs",
    data_dir: Path | None = None,
) -> tuple[RangeTest, Run]:
    """Raise the learning rate over some batches and suggest one; returns the findings, and a folder with a chart.

    start, end: the lowest and the highest rate; steps: batches between them. Smith (2017), arXiv:1506.01186.
    """
    from cifarlab.studies import lr_find as finder

    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    found = finder.lr_find(chosen, start=start, end=end, steps=steps, data_dir=data_dir)
    # the folder comes last, so that a test that is refused or stopped leaves none
    return found, finder.write_range_test(found, chosen, Path(out))


def _paths(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """One path or several as a list: the letters of "cat.png" are a sequence of names too."""
    return [Path(images)] if isinstance(images, str | Path) else [Path(each) for each in images]


def _present(run: Run, *, data_dir: Path | None, report: bool) -> None:
    """Draw what needs the network, write the page, and pass figures on to TensorBoard; for a study, write its page."""
    from cifarlab.explanation.run import explain_run
    from cifarlab.pages.report.write import write_group_page, write_report
    from cifarlab.training.trackers import add_figures

    if run.study == SEEDS:  # each seed has been presented when it was trained
        if report:
            write_group_page(run)
        return
    with doing(tr("Drawing what the network sees")):
        explain_run(run, data_dir=data_dir)  # first: the page embeds the figures that this draws
    if report:
        with doing(tr("Writing the report")):
            write_report(run)
    if run.recipe.runtime.tensorboard:
        add_figures(run)
