"""Images per second that a trained network names on a CPU: cifarlab against onnxruntime, with the same weights.

    python benchmarks/predict.py [--model speednet] [--images 10000] [--rounds 3] [--threads 2]

The weights are random, the pixels too: neither changes the work. Both sides get the same uint8 arrays, and then the
same PNG files of 32 px, which the other side decodes with Pillow in a loop. The rounds alternate; medians count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cifarlab.errors import MachineError
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import ModelCard, save_model, untrained_card
from cifarlab.inference.pictures import predict_files
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.machine import process
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec, RuntimeSpec

Pixels = NDArray[np.uint8]
LogitsOf = Callable[[Pixels], NDArray[np.float32]]

SIDE = 32
BATCH = 250
"""Images that onnxruntime gets at once."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def trained(name: str, file: Path) -> ModelCard:
    """Write a model file whose norms have seen a few batches."""
    torch.manual_seed(0)
    model = build_network(ModelSpec(name=name), 10, SIDE)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(32, 3, SIDE, SIDE))
    classes = tuple(f"class {number}" for number in range(10))
    card = untrained_card(ModelSpec(name=name), classes, SIDE, MEAN, STD)
    save_model(file, model.state_dict(), card)
    return card


def onnx_logits(classifier: Classifier, file: Path, threads: int) -> LogitsOf:
    """Export the network as it was trained and run it with onnxruntime; normalisation is numpy on both batch and time.

    Raises MachineError without onnxruntime.
    """
    try:
        onnxruntime: Any = import_module("onnxruntime")
        import_module("onnxscript")
    except ImportError as error:
        raise MachineError(
            "The other side of this comparison is not installed: pip install onnx onnxruntime onnxscript"
        ) from error
    example = torch.zeros(2, 3, SIDE, SIDE)
    shapes = ({0: torch.export.Dim("images")},)
    model = classifier.model.eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(model, (example,), file, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda pixels: run_session(session, pixels)


def run_session(session: Any, pixels: Pixels) -> NDArray[np.float32]:
    """Logits of uint8 (N, 3, H, W), in batches."""
    name = session.get_inputs()[0].name
    scale = (1 / (255 * np.array(STD, np.float32))).reshape(3, 1, 1)
    shift = (np.array(MEAN, np.float32) / np.array(STD, np.float32)).reshape(3, 1, 1)
    batches = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
    return np.concatenate([session.run(None, {name: batch * scale - shift})[0] for batch in batches])


def read(file: Path) -> Pixels:
    """One picture as people read it: uint8 (3, H, W)."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def write_pictures(folder: Path, pixels: Pixels) -> list[Path]:
    """One PNG file per image."""
    files = [folder / f"{number:05}.png" for number in range(len(pixels))]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file)
    return files


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(title: str, ours: Callable[[], object], theirs: Callable[[], object], num: int, rounds: int) -> None:
    """Alternate, and print every round, the medians and their ratio."""
    print(f"{title}, images per second    cifarlab    onnxruntime")
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        times.append((seconds(ours), seconds(theirs)))
        print(f"  round {number + 1}    {num / times[-1][0]:.0f}    {num / times[-1][1]:.0f}", flush=True)
    mine, other = (num / median(column) for column in zip(*times, strict=True))
    print(f"  median    {mine:.0f}    {other:.0f}    ratio {mine / other:.2f}")


def one_image(classifier: Classifier, logits_of: LogitsOf, pixels: Pixels) -> None:
    """Print the median milliseconds for one image."""
    mine = median(seconds(lambda: classifier.predict([pixels[0]])) for _ in range(51))
    other = median(seconds(lambda: logits_of(pixels[:1])) for _ in range(51))
    print(f"one image, milliseconds    cifarlab {1000 * mine:.2f}    onnxruntime {1000 * other:.2f}")


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Arrays, one image, files."""
    file = folder / "model.safetensors"
    trained(options.model, file)
    runtime = choose_runtime(RuntimeSpec(device="cpu", precision="fp32", threads=options.threads))
    process.keep_freed_memory()
    classifier = Classifier.load(file, runtime=runtime)
    theirs = onnx_logits(Classifier.load(file, runtime=runtime), folder / "model.onnx", options.threads)
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, 3, SIDE, SIDE), dtype=np.uint8)
    arrays, num = list(pixels), options.images
    apart = np.abs(classifier.logits(pixels[:100]) - theirs(pixels[:100])).max()
    print(f"{options.model}, {num} images, {options.threads} threads; logits differ by at most {apart:.1e}")
    one_image(classifier, theirs, pixels)
    compare("arrays", lambda: classifier.predict(arrays), lambda: theirs(np.stack(arrays)), num, options.rounds)
    files = write_pictures(folder, pixels)
    decoded: Callable[[], object] = lambda: theirs(np.stack([read(each) for each in files]))  # noqa: E731
    compare("PNG files", lambda: predict_files(classifier, files, top=5), decoded, num, options.rounds)


def main() -> None:
    """Measure both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speednet")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            measure(options, Path(folder))
        except MachineError as error:
            print(error)


if __name__ == "__main__":
    main()
