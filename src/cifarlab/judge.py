"""Evaluate a run on a split, with the test split's ledger, and leave the results in the run folder.

Every opening of the test split is written into the ledger before the classifier sees an image.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import log
from cifarlab.drawing.charts.description import Matrix
from cifarlab.drawing.charts.png import write_png
from cifarlab.errors import CheckpointError, DataError, UsageError
from cifarlab.evaluation import examples, predictions, report_text
from cifarlab.evaluation.evaluate import Evaluation, evaluate
from cifarlab.files import write_atomic
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.pictures import fit_images
from cifarlab.images.quality import left_out
from cifarlab.images.source import Source
from cifarlab.images.sources import NAMES, data_spec, open_source
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.language import listed, ntr, tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS
from cifarlab.runs.folder import Run

ALL = translatable("all")
"""The name of the split that is every picture of a data set without splits."""


def judge(
    run: Run,
    split: str | None = None,
    *,
    reason: str = "asked for in Python",
    tta: str = "none",
    classifier: Classifier | None = None,
    source: str | DataSpec | None = None,
    data_dir: Path | None = None,
) -> Evaluation:
    """Evaluate a run's classifier on a split and write the results into the run folder, which is locked meanwhile.

    split: train, val or test; unset: val. source: other images of the same classes, as a name or path or, with options
    of reading, as a DataSpec; their results get names of their own (`result_name`). With a source and no split, the
    last split of the source is evaluated or, when it has none, all of its images. reason: written into the ledger when
    the split is test, or when all images of a source are evaluated.
    Raises RunInUseError when another process writes to the run, CheckpointError when the run left no classifier,
    DataError when the images are not those of the run, UsageError for a split that does not exist.
    """
    with run.locked():
        return judge_locked(run, split, reason=reason, tta=tta, classifier=classifier, source=source, data_dir=data_dir)


def judge_locked(
    run: Run,
    split: str | None,
    *,
    reason: str,
    tta: str = "none",
    classifier: Classifier | None = None,
    source: str | DataSpec | None = None,
    data_dir: Path | None = None,
    images: Images | None = None,
) -> Evaluation:
    """Do what `judge` does, for a caller that holds the run's lock already, as training does.

    images: the run's own images of that split, where the caller has them; they are not searched and read again.
    """
    other = data_spec(source) if isinstance(source, str) else source
    source = None if other is None else other.source
    if split not in (None, *SPLITS):
        raise UsageError(tr("Unknown split {split!r}. Allowed: {splits}.", split=split, splits=listed(SPLITS)))
    classifier = classifier or _load_classifier(run)
    if other is None:
        split = split or "val"
        if images is None:
            images = own_images(run, split, classifier, data_dir)
        else:
            _require_same_images(run, split, images)
    else:
        split, images = _other_images(split, classifier, other, data_dir, run)
    _require_same_classes(images, classifier, run.path)
    # After everything that can be refused, so that the ledger counts no opening that did not take place; before the
    # forward pass, so that a process killed during it has not seen the test split in secret.
    if split in ("test", ALL):
        what, number = tr("test split") if source is None else source, run.open_test(reason, source)
        log.info(tr("{what} opened for the {ordinal} time", what=what, ordinal=_ordinal(number), number=number))
    if source is None:
        run.update_data_facts(**{f"{split}_fingerprint": images.fingerprint})
    evaluation, logits = evaluate(
        classifier.logits, images, split=split, tta=tta, temperature=classifier.card.temperature
    )
    write_results(run, result_name(split, source), evaluation, images, logits)
    return evaluation


def result_name(split: str, source: str | None) -> str:
    """The name in the result files of a split: "test", or "test-<source>" for other images."""
    if source is None:
        return split
    # without characters that a file name cannot have on some system
    return f"{split}-{re.sub(r'[^A-Za-z0-9._-]+', '_', Path(source).name)}"


def write_results(run: Run, name: str, evaluation: Evaluation, images: Images, logits: NDArray[np.float32]) -> None:
    """Write `Run.result_files`."""
    _, table, text, counts, shares, parquet, pictures, figure = run.result_files(name)
    write_atomic(table, report_text.classification_csv(evaluation))
    write_atomic(text, report_text.classification_text(evaluation))
    write_atomic(counts, report_text.confusion_csv(evaluation, normalised=False))
    write_atomic(shares, report_text.confusion_csv(evaluation, normalised=True))
    predictions.write(parquet, images.labels, logits, images.names)
    examples.write(pictures, images, logits, evaluation.temperature)
    write_png([Matrix.of(evaluation)], figure)
    if images.skipped:
        lines = [json.dumps({"image": text}) + "\n" for text in images.skipped]
        file = run.skipped_file(name)
        write_atomic(file, "".join(lines))
        message = ntr(
            "{n:,} image could not be read and do not count: see {file}",
            "{n:,} images could not be read and do not count: see {file}",
            len(images.skipped),
        )
        log.warning(message.format(n=len(images.skipped), file=file))
    run.write_evaluation(name, evaluation.to_dict())  # last: where the JSON is, all other files are there, too


def _load_classifier(run: Run) -> Classifier:
    """The classifier that the run left, on the device and in the batches that its recipe asks for."""
    if run.divergence:  # best weights of an earlier epoch may exist, but are not the result of this recipe
        best = run.best_weights_file
        kept = (
            tr("The best one before that is {file}.")
            if best.exists()
            else tr("No epoch had been validated before that.")
        )
        raise CheckpointError(
            tr(
                "{run} left no classifier, for its training diverged. {divergence}\n{kept}",
                run=run.path,
                divergence=run.divergence,
                kept=kept.format(file=best),
            )
        )
    recipe = run.recipe
    runtime = inference_runtime(recipe.runtime.device, kernels=recipe.runtime.kernels != "off")
    return Classifier.load(run.model_file, runtime=runtime, batch_size=recipe.evaluation.batch_size)


def open_own_source(run: Run, data_dir: Path | None, *, image_size: int | None = None) -> Source:
    """Open the data that a run was trained on; image_size: replaces the recipe's.

    Raises DataError when it is no longer there.
    """
    data = run.data if image_size is None else run.data.model_copy(update={"image_size": image_size})
    try:
        return open_source(data, data_dir)
    except DataError as error:
        if data.source in NAMES or Path(data.source).expanduser().exists():
            raise  # it is there, and the error says what is wrong with it
        # the recipe may have a relative path, which means nothing to the reader of the error in another folder
        raise DataError(
            tr(
                "There is no data at {path}, where {run} found {source}.\nPut it back there; a symbolic link will do.",
                path=data.source,
                run=run.path,
                source=run.recipe.data.source,
            )
        ) from error


def own_images(run: Run, split: str, classifier: Classifier, data_dir: Path | None) -> Images:
    """The split as the recipe defines it; val is held out again, by the same seed.

    Raises DataError when these are not the images that the run was trained or evaluated on, UsageError when the run has
    no such split.
    """
    images: Images | None
    if split == "test":
        source = open_own_source(run, data_dir, image_size=classifier.card.image_size)
        source.require_test()
        images = source.load("test")
    else:
        train, val = load_train_and_val(open_own_source(run, data_dir), run.recipe.validation)
        images = train if split == "train" else val
    if images is None:
        raise UsageError(
            tr("{run} trained on all images (validation.size = 0): it has no validation split.", run=run.path)
        )
    _require_same_images(run, split, images)
    return images


def _require_same_images(run: Run, split: str, images: Images) -> None:
    # with other images the numbers would not be comparable with those that the run has
    before = run.data_facts.fingerprint(split)
    if before is not None and before != images.fingerprint:
        raise DataError(
            tr(
                "The {split} images are not those that {run} was trained or judged on.\n"
                "Then: {before}..., now: {now}.... To judge other images, name them with --data.",
                split=tr(split),
                run=run.path,
                before=before[:16],
                now=images.fingerprint[:16],
            )
        )


def judge_model(
    classifier: Classifier, file: Path, split: str | None, source: DataSpec, *, tta: str, data_dir: Path | None
) -> Evaluation:
    """Evaluate a model file that is in no run folder on some images; nothing is written.

    split: unset: the last one of the source or, when it has none, all of its images. Raises what `judge` raises.
    """
    split, images = _other_images(split, classifier, source, data_dir, None)
    _require_same_classes(images, classifier, file)
    temperature = classifier.card.temperature
    return evaluate(classifier.logits, images, split=split, tta=tta, temperature=temperature)[0]


def _require_same_classes(images: Images, classifier: Classifier, origin: Path) -> None:
    known, names = classifier.card.class_names, images.class_names
    if known != names:  # label 3 would mean one class to the network and another to the images
        raise DataError(
            tr(
                "The classes of these images are not those of {model}.\n"
                "The model knows {known}; the images have {found}.",
                model=origin,
                known=_names_text(known),
                found=_names_text(names),
            )
        )


def _other_images(
    split: str | None, classifier: Classifier, other: DataSpec, data_dir: Path | None, run: Run | None
) -> tuple[str, Images]:
    """Images of another source, prepared as the training images were, and the name of their split.

    run: whose own images they must not all be.
    """
    split, images = _chosen(split, classifier, other, data_dir, run)
    if sorted(images.class_names) == sorted(classifier.card.class_names):  # another format may order them otherwise
        images = images.in_order_of(classifier.card.class_names)
    return split, images


def _chosen(
    split: str | None, classifier: Classifier, other: DataSpec, data_dir: Path | None, run: Run | None
) -> tuple[str, Images]:
    card, source = classifier.card, other.source
    # what the network was trained on decides, not what would suit these images best
    prepared = {"image_size": card.image_size, "fit": card.fit, "white_level": card.white_level}
    found = open_source(other.model_copy(update=prepared), data_dir)
    for warning in left_out(found.understanding):  # an accuracy on half of the pictures must say so
        log.warning(tr("{place}: {problem}", place=source, problem=warning.text))
    if not found.understanding.own_split:
        if split is None:
            split = found.splits[-1]  # splits come in the order train, val, test
            splits = listed(found.splits)
            log.info(tr("{source} has {splits}: evaluating {split}", source=source, splits=splits, split=split))
        return split, fit_images(found.load(split), card.image_size, card.fit)
    if run is not None and _is_home(found, run.data):
        raise UsageError(
            tr(
                "{source} holds the images that {run} was trained on, so its accuracy on all of them says little.\n"
                "Leave --data out, and choose a part of them with --split.",
                source=source,
                run=run.path,
            )
        )
    images = fit_images(found.load_all(), card.image_size, card.fit)
    log.info(tr("{source} has no splits: evaluating all of its images, {n:,}", source=source, n=len(images)))
    return ALL, images


def _is_home(found: Source, data: DataSpec) -> bool:
    """Whether a source is the one that a run was trained on, by the folder that both lead to."""
    home = Path(data.source).expanduser()
    there = Path(found.understanding.settled.get("source", found.path))  # inside the folders that wrap it, as in a run
    return home.exists() and home.resolve() == there.resolve()


def _names_text(names: tuple[str, ...]) -> str:
    shown = listed([*names[:10], *(["..."] if len(names) > 10 else [])])
    return tr("{n} ({names})", n=len(names), names=shown)


def _ordinal(number: int) -> str:
    # 11th, 12th and 13th, but 21st, 22nd and 23rd
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{suffix}"
