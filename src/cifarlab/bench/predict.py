"""Measure how fast a trained model predicts: many images, a stack of pixels, single images; and how fast it loads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from cifarlab.bench.subject import IMAGE_SIZE, model_file, random_images
from cifarlab.bench.timing import Benchmark, announce, machine, measure
from cifarlab.console import count, log
from cifarlab.inference.classifier import BATCH_SIZE, Classifier, inference_runtime
from cifarlab.language import tr

SINGLE_WARMUP = 10
"""Images predicted before single ones are timed; one is too short to bring caches and clock rates up."""


def prediction(
    model: str,
    *,
    num_images: int = 2000,
    num_single: int = 200,
    image_size: int = IMAGE_SIZE,
    batch_size: int = BATCH_SIZE,
    rounds: int = 5,
    warmup: int = 1,
    device: str = "auto",
) -> Benchmark:
    """Measure images/s of `Classifier.predict` and `.logits` on noise, and ms for single images and for loading.

    model: a run folder, a model file, or the name of a network, which then gets random weights and images of
    `image_size`. `load` reads and verifies the file and builds the network; `predict` takes a list of arrays, as it
    does pictures; `logits` takes one stack; `single` predicts one image per call, num_single times.
    Raises UsageError for an unknown name and CheckpointError for a file that cannot be used.
    """
    runtime = inference_runtime(device)
    with tempfile.TemporaryDirectory() as folder:  # for the file of a network that is only named
        path = model_file(model, Path(folder), image_size)
        announce(model, "loading", rounds, warmup)
        loading = measure(lambda: Classifier.load(path, runtime=runtime), rounds=rounds, warmup=warmup, runtime=runtime)
        classifier = Classifier.load(path, runtime=runtime, batch_size=batch_size)
        # Both before the folder goes: it may hold the model file.
        size_bytes = path.stat().st_size
    timings = {"load": loading.times(1000, "ms")}
    pixels = random_images(num_images, classifier.card.image_size).pixels
    many: tuple[tuple[str, Callable[[], object]], ...] = (
        ("predict", lambda: classifier.predict(list(pixels))),  # also checks each image's size and sorts the classes
        ("logits", lambda: classifier.logits(pixels)),
    )
    for name, action in many:
        announce(model, name, rounds, warmup, count(num_images, "image"))
        timings[name] = measure(action, rounds=rounds, warmup=warmup, runtime=runtime).rate(num_images, "images/s")
    log.info(
        tr("{model}: single images, {n} after {warmup} to warm up", model=model, n=num_single, warmup=SINGLE_WARMUP)
    )
    images = cycle(pixels)  # different images, so that one does not stay in the cache
    single = measure(
        lambda: classifier.predict([next(images)]), rounds=num_single, warmup=SINGLE_WARMUP, runtime=runtime
    )
    timings["single"] = single.times(1000, "ms")  # a latency: its 99th percentile says more than a rate
    settings = {
        "model": classifier.card.architecture.name,
        "num_images": num_images,
        "image_size": classifier.card.image_size,
        "batch_size": batch_size,
        "size_bytes": size_bytes,
    }
    return Benchmark(model, settings, timings, machine(runtime))
