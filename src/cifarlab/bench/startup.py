"""Measure how long the program takes to start, each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from cifarlab.bench.subject import model_file, random_images
from cifarlab.bench.timing import Benchmark, machine, measure, word
from cifarlab.console import log
from cifarlab.errors import MachineError
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.language import tr

PACKAGE = Path(__file__).parents[2]
"""The folder that contains the package; new processes get it first, so that they import the same copy."""

# The shortest useful program: everything that a first prediction needs is imported, read and built.
PREDICT = "import sys, cifarlab; cifarlab.Classifier.load(sys.argv[1]).predict([sys.argv[2]])"

COMMANDS: dict[str, tuple[str, ...]] = {
    "python": ("-c", "pass"),  # the interpreter alone, to subtract from the others
    "import cifarlab": ("-c", "import cifarlab"),
    "cifarlab --help": ("-m", "cifarlab", "--help"),
    "import torch": ("-c", "import torch"),  # most of what any command with a network takes
    "predict one image": ("-c", PREDICT),
}
"""Arguments of `python`; the last command also gets a model file and a picture."""


def startup(model: str = "resnet18", *, rounds: int = 5, warmup: int = 1) -> Benchmark:
    """Measure seconds from the start of a process to its end, for each of COMMANDS.

    model: a run folder, a model file, or the name of a network, which then gets random weights. `warmup` processes of
    each kind do not count; after them the files are in the system's cache.
    Raises UsageError for an unknown model and MachineError, with the last line of its stderr, when a process fails.
    """
    timings = {}
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        picture = Path(folder) / "image.png"  # a file, since decoding is part of a first prediction
        size = Classifier.load(path).card.image_size
        Image.fromarray(random_images(1, size).pixels[0].transpose(1, 2, 0)).save(picture)
        for name, words in COMMANDS.items():
            log.info(tr("{what}: {n} processes after {warmup} to warm up", what=word(name), n=rounds, warmup=warmup))
            extra = (str(path), str(picture)) if PREDICT in words else ()
            timings[name] = measure(partial(run_python, (*words, *extra)), rounds=rounds, warmup=warmup)
        size_bytes = path.stat().st_size
    return Benchmark("startup", {"model": model, "size_bytes": size_bytes}, timings, machine(inference_runtime()))


def run_python(words: Sequence[str]) -> None:
    """Run this Python interpreter with these arguments and wait for it; raises MachineError when it fails."""
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    # Output is captured, so that the speed of a terminal is not measured.
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [tr("it said nothing")])[-1]
        command = f"python {' '.join(words[:2])}"
        raise MachineError(
            tr("{command} ended with {code}: {reason}", command=command, code=done.returncode, reason=last)
        )
