"""How long the program takes before it does anything, each time in a process of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from cifarlab.bench.subject import model_file, random_images
from cifarlab.bench.timing import Benchmark, machine, measure
from cifarlab.console import log
from cifarlab.errors import MachineError
from cifarlab.files import write_atomic
from cifarlab.inference.classifier import Classifier, inference_runtime

PACKAGE = Path(__file__).parents[2]
"""The folder that holds the package, for the new processes to find this very one."""

PREDICT = "import sys, cifarlab; cifarlab.Classifier.load(sys.argv[1]).predict([sys.argv[2]])"

COMMANDS: dict[str, tuple[str, ...]] = {
    "python": ("-c", "pass"),
    "import cifarlab": ("-c", "import cifarlab"),
    "cifarlab --help": ("-m", "cifarlab", "--help"),
    "import torch": ("-c", "import torch"),
    "predict one image": ("-c", PREDICT),
}
"""What stands after `python`; the last one also gets a model file and a picture."""


def startup(model: str = "resnet18", *, rounds: int = 5, warmup: int = 1) -> Benchmark:
    """Seconds from the start of a process to its end, for each of COMMANDS, the bare interpreter among them.

    model is a run folder, a model file, or the name of a network, which then gets random weights. `warmup` processes
    of each kind do not count, so the files lie in the system's cache.
    Raises UsageError for an unknown model and MachineError, with the last line of its words, when a process fails.
    """
    timings = {}
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        picture = _picture(Path(folder) / "image.png", Classifier.load(path).card.image_size)
        for name, words in COMMANDS.items():
            log.info(f"{name}: {rounds} processes after {warmup} to warm up")
            extra = (str(path), str(picture)) if PREDICT in words else ()
            timings[name] = measure(partial(run_python, (*words, *extra)), rounds=rounds, warmup=warmup)
        size_bytes = path.stat().st_size
    return Benchmark("startup", {"model": model, "size_bytes": size_bytes}, timings, machine(inference_runtime()))


def run_python(words: Sequence[str]) -> None:
    """Run this Python with these arguments to its end; raises MachineError when it fails."""
    path = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MachineError(f"python {' '.join(words[:2])} ended with {done.returncode}: {last}")


def _picture(path: Path, size: int) -> Path:
    """A PNG of noise."""
    content = io.BytesIO()
    Image.fromarray(random_images(1, size).pixels[0].transpose(1, 2, 0)).save(content, "PNG")
    write_atomic(path, content.getvalue())
    return path
