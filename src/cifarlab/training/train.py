"""From a recipe to a run: prepare, train, keep the best weights, open the test split once."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cifarlab.batches.loader import Loader
from cifarlab.batches.preprocess import to_network_input
from cifarlab.console import log
from cifarlab.errors import RecipeError, UsageError
from cifarlab.evaluation import metrics
from cifarlab.evaluation.calibration import fit_temperature
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.files import write_atomic
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.source import Source
from cifarlab.images.sources import open_source
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.judge import judge_locked, open_own, require
from cifarlab.kernels.accelerate import accelerate, choose_runtime
from cifarlab.machine import randomness
from cifarlab.machine.runtime import Runtime
from cifarlab.models import finetune
from cifarlab.models.registry import build_network, initialise
from cifarlab.models.summary import num_parameters
from cifarlab.recipe.duration import duration_steps, training_steps
from cifarlab.recipe.schema import LARGEST_SIDE, SMALLEST_SIDE, Recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.manifest import COMPLETE, TRAINED, TRAINING, Manifest, Resumption
from cifarlab.training import checkpoint
from cifarlab.training.averaging import Average
from cifarlab.training.data_check import check_data, check_opened_data, refuse_if_strict
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.loop import Work, fit
from cifarlab.training.optim import build
from cifarlab.training.run_facts import describe_run, now, other_bits, settle_runtime
from cifarlab.training.signals import listen
from cifarlab.training.state import State
from cifarlab.training.status import (
    check_same_data,
    how_to_train_further,
    is_complete,
    not_a_run,
    saying_what_is_kept,
    status,
)
from cifarlab.training.step import Step
from cifarlab.training.stopping import Stopping
from cifarlab.training.trackers import Tracker
from cifarlab.version import VERSION

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""With which the published weights of torchvision and timm were trained (He et al., 2015, by way of torchvision)."""

Then = Callable[[Run], object]

_INITIALISATION = 0
"""Part of the random key of the first weights."""

_INITIAL_IMAGES = 5000
"""Training images that a data-dependent first layer is computed from."""


def train(
    recipe: Recipe,
    *,
    out: str | Path = "runs",
    name: str | None = None,
    data_dir: Path | None = None,
    then: Then | None = None,
) -> Run:
    """Train a recipe and judge the result; returns the run folder, which is new and has all there is to know.

    name: of the folder inside `out`; unset: the recipe's. then: what else has to be done with the trained run before it
    counts as complete. Raises DataError, DivergedError and InterruptedRunError. Images that were skipped
    are in bad.jsonl.
    """
    source = open_source(recipe.data, data_dir)
    if recipe.evaluation.test:
        require("test", source)
    images, val = load_train_and_val(source, recipe.validation)
    folder, runtime = Run.new(Path(out), name or recipe.name, recipe), choose_runtime(recipe.runtime)
    with runtime.in_use():
        return _train(recipe, folder, runtime, (source, images, val), data_dir, then)


def resume(path: str | Path, *, data_dir: Path | None = None, then: Then | None = None) -> Run:
    """Continue a run exactly where its last checkpoint stands; a complete one is left as it is.

    Raises CheckpointError when no checkpoint can be read, DataError when the training or validation images have
    changed, and UsageError for the folder of a study.
    """
    run = Run.open(path)
    if run.study:
        raise UsageError(not_a_run(run))
    with run.locked():
        if is_complete(run):
            log.info(f"{run.path} is already complete.\n{how_to_train_further(run)}")
        elif status(run) == TRAINED:
            with saying_what_is_kept(run):
                _complete(run, then)
        else:
            recipe, source = run.recipe, open_own(run, data_dir)
            images, val = load_train_and_val(source, recipe.validation)
            check_same_data(run, images, val)
            runtime = settle_runtime(run, recipe.runtime)
            with runtime.in_use():
                _train(recipe, nullcontext(run), runtime, (source, images, val), data_dir, then)
    return run


def _train(
    recipe: Recipe,
    folder: AbstractContextManager[Run],
    runtime: Runtime,
    data: tuple[Source, Images, Images | None],
    data_dir: Path | None,
    then: Then | None,
) -> Run:
    source, images, val = data
    questionable = check_data(recipe, source, images, val)
    if runtime.kernels not in ("on", "off"):
        log.info(f"{runtime.kernels} Torch's own operations take their place; they are slower.")
    card = make_card(recipe, images)
    made = make_step(recipe, runtime, card, images)
    # the folder is made when everything that can be refused or has to be downloaded is there
    with folder as run, saying_what_is_kept(run):
        work, state = prepare(recipe, run, runtime, card, made, val)
        facts = (num_parameters(state.model), recipe.training.seed)
        write_manifest(run, describe_run(source, images, val, questionable, runtime, *facts))
        with listen() as signals:
            fit(work, state, signals)
        finish(work, state)
        if recipe.evaluation.test:
            judge_locked(run, "test", tta=recipe.evaluation.tta, reason="end of training", data_dir=data_dir)
            check_opened_data(run, source, images, val)
        warn_of_guessing(run, val)
        work.tracker.write_results(recipe, state.step)
        work.tracker.close()
        if images.skipped:
            write_atomic(run.skipped_file(), _lines(images.skipped))
        run.update_manifest(status=TRAINED)
        _complete(run, then)
    return run


def _complete(run: Run, then: Then | None) -> None:
    """Do what is left when a run is trained; a run that is killed here is continued here."""
    if then is not None:
        then(run)
    run.update_manifest(status=COMPLETE, finished=now())
    refuse_if_strict(run)


def prepare(
    recipe: Recipe, run: Run, runtime: Runtime, card: ModelCard, made: tuple[Loader, Step], val: Images | None
) -> tuple[Work, State]:
    """Add to what `make_step` has made the rest that a run needs, from the newest checkpoint where there is one."""
    loader, step = made
    total_steps = training_steps(recipe.training.epochs, len(loader))
    average = _average(recipe, step.model, loader, total_steps)
    hard = hard_examples(recipe, loader)
    state = State(step.model, step.optimizer, step.scaler, average, Stopping(recipe.stopping), hard)
    restore(run, state, total_steps)
    tracker = Tracker(run, state.rows, recipe.runtime)
    return Work(recipe, run, runtime, card, loader, val, step, tracker, total_steps), state


def make_step(recipe: Recipe, runtime: Runtime, card: ModelCard, images: Images) -> tuple[Loader, Step]:
    """Build the batches, the network with its first weights, and its optimizer."""
    training = recipe.training
    keep_last = training.last_batch == "keep"
    loader = Loader(images, runtime.device, training.batch_size, keep_last=keep_last, seed=training.seed)
    model = make_model(recipe, card, runtime, loader)
    check_start_size(recipe, model)
    groups = finetune.parameter_groups(
        model, recipe.model.backbone_lr_factor, recipe.optimizer.weight_decay, recipe.optimizer.decay_norm_and_bias
    )
    optimizer = build.build(recipe.optimizer, groups, runtime.device, runtime.product_dtype)
    return loader, Step(recipe, card, runtime, model, optimizer, class_weights(recipe, images, runtime.device))


def make_card(recipe: Recipe, images: Images) -> ModelCard:
    """Say how the network is to be applied: normalisation from the training images, sizes, class names."""
    height, width = images.size
    # every source fits its images to squares of a size that a recipe can name
    assert height == width and SMALLEST_SIDE <= height <= LARGEST_SIDE, images.size
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if recipe.data.normalisation == "imagenet" else images.mean_and_std()
    architecture = recipe.model.model_copy(update={"pretrained": False, "weights": None})
    return ModelCard(
        architecture=architecture,
        class_names=images.class_names,
        mean=mean,
        std=_without_zeros(std),
        image_size=height,
        fit=recipe.data.fit,
        white_level=recipe.data.white_level,
        input_size=recipe.data.image_size or height,
        temperature=1.0,
        recipe=recipe.name,
        fingerprint=images.fingerprint,
        original=images.original,
        version=VERSION,
    )


def make_model(recipe: Recipe, card: ModelCard, runtime: Runtime, loader: Loader) -> nn.Module:
    """Build the network with its first weights, which depend on the seed and on some training images alone."""
    torch.manual_seed(randomness.mix_key(recipe.training.seed, _INITIALISATION))
    model = build_network(recipe.model, len(card.class_names), card.input_size)
    model = model.to(runtime.device).to(memory_format=runtime.memory_format)
    accelerate(model, runtime, trains=True)
    if recipe.model.pretrained or recipe.model.weights:
        return model
    mean, std = (torch.tensor(values, device=runtime.device) for values in (card.mean, card.std))
    pixels = loader.pixels[loader.order(0)[:_INITIAL_IMAGES]]
    images = to_network_input(pixels, mean, std, card.input_size, memory_format=torch.contiguous_format)
    initialise(model, images)
    return model


def check_start_size(recipe: Recipe, model: nn.Module) -> None:
    """Raise RecipeError, before the first step, when images are to start smaller than the network can take."""
    size = recipe.training.start_size
    if size is None:
        return
    some = next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(2, 3, size, size, device=some.device, dtype=some.dtype))
    except RuntimeError as error:
        raise RecipeError(
            f"training.start_size = {size} is too small for {recipe.model.name}, or it takes one size only.\n"
            "Leave start_size out, or choose a network that ends in a global pool: resnet18, speednet, ..."
        ) from error


def class_weights(recipe: Recipe, images: Images, device: torch.device) -> Tensor | None:
    """One weight per class with mean 1 over the images, or None; raises RecipeError when their number is wrong."""
    wanted = recipe.training.class_weights
    if wanted == "none":
        return None
    if wanted == "balanced":
        present = np.maximum(images.counts, 1)
        values = np.where(images.counts > 0, len(images) / (images.num_classes * present), 0.0)
        return torch.tensor(values, dtype=torch.get_default_dtype(), device=device)
    if len(wanted) != images.num_classes:
        raise RecipeError(f"training.class_weights has {len(wanted)} values for {images.num_classes} classes.")
    return torch.tensor(wanted, dtype=torch.get_default_dtype(), device=device)


def restore(run: Run, state: State, total_steps: int) -> None:
    """Continue from the newest checkpoint that verifies, and say what was passed over."""
    saved, reasons = checkpoint.load(run.checkpoints)
    for reason in reasons:
        log.warning(f"Passed over a checkpoint: {reason}")
    if saved is not None:
        state.restore(saved, total_steps)
        log.info(f"Continuing {run.path} from step {state.step}.")


def write_manifest(run: Run, facts: Manifest) -> None:
    """Write down what the run rests on; what a resumed one rests on stands beside that, under `resumed`."""
    if not run.manifest_file.exists():
        run.update_manifest(**facts.model_dump(exclude_unset=True), status=TRAINING)
        return
    before = run.facts
    if differing := other_bits(before, facts):
        log.warning(f"{'; '.join(differing)}: the run may end with other bits than one that was never stopped.")
    resumption = Resumption.model_validate({**facts.model_dump(exclude_unset=True), "other_bits": differing})
    run.update_manifest(resumed=[each.model_dump(exclude_unset=True) for each in (*before.resumed, resumption)])


def finish(work: Work, state: State) -> None:
    """Leave the classifier: the best validated weights, or the last ones where nothing was validated.

    The epoch was chosen in the precision of the training; the classifier computes in fp32 with its norms folded away.
    So what is said of it is measured on it: its accuracy on the validation images, and the temperature that makes its
    probabilities there honest (Guo et al., 2017), which leaves accuracy alone.
    """
    weights, card, file = state.best_weights or state.judged.state_dict(), work.card, work.run.model_file
    best, accuracy = state.best, None
    if work.val is not None:
        runtime, batch_size = replace(work.runtime, precision="fp32"), work.recipe.evaluation.batch_size
        classifier = Classifier.from_weights(weights, card, origin=file, runtime=runtime, batch_size=batch_size)
        logits = classifier.logits(work.val.pixels)
        accuracy = metrics.accuracy(logits, work.val.labels)
        card = card.model_copy(update={"temperature": fit_temperature(logits, work.val.labels)})
    save_model(file, weights, card)
    work.run.update_manifest(
        ending=state.ending,
        num_steps=state.step,
        elapsed_seconds=round(state.elapsed_seconds, 3),
        best_epoch=best.epoch if best else None,
        best_val_accuracy=accuracy,
        chosen_by_val_accuracy=best.accuracy if best else None,
    )


def warn_of_guessing(run: Run, val: Images | None) -> None:
    """Say so when what was learnt cannot be told from guessing: on test where that was opened, else on val."""
    test, text = read_evaluation(run, "test"), None
    if test is not None:
        text = guessing(test.accuracy, {each.class_name: each.support for each in test.per_class}, "test")
    elif val is not None and (accuracy := run.facts.best_val_accuracy) is not None:
        counts = dict(zip(val.class_names, val.counts.tolist(), strict=True))
        text = guessing(accuracy, counts, "val")
    if text is not None:
        rate = f"cifarlab lr-find {shlex.quote(str(run.recipe_file))} suggests one"
        log.warning(f"{text}\nTry another optimizer.lr ({rate}) or more training.epochs.")


def _average(recipe: Recipe, model: nn.Module, loader: Loader, total_steps: int) -> Average | None:
    if recipe.averaging.name == "none":
        return None
    return Average(model, recipe.averaging, duration_steps(recipe.averaging.start, len(loader), total_steps))


def hard_examples(recipe: Recipe, loader: Loader) -> HardExamples | None:
    """What remembers the images with the highest losses, where the recipe asks for it."""
    if recipe.training.hard_share == 1:
        return None
    return HardExamples(len(loader.labels), recipe.training.hard_share, loader.batch_size, loader.labels.device)


def _lines(skipped: tuple[str, ...]) -> str:
    """One JSON object per image that could not be read."""
    return "".join(json.dumps({"image": text}) + "\n" for text in skipped)


def _without_zeros(std: tuple[float, float, float]) -> tuple[float, float, float]:
    """A channel that never changes keeps its scale."""
    red, green, blue = (value if value > 1e-6 else 1.0 for value in std)
    return red, green, blue
