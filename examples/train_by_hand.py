"""A training by hand, from the package's parts: a loop to change and to learn from.

    python examples/train_by_hand.py [--data sample] [--network resnet18] [--width 0.25] [--epochs 10]

`cifarlab train` does more (checkpoints, precision, mixing, averaging, a report); this is its core, step by step: hold
out validation images, train on batches that are augmented on the device, keep the best epoch by validation accuracy,
and open the test split once, at the end.
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
    torch.manual_seed(SEED)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # uint8 pixels (N, 3, 32, 32) and labels (N,) in memory; nothing here has looked at the test split
    source = open_source(DataSpec(source=options.data))
    train, val = load_train_and_val(source, ValidationSpec())
    assert val is not None
    mean, std = (torch.tensor(values, device=device) for values in train.mean_and_std())

    model = cifarlab.build_network(ModelSpec(name=options.network, width=options.width), train.num_classes, 32)
    # convolutions on a CPU are faster when the channels of a pixel lie side by side
    model = model.to(device, memory_format=torch.channels_last)
    loader = cifarlab.Loader(train, device, BATCH_SIZE, seed=SEED)
    optimizer = torch.optim.SGD(model.parameters(), PEAK_LR, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps)
    randomness = torch.Generator(device).manual_seed(SEED)

    def network_input(pixels: Tensor) -> Tensor:
        """uint8, or floats in 0..1, (N, 3, H, W) to what the network sees."""
        return cifarlab.normalise(pixels, mean, std, memory_format=torch.channels_last)

    @torch.inference_mode()
    def logits_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What `evaluate` measures: uint8 images (N, 3, H, W) to logits (N, C)."""
        model.eval()  # batch norm uses its running statistics, so each image is predicted by itself
        return model(network_input(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))).float().cpu().numpy()

    best_accuracy, best_weights = 0.0, {}
    for step in range(steps):
        model.train()
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
        loss = F.cross_entropy(model(network_input(pixels)), batch.labels, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % len(loader) == 0:
            measured, _ = evaluate(logits_of, val, split="val")
            print(f"epoch {(step + 1) // len(loader)}: loss {loss.item():.3f}, validation {measured.accuracy:.1%}")
            if measured.accuracy >= best_accuracy:
                best_accuracy, best_weights = measured.accuracy, copied(model)

    model.load_state_dict(best_weights)
    tested, _ = evaluate(logits_of, source.load("test"), split="test")
    low, high = tested.accuracy_interval
    print(f"test: {tested.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) of {tested.num_images} images")
    return tested.accuracy


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now; state_dict alone would go on changing with the training."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    main()
