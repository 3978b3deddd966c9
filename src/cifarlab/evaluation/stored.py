"""Read back and check the results of a run's splits: a file that was truncated or edited is never believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifarlab.errors import CheckpointError
from cifarlab.evaluation import predictions
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.evaluation.predictions import Predictions
from cifarlab.language import ntr, tr
from cifarlab.runs.folder import Run


def read_evaluation(run: Run, name: str) -> Evaluation | None:
    """Return the stored evaluation of a split, or None if it was not evaluated.

    Raises CheckpointError, which names the file, if it cannot be read or contradicts itself.
    """
    values = run.evaluation(name)
    if values is None:
        return None
    path = run.evaluation_file(name)
    try:
        evaluation = Evaluation.from_dict(values)
    except CheckpointError as error:
        # pydantic's message has several lines and may quote the whole file.
        raise CheckpointError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    if problem := _contradiction(evaluation):
        raise CheckpointError(tr("{path} contradicts itself: {problem}.", path=path, problem=problem))
    return evaluation


def read_predictions(run: Run, name: str, evaluation: Evaluation) -> Predictions:
    """Return the predictions for a split; raises CheckpointError if they do not fit its evaluation."""
    path = run.predictions_file(name)
    found = predictions.read(path)
    wanted = (evaluation.num_images, len(evaluation.class_names))
    if found.logits.shape != wanted or not np.isfinite(found.logits).all():
        raise does_not_fit(path, run.evaluation_file(name))
    if not np.isin(found.labels, np.arange(len(evaluation.class_names))).all():
        raise CheckpointError(tr("{path} has labels without a class.", path=path))
    return found


def does_not_fit(path: Path, evaluation: Path) -> CheckpointError:
    """The error for a file about other images or classes than those of an evaluation."""
    return CheckpointError(tr("{path} does not fit {file}.", path=path, file=evaluation.name))


def _contradiction(evaluation: Evaluation) -> str:
    """Return what cannot be true of these numbers, or an empty string."""
    # Types and ranges were checked by from_dict; these are relations between fields.
    num_classes = len(evaluation.class_names)
    if {num_classes} != {len(evaluation.per_class), len(evaluation.confusion_matrix)}:
        return ntr("{n} class, but not as many rows", "{n} classes, but not as many rows", num_classes, n=num_classes)
    if {len(row) for row in evaluation.confusion_matrix} != {num_classes}:
        return tr("its confusion matrix is not square")
    matrix = np.array(evaluation.confusion_matrix)  # square from here on
    if matrix.min() < 0 or matrix.sum() != evaluation.num_images or evaluation.num_images == 0:
        return tr("its confusion matrix does not count {n} images", n=evaluation.num_images)
    if abs(np.trace(matrix) / evaluation.num_images - evaluation.accuracy) > 1e-6:
        return tr("its accuracy is not that of its confusion matrix")
    known = set(evaluation.class_names)
    if any({each.label, each.prediction} - known for each in evaluation.most_confused):
        return tr("it confuses classes that it does not name")
    return ""
