"""Measure networks with our CPU kernels against the fastest that torch offers at the same precision, in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from cifarlab.bench.subject import IMAGE_SIZE, random_images, recipe_of, untrained
from cifarlab.bench.throughput import training_action
from cifarlab.bench.timing import Timing, machine, measure
from cifarlab.console import log
from cifarlab.evaluation.statistics import Interval, ratio_interval
from cifarlab.images.images import Images
from cifarlab.images.sources import load_images
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.inference.folding import fold
from cifarlab.inference.model_file import untrained_card
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.kernels.tiers import PREDICTION, TRAINING
from cifarlab.language import listed, tr, translatable
from cifarlab.machine.tier import tier
from cifarlab.models.registry import build_untrained
from cifarlab.recipe.schema import AugmentationSpec, Recipe
from cifarlab.training.train import make_card, make_step

KERNELS, TORCH, COMPILED = "kernels", "torch", "torch.compile"
NOISE, PHOTOGRAPHS = translatable("noise"), translatable("photographs")

Mode = Literal["training", "prediction"]
Actions = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class KernelTiming:
    """One network, trained or predicting on one kind of images, with kernels and without."""

    model: str
    mode: Mode
    images: str
    precision: str
    timings: dict[str, Timing]
    """Images per second, by what computed them."""

    @property
    def fastest_torch(self) -> str:
        """What is faster on this machine, torch's eager mode or torch.compile, by their medians."""
        return max((name for name in self.timings if name != KERNELS), key=lambda name: self.timings[name].median)

    @property
    def ratio(self) -> tuple[float, Interval]:
        """Images per second with kernels divided by those of the fastest torch, with its 95 % interval over pairs."""
        return ratio_interval(self.timings[KERNELS].values, self.timings[self.fastest_torch].values)

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        ratio, interval = self.ratio
        timings = {name: timing.to_dict() for name, timing in self.timings.items()}
        what = {"model": self.model, "mode": self.mode, "images": self.images, "precision": self.precision}
        return {**what, "ratio": ratio, "interval": list(interval), "against": self.fastest_torch, "timings": timings}


@dataclass(frozen=True)
class KernelTable:
    """What the kernels give on this machine, beside what the table in the source says is used here."""

    rows: tuple[KernelTiming, ...]
    tier: str
    used: dict[str, list[str]]
    """Which kernels are used: for training, by precision, and for prediction."""
    machine: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        rows = [row.to_dict() for row in self.rows]
        return {"tier": self.tier, "used": self.used, "rows": rows, "machine": self.machine}


def kernels(
    models: Sequence[str] = ("speed", "resnet18"), *, pairs: int = 8, steps: int = 3, compiled: bool = True
) -> KernelTable:
    """Measure training steps and predictions on noise and on photographs (the bundled sample), in `pairs` rounds.

    models: recipes or networks. A round runs `steps` steps, or predictions of as many batches, of each way in turn, so
    that whatever disturbs the machine disturbs them alike. compiled: include torch.compile, which takes a minute per
    network to compile. Raises MachineError where the kernels cannot be had.
    """
    photographs = load_images("sample", "train")
    rows: list[KernelTiming] = []
    for name in models:
        recipe = untrained(recipe_of(name)).model_copy(update={"augmentation": AugmentationSpec()})
        size = recipe.data.image_size or IMAGE_SIZE
        num = recipe.training.batch_size
        kinds = {NOISE: random_images(num, size)}
        if photographs.size == (size, size):
            kinds[PHOTOGRAPHS] = _first(photographs, num)
        for kind, images in kinds.items():
            precision, actions = _training(recipe, images, compiled=compiled)
            what = tr("{model}, training on {images}", model=name, images=tr(kind))
            timings = _in_turns(what, actions, len(images.labels), pairs, steps)
            rows.append(KernelTiming(name, "training", kind, precision, timings))
            actions = _prediction(recipe, images, compiled=compiled)
            what = tr("{model}, predicting {images}", model=name, images=tr(kind))
            timings = _in_turns(what, actions, len(images.labels), pairs, steps)
            rows.append(KernelTiming(name, "prediction", kind, "fp32", timings))
    used = {f"training, {str(dtype)[6:]}": sorted(found) for dtype, found in TRAINING.get(tier(), {}).items()}
    used["prediction"] = sorted(PREDICTION.get(tier(), ()))
    return KernelTable(tuple(rows), tier(), used, machine(inference_runtime()))


def _training(recipe: Recipe, images: Images, *, compiled: bool) -> tuple[str, Actions]:
    """A training step in each way, and the precision of all."""
    settings = {KERNELS: {"kernels": "on"}, TORCH: {"kernels": "off"}}
    if compiled:
        settings[COMPILED] = {"kernels": "off", "compile": "on"}
    actions: dict[str, Callable[[], object]] = {}
    precision = ""
    for name, setting in settings.items():
        spec = recipe.runtime.model_copy(update={"device": "cpu", **setting})
        chosen = recipe.model_copy(update={"runtime": spec})
        runtime = choose_runtime(spec)
        loader, step = make_step(chosen, runtime, make_card(chosen, images), images)
        actions[name], precision = training_action(step, loader.batch(0)), runtime.precision
    return precision, actions


def _prediction(recipe: Recipe, images: Images, *, compiled: bool) -> Actions:
    """A batch of predictions in each way, in float32 and with the norms folded into the convolutions."""
    size = images.size[0]
    network = build_untrained(recipe.model, len(images.class_names), size)
    card = untrained_card(recipe.model, images.class_names, size)
    actions: dict[str, Callable[[], object]] = {}
    for name in (KERNELS, TORCH):
        runtime = inference_runtime("cpu", kernels=name == KERNELS)
        classifier = Classifier.from_weights(network.state_dict(), card, origin=Path(recipe.name), runtime=runtime)
        actions[name] = _predict_all(classifier, images.pixels)
    if compiled:
        plain = Classifier(network, card, inference_runtime("cpu", kernels=False))
        forward = torch.compile(fold(plain.model.eval()).to(memory_format=torch.channels_last))

        @torch.inference_mode()
        def predict() -> None:
            forward(plain.network_input(images.pixels))

        actions[COMPILED] = predict
    return actions


def _predict_all(classifier: Classifier, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Callable[[], object]:
    return lambda: classifier.logits(pixels)


def _in_turns(subject: str, actions: Actions, num: int, pairs: int, steps: int) -> dict[str, Timing]:
    """Images per second of each action, one value per round."""
    log.info(tr("{subject}: {n} rounds of {ways}", subject=subject, n=pairs, ways=listed(actions)))

    def run(action: Callable[[], object]) -> float:
        def repeat() -> None:
            for _ in range(steps):
                action()

        return steps * num / measure(repeat, rounds=1, warmup=0).values[0]

    for action in actions.values():
        action()  # compiles, allocates memory, fills caches
        action()
    values: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(pairs):
        for name in list(actions)[:: 1 if number % 2 else -1]:
            values[name].append(run(actions[name]))
    return {name: Timing(tuple(found), "images/s", warmup=1) for name, found in values.items()}


def _first(images: Images, num: int) -> Images:
    """The first images, as many as a batch has; in the official order, which is random, they are of all classes."""
    places = np.arange(num) % len(images.labels)
    return Images(np.ascontiguousarray(images.pixels[places]), images.labels[places], images.class_names)
