"""From a recipe to a run: prepare, train, keep the best weights, open the test split once.

`train` tells the whole story; the functions below it follow in the order in which it calls them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cifarlab.batches.loader import Loader
from cifarlab.batches.preprocess import to_network_input
from cifarlab.console import log, quoted
from cifarlab.errors import RecipeError, UsageError
from cifarlab.evaluation import metrics
from cifarlab.evaluation.calibration import fit_temperature
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.files import write_atomic
from cifarlab.images.holdout import TrainingData
from cifarlab.images.images import Images
from cifarlab.images.pictures import fit_images
from cifarlab.images.sources import open_source
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import ModelCard, save_model
from cifarlab.judge import judge_locked, open_own_source
from cifarlab.kernels.accelerate import accelerate
from cifarlab.language import tr
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
from cifarlab.training.announcement import network_lines
from cifarlab.training.averaging import Average
from cifarlab.training.data_check import check_data, check_opened_data, refuse_if_strict
from cifarlab.training.hard_examples import HardExamples
from cifarlab.training.loop import Setup, fit
from cifarlab.training.optim import build
from cifarlab.training.run_facts import describe_run, environment_changes, now, settle_runtime
from cifarlab.training.signals import listen
from cifarlab.training.state import State
from cifarlab.training.status import check_same_data, how_to_train_further, is_complete, not_a_run, resume_hint, status
from cifarlab.training.step import Step
from cifarlab.training.stopping import Stopping
from cifarlab.training.trackers import Tracker
from cifarlab.version import VERSION

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""The normalisation with which torchvision and timm trained their published weights (He et al., 2015)."""

Then = Callable[[Run], object]
"""Called with a trained run before it counts as complete: to draw figures, to write a report."""

_INITIALISATION = 0
"""Part of the random key of the first weights; those of order, augmentation and dropout are 1, 2 and 3."""

_INITIAL_IMAGES = 5000
"""Training images that a data-dependent first layer is computed from."""


def train(
    recipe: Recipe,
    *,
    out: str | Path = "runs",
    name: str | None = None,
    data: TrainingData | None = None,
    data_dir: Path | None = None,
    then: Then | None = None,
    resumed: Run | None = None,
    announced: Path | None = None,
    allow_different_machine: bool = False,
) -> Run:
    """Train a recipe, test the result and return the run folder, which holds everything that is known about it.

    Load train and val and check them; choose how to use the machine; build the network; make the run folder. Train
    epoch by epoch, keeping the best validated weights, and leave them as a classifier. Only then open the test split,
    once. Last, do what `then` asks for, and call the run complete.

    name: of the folder inside `out`; unset: the recipe's. data: the recipe's, where the caller has loaded it. then:
    what has to be done before the run is complete. resumed: continue this run, whose lock is held, instead of making a
    folder (`resume` does it all). announced: the folder that was said to be made. allow_different_machine: as for
    `resume`. Raises DataError, DivergedError and InterruptedRunError. Images that cannot be read go into bad.jsonl.
    """
    if data is None:
        source = open_own_source(resumed, data_dir) if resumed else open_source(recipe.data, data_dir)
        data = TrainingData.of(source, recipe)  # test stays sealed until the last weights are chosen
    source, images, val = data.source, data.train, data.val
    if resumed:
        check_same_data(resumed, images, val)
    runtime = settle_runtime(resumed, recipe.runtime, allow_different_machine=allow_different_machine)
    with runtime.in_use():
        data_warnings = check_data(recipe, source, images, val)
        if reason := runtime.why_no_kernels:
            log.info(tr("{reason} Torch's own operations take their place; they are slower.", reason=reason))
        card = make_card(recipe, images)
        loader, step = make_step(recipe, runtime, card, images)
        # the folder comes last: a recipe that is refused or weights that cannot be downloaded leave nothing behind
        folder = nullcontext(resumed) if resumed else Run.new(Path(out), name or recipe.name, recipe)
        with folder as run, resume_hint(run), ExitStack() as open_files:
            setup, state = prepare(recipe, run, runtime, card, loader, step, val)
            open_files.callback(setup.tracker.close)  # Windows lets nobody remove a run whose events are open
            settings = (runtime, num_parameters(state.model), recipe.training.seed)
            write_manifest(run, describe_run(source, images, val, data_warnings, *settings))
            log.info(network_lines(recipe, *settings[:2], run.path, announced))
            with listen() as signals:
                fit(setup, state, signals)
            leave_classifier(setup, state)
            if recipe.evaluation.test:
                test = fit_images(source.load("test"), card.image_size, card.fit)
                judge_locked(run, "test", tta=recipe.evaluation.tta, reason="end of training", images=test)
                # copies between train and test can be found only now
                check_opened_data(run, source, images, val, test)
            warn_of_guessing(run, val)
            setup.tracker.write_results(recipe, state.step)
            if images.skipped:
                lines = [json.dumps({"image": text}) + "\n" for text in images.skipped]
                write_atomic(run.skipped_file(), "".join(lines))
            run.update_manifest(status=TRAINED)
            complete(run, then)
    return run


def resume(
    path: str | Path,
    *,
    data_dir: Path | None = None,
    then: Then | None = None,
    allow_different_machine: bool = False,
) -> Run:
    """Continue a run exactly from its last checkpoint; a complete run is left as it is.

    allow_different_machine: go on, with other bits, where this machine differs from that of the run so far. Otherwise
    raises OtherMachineError there. Raises CheckpointError when no checkpoint can be read, DataError when the training
    or validation images have changed, and UsageError for the folder of a study.
    """
    run = Run.open(path)
    if run.study:
        raise UsageError(not_a_run(run))
    with run.locked():
        if is_complete(run):
            log.info(f"{tr('{run} is already complete.', run=run.path)}\n{how_to_train_further(run)}")
        elif status(run) == TRAINED:  # it was killed while figures were drawn: the test split is not opened again
            with resume_hint(run):
                complete(run, then)
        else:
            train(
                run.recipe,
                data_dir=data_dir,
                then=then,
                resumed=run,
                allow_different_machine=allow_different_machine,
            )
    return run


def make_card(recipe: Recipe, images: Images) -> ModelCard:
    """Say how the network is to be applied: normalisation from the training images, sizes, class names."""
    height, width = images.size
    # every source fits its images to squares of a size that a recipe can name
    assert height == width and SMALLEST_SIDE <= height <= LARGEST_SIDE, images.size
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if recipe.data.normalisation == "imagenet" else images.mean_and_std()
    red, green, blue = (value if value > 1e-6 else 1.0 for value in std)  # a blank channel is not divided by zero
    return ModelCard(
        # the model file brings its own weights, so loading it must not download or read others
        architecture=recipe.model.model_copy(update={"pretrained": False, "weights": None}),
        class_names=images.class_names,
        mean=mean,
        std=(red, green, blue),
        image_size=height,
        fit=recipe.data.fit,
        white_level=recipe.data.white_level,
        input_size=recipe.data.image_size or height,
        temperature=1.0,  # fitted on val when the weights are final
        recipe=recipe.name,
        fingerprint=images.fingerprint,
        original=images.original,
        version=VERSION,
    )


def make_step(recipe: Recipe, runtime: Runtime, card: ModelCard, images: Images) -> tuple[Loader, Step]:
    """Build the loader, the network with its first weights, and its optimizer."""
    training = recipe.training
    keep_last = training.last_batch == "keep"
    loader = Loader(images, runtime.device, training.batch_size, keep_last=keep_last, seed=training.seed)
    model = make_model(recipe, card, runtime, loader)
    check_start_size(recipe, model)
    # decay_norm_and_bias = false leaves norm scales and biases without weight decay, since it is filters and matrices
    # that overfit ("no bias decay": He et al., Bag of Tricks for Image Classification, 2019, section 3.1)
    groups = finetune.parameter_groups(
        model, recipe.model.backbone_lr_factor, recipe.optimizer.weight_decay, recipe.optimizer.decay_norm_and_bias
    )
    optimizer = build.build(recipe.optimizer, groups, runtime.device, runtime.product_dtype)
    return loader, Step(recipe, card, runtime, model, optimizer, class_weights(recipe, images, runtime.device))


def make_model(recipe: Recipe, card: ModelCard, runtime: Runtime, loader: Loader) -> nn.Module:
    """Build the network with its first weights, a function of the seed and of some training images alone."""
    # drawn on the CPU before the network moves: the same first weights on every device
    torch.manual_seed(randomness.mix_key(recipe.training.seed, _INITIALISATION))
    model = build_network(recipe.model, len(card.class_names), card.input_size)
    model = model.to(runtime.device).to(memory_format=runtime.memory_format)
    accelerate(model, runtime, trains=True)
    if recipe.model.pretrained or recipe.model.weights:
        return model  # learnt weights must not be replaced by those computed from images
    mean, std = (torch.tensor(values, device=runtime.device) for values in (card.mean, card.std))
    pixels = loader.pixels[loader.order(0)[:_INITIAL_IMAGES]]  # shuffled: the first may be of one class
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
            # in eval mode, or the running statistics of norms would follow these zeros
            model.eval()(torch.zeros(2, 3, size, size, device=some.device, dtype=some.dtype))
    except RuntimeError as error:
        text = tr(
            "training.start_size = {size} is too small for {network}, or it takes one size only.\n"
            "Leave start_size out, or choose a network that ends in a global pool: resnet18, speednet, ..."
        )
        raise RecipeError(text.format(size=size, network=recipe.model.name)) from error


def class_weights(recipe: Recipe, images: Images, device: torch.device) -> Tensor | None:
    """One weight per class, (C,), or None; balanced ones have mean 1 over the images.

    Raises RecipeError when the number of weights is wrong.
    """
    wanted = recipe.training.class_weights
    if wanted == "none":
        return None
    if wanted == "balanced":
        # N / (C · n): each class then weighs as much as any other, however few images it has. A class without
        # images (all of them may be in val) gets 0 instead of a division by zero.
        present = np.maximum(images.counts, 1)
        values = np.where(images.counts > 0, len(images) / (images.num_classes * present), 0.0)
        return torch.tensor(values, dtype=torch.get_default_dtype(), device=device)
    if len(wanted) != images.num_classes:
        text = tr("training.class_weights has {n} values for {classes} classes.")
        raise RecipeError(text.format(n=len(wanted), classes=images.num_classes))
    return torch.tensor(wanted, dtype=torch.get_default_dtype(), device=device)


def prepare(
    recipe: Recipe,
    run: Run,
    runtime: Runtime,
    card: ModelCard,
    loader: Loader,
    step: Step,
    val: Images | None,
) -> tuple[Setup, State]:
    """Put together everything the loop needs; the state comes from the newest checkpoint where there is one."""
    total_steps = training_steps(recipe.training.epochs, len(loader))
    average = None
    if recipe.averaging.name != "none":
        start = duration_steps(recipe.averaging.start, len(loader), total_steps)
        average = Average(step.model, recipe.averaging, start)
    hard = hard_examples(recipe, loader)
    state = State(step.model, step.optimizer, step.scaler, average, Stopping(recipe.stopping), hard)
    saved, reasons = checkpoint.load(run.checkpoints)
    for reason in reasons:
        log.warning(tr("Passed over a checkpoint: {reason}", reason=reason))
    if saved is not None:
        state.restore(saved, total_steps)
        log.info(tr("Continuing {run} from step {step}.", run=run.path, step=state.step))
    # after the state is restored: the tracker must know which rows are written already
    tracker = Tracker(run, state.rows, recipe.runtime)
    return Setup(recipe, run, runtime, card, loader, val, step, tracker, total_steps), state


def hard_examples(recipe: Recipe, loader: Loader) -> HardExamples | None:
    """The memory of which images have the highest losses; None where the recipe draws all images to the end."""
    if recipe.training.hard_share == 1:
        return None
    return HardExamples(len(loader.labels), recipe.training.hard_share, loader.batch_size, loader.labels.device)


def write_manifest(run: Run, facts: Manifest) -> None:
    """Write down what the run rests on; what a resumed run rests on is added under `resumed`."""
    if not run.manifest_file.exists():
        run.update_manifest(**facts.model_dump(exclude_unset=True), status=TRAINING)
        return
    before = run.facts
    # of the machine only what was allowed to differ; see settle_runtime
    if differing := environment_changes(before.latest, facts, tr):
        log.warning("\n  ".join([tr("The run may end with other bits than one that was never stopped:"), *differing]))
    stored = environment_changes(before.latest, facts)
    resumption = Resumption.model_validate({**facts.model_dump(exclude_unset=True), "other_bits": stored})
    run.update_manifest(resumed=[each.model_dump(exclude_unset=True) for each in (*before.resumed, resumption)])


def leave_classifier(setup: Setup, state: State) -> None:
    """Write the model file: the best validated weights, or the last ones where nothing was validated.

    The epoch was chosen in the precision of the training; the classifier computes in fp32 with its norms folded away.
    Its accuracy on the validation images is therefore measured again, and on the same logits the temperature is fitted
    that calibrates its probabilities (Guo et al., 2017) and leaves its accuracy alone.
    """
    weights = state.best_weights or state.evaluated_model.state_dict()
    card, file, best, accuracy = setup.card, setup.run.model_file, state.best, None
    if setup.val is not None:
        runtime, batch_size = replace(setup.runtime, precision="fp32"), setup.recipe.evaluation.batch_size
        classifier = Classifier.from_weights(weights, card, origin=file, runtime=runtime, batch_size=batch_size)
        logits = classifier.logits(setup.val.pixels)
        accuracy = metrics.accuracy(logits, setup.val.labels)
        card = card.model_copy(update={"temperature": fit_temperature(logits, setup.val.labels)})
    save_model(file, weights, card)
    setup.run.update_manifest(
        ending=state.ending,
        num_steps=state.step,
        elapsed_seconds=round(state.elapsed_seconds, 3),
        best_epoch=best.epoch if best else None,
        best_val_accuracy=accuracy,
        chosen_by_val_accuracy=best.accuracy if best else None,
    )


def warn_of_guessing(run: Run, val: Images | None) -> None:
    """Warn when the accuracy cannot be told from that of guessing: on test where it was opened, else on val."""
    test, text = read_evaluation(run, "test"), None
    if test is not None:
        text = guessing(test.accuracy, {each.class_name: each.support for each in test.per_class}, "test")
    elif val is not None and (accuracy := run.facts.best_val_accuracy) is not None:
        counts = dict(zip(val.class_names, val.counts.tolist(), strict=True))
        text = guessing(accuracy, counts, "val")
    if text is not None:
        command = f"cifarlab lr-find {quoted(str(run.recipe_file))}"
        rate = tr("{command} suggests one", command=command)
        advice = tr("Try another optimizer.lr ({rate}) or more training.epochs.", rate=rate)
        log.warning(f"{text}\n{advice}")


def complete(run: Run, then: Then | None) -> None:
    """Do what is left once a run is trained; a run that was killed in here is continued here."""
    if then is not None:
        then(run)
    run.update_manifest(status=COMPLETE, finished=now())
    refuse_if_strict(run)  # last: a strict run keeps its results, and only the exit code says no
