"""One optimizer step: pixels to loss to weights, all on the device, in batches."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarlab.batches.augment import augment, normalise
from cifarlab.batches.loader import Batch
from cifarlab.batches.mix import Targets, mix
from cifarlab.batches.preprocess import resize
from cifarlab.inference.model_file import ModelCard
from cifarlab.machine import randomness
from cifarlab.machine.runtime import Runtime
from cifarlab.recipe.schema import Recipe

_AUGMENTATION, _NETWORK = 2, 3
"""Parts of the random keys, so that augmentation, dropout and the order of images have independent streams."""


class Outcome(NamedTuple):
    """The results of one step, still on the device: nothing has waited for them.

    loss: the batch's mean, 0-d. correct: number of correct images, 0-d; under mixup and cutmix an image counts by the
    share of the label that it hits. losses (N,): the plain cross-entropy of each image, by its own label and without
    smoothing.
    """

    loss: Tensor
    correct: Tensor
    losses: Tensor


class Step:
    """Makes one optimizer step on `model`; the same for every recipe and device.

    All randomness is a function of (training.seed, step), so a resumed run repeats an uninterrupted one without any
    saved generator.
    """

    def __init__(
        self,
        recipe: Recipe,
        card: ModelCard,
        runtime: Runtime,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        class_weights: Tensor | None,
    ) -> None:
        self.recipe, self.card, self.runtime = recipe, card, runtime
        self.model, self.optimizer, self.class_weights = model, optimizer, class_weights
        # shares its weights with `model`, whose state_dict keeps the plain names
        self.network = torch.compile(model) if runtime.compile else model
        self.mean = torch.tensor(card.mean, device=runtime.device)
        self.std = torch.tensor(card.std, device=runtime.device)
        # small gradients round to 0 in fp16, so the loss is scaled up; bf16 has float32's range and needs no scale
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def __call__(self, step: int, batch: Batch, size: int | None = None) -> Outcome:
        """Make step number `step`; size: side in pixels of what the network sees; None: the card's."""
        images, targets = self.inputs(step, batch, size)
        # dropout draws from torch's global generator, so that is seeded for this step, whatever was drawn before
        randomness.seed_network(self.runtime.device, self.recipe.training.seed, _NETWORK, step)
        with self.runtime.autocast():
            logits = self.network(images)
        logits = logits.to(torch.get_default_dtype())  # the loss needs more than the 3 digits of bf16
        loss = self.loss(logits, targets)
        self.update(loss)
        logits = logits.detach()
        # from the same forward pass that trained, so choosing hard images costs almost nothing
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        return Outcome(loss.detach(), num_correct(logits, targets), losses)

    @torch.no_grad()
    def inputs(self, step: int, batch: Batch, size: int | None = None) -> tuple[Tensor, Targets]:
        """Augment, normalise, resize and mix a batch: float (N, 3, S, S) and its targets."""
        seed = self.recipe.training.seed
        stream = randomness.generator(self.runtime.device, seed, _AUGMENTATION, step)
        spec = self.recipe.augmentation
        pixels = augment(
            batch.pixels,
            spec,
            generator=stream,
            epoch=batch.pass_number,
            indices=batch.indices,
            seed=seed,
            mean=self.card.mean,
        )
        # augmented at full size and then shrunk, so that growing images are cropped by the same share throughout
        images = resize(normalise(pixels, self.mean, self.std), size or self.card.input_size)
        return mix(images.contiguous(memory_format=self.runtime.memory_format), batch.labels, spec, stream)

    def loss(self, logits: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy against both labels of a mixed image, by their shares (Zhang et al., mixup, 2017)."""
        first = self._cross_entropy(logits, targets.first)
        if targets.second is targets.first:
            return first  # nothing was mixed
        second = self._cross_entropy(logits, targets.second)
        return targets.weight * first + (1 - targets.weight) * second

    def update(self, loss: Tensor) -> None:
        """Go one step down the gradient."""
        torch.autograd.backward(self.scaler.scale(loss))  # scaled in fp16 only
        if self.recipe.training.clip_norm > 0:
            self.scaler.unscale_(self.optimizer)  # clip_norm is meant for the true gradient
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.training.clip_norm)
        self.scaler.step(self.optimizer)  # skipped when fp16 has overflowed; update() then lowers the scale
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.training.label_smoothing
        return F.cross_entropy(logits, labels, self.class_weights, label_smoothing=smoothing)


def num_correct(logits: Tensor, targets: Targets) -> Tensor:
    """The number of images that are classified correctly, a mixed one counted by share; 0-d float."""
    predictions = logits.argmax(1)
    first = (predictions == targets.first).sum()
    if targets.second is targets.first:
        return first.float()
    return targets.weight * first + (1 - targets.weight) * (predictions == targets.second).sum()
