"""A training by hand, from the package's parts: a loop to change and to learn from.

    python examples/train_by_hand.py [--data sample] [--network resnet18] [--width 0.25] [--epochs 10]

`cifarlab train` does more (checkpoints, precision, mixing, averaging, a report). This is its core, step by step: hold
out validation images, train on batches that are augmented on the device, keep the epoch with the best validation
accuracy, and open the test split once, at the end.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import cifarlab
from cifarlab.evaluation.evaluate import evaluate
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.sources import open_source
from cifarlab.recipe.schema import AugmentationSpec, DataSpec, ModelSpec, ValidationSpec

AUGMENTATION = AugmentationSpec(crop_padding=4, flip="random", cutout=8)
BATCH_SIZE, PEAK_LR, SEED = 128, 0.1, 0


def main(words: list[str] | None = None) -> float:
    """Train, test, and return the accuracy on the test split, 0..1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args(words)
    torch.manual_seed(SEED)  # the first weights; order and augmentation have their own seeds below
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # uint8 pixels (N, 3, 32, 32) and labels (N,) in memory; the test split is not read until the end
    source = open_source(DataSpec(source=options.data))
    train, val = load_train_and_val(source, ValidationSpec())
    assert val is not None
    # of the training images alone: validation and test stand for images that nobody has seen
    mean, std = (torch.tensor(values, device=device) for values in train.mean_and_std())

    model = cifarlab.build_network(ModelSpec(name=options.network, width=options.width), train.num_classes, 32)
    # convolutions are faster when the channels of a pixel lie side by side in memory
    model = model.to(device, memory_format=torch.channels_last)
    loader = cifarlab.Loader(train, device, BATCH_SIZE, seed=SEED)
    optimizer = torch.optim.SGD(model.parameters(), PEAK_LR, momentum=0.9, nesterov=True, weight_decay=5e-4)
    # one-cycle (Smith and Topin, 2017): the rate rises, then falls to almost 0, so a short training ends settled
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps)
    randomness = torch.Generator(device).manual_seed(SEED)

    def network_input(pixels: Tensor) -> Tensor:
        """Normalise images (N, 3, H, W), uint8 or floats in 0..1."""
        return cifarlab.normalise(pixels, mean, std, memory_format=torch.channels_last)

    @torch.inference_mode()
    def logits_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits (N, C) of uint8 images (N, 3, H, W), which `evaluate` measures."""
        model.eval()  # batch norm uses its running statistics, so each image is predicted by itself
        return model(network_input(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))).float().cpu().numpy()

    best_accuracy, best_weights = 0.0, {}
    for step in range(steps):
        model.train()  # logits_of has switched to eval mode
        batch = loader.batch(step)
        pixels = cifarlab.augment(
            batch.pixels,
            AUGMENTATION,
            generator=randomness,
            epoch=step // len(loader),
            indices=batch.indices,
            seed=SEED,
            mean=mean.tolist(),
        )
        # label smoothing: the targets are not quite certain, so logits need not grow for ever (Szegedy et al., 2016)
        loss = F.cross_entropy(model(network_input(pixels)), batch.labels, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % len(loader) == 0:
            measured, _ = evaluate(logits_of, val, split="val")
            print(f"epoch {(step + 1) // len(loader)}: loss {loss.item():.3f}, validation {measured.accuracy:.1%}")
            if measured.accuracy >= best_accuracy:  # of equal epochs the later one, at a lower rate
                best_accuracy, best_weights = measured.accuracy, copied(model)

    # Once, after everything was chosen: an epoch or a rate chosen by its test accuracy would be chosen for the luck it
    # had there, and the accuracy would be too high.
    model.load_state_dict(best_weights)
    tested, _ = evaluate(logits_of, source.load("test"), split="test")
    low, high = tested.accuracy_interval
    print(f"test: {tested.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) of {tested.num_images} images")
    return tested.accuracy


def copied(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights as they are now."""
    # the optimizer changes weights in place, so state_dict alone would go on changing with the training
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    main()
