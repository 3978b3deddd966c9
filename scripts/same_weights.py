"""Whether a busy machine trains the same weights as an idle one, and a stopped run the same as one that was not.

    python scripts/same_weights.py [--trainings 60] [--resumes 20] [--out same_weights.json]

First a training on the machine as it is. Then, with one process per core that does nothing but compute: `trainings`
more, each with an empty cache, so that the kernels are compiled anew, too; and `resumes` that are stopped after one
step or another, by SIGTERM and SIGKILL in turn, and continued. The recipe is `quick`, with runtime.precision = "auto",
on a few pictures of noise. Writes the number of trainings by what was chosen and by the hash of the weights; ends with
1 when there is more than one of either.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SOURCES = Path(__file__).resolve().parents[1] / "src"
EPOCHS, NUM_STEPS = 4, 8
"""40 pictures in batches of 20; nothing is held out."""
SETTINGS = [
    f"training.epochs={EPOCHS}",
    "training.batch_size=20",
    "validation.size=0",
    "training.checkpoint_minutes=1e-9",  # one at every step, so that a run can be killed after any
]
CHOICES = ("device", "precision", "memory_format", "compile", "threads", "kernels")

STOP_AFTER = """
import os, sys
from cifarlab.cli.main import run
from cifarlab.training import loop

take_step, taken = loop.take_step, 0
def counted(*arguments):
    global taken
    if taken == int(sys.argv[1]):
        os.kill(os.getpid(), int(sys.argv[2]))
    taken += 1
    take_step(*arguments)
loop.take_step = counted
sys.exit(run(sys.argv[3:]))
"""
"""`cifarlab` that sends itself a signal when it has taken a number of steps."""


def main() -> int:
    """Train, compare and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=60)
    parser.add_argument("--resumes", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("same_weights.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_pictures(place / "data")
        idle = outcome(train(place, "idle"))
        with busy_cores():
            trained = Counter(outcome(train(place, f"training-{number}")) for number in range(options.trainings))
            resumed = Counter(outcome(stop_and_resume(place, number)) for number in range(options.resumes))
    same = set(trained) | set(resumed) == {idle}
    found = {"idle": idle, "trained": listed(trained), "resumed": listed(resumed), "same": same}
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 0 if same else 1


def train(place: Path, name: str) -> Path:
    """Train to the end; returns the run folder."""
    cifarlab(place / f"{name}-cache", [], *command(place, name), expected=0)
    return place / name / "quick"


def stop_and_resume(place: Path, number: int) -> Path:
    """Stop a training after one of its steps and continue it in another process."""
    cache = place / "resume-cache"
    name, kind = f"resume-{number}", (signal.SIGTERM, signal.SIGKILL)[number % 2]
    steps = 1 + (number // 2) % (NUM_STEPS - 1)
    stopped = 128 + kind if kind == signal.SIGTERM else -kind
    cifarlab(cache, [STOP_AFTER, str(steps), str(int(kind))], *command(place, name), expected=stopped)
    run = place / name / "quick"
    cifarlab(cache, [], "train", "--resume", str(run), "--no-report", expected=0)
    return run


def command(place: Path, name: str) -> list[str]:
    """The words of a training."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["train", "quick", "--data", str(place / "data"), "--out", str(place / name), "--no-report", *settings]


def cifarlab(cache: Path, script: list[str], *words: str, expected: int) -> None:
    """Run `cifarlab`, or a script that takes its words, in a process with this cache."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cache)}
    how = ["-c", *script] if script else ["-m", "cifarlab"]
    done = subprocess.run([sys.executable, *how, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != expected:
        raise SystemExit(f"cifarlab {' '.join(words)} ended with {done.returncode}, not {expected}:\n{done.stderr}")


def outcome(run: Path) -> tuple[str, str]:
    """What was chosen for the machine, and the hash of the weights."""
    from safetensors.numpy import load_file

    runtime: dict[str, Any] = json.loads((run / "manifest.json").read_text("utf-8"))["runtime"]
    weights = load_file(run / "model.safetensors")
    digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights)))
    return ", ".join(f"{name} {runtime[name]}" for name in CHOICES), digest.hexdigest()[:16]


def listed(outcomes: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """As JSON holds it."""
    return [{"chosen": chosen, "weights": weights, "n": n} for (chosen, weights), n in outcomes.most_common()]


def write_pictures(folder: Path) -> None:
    """Two classes of noise: 20 pictures of each to train on, 8 to test."""
    random = np.random.default_rng(0)
    for split, num_images in (("train", 20), ("test", 8)):
        for brightness, name in ((90, "cat"), (160, "dog")):
            (folder / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = random.normal(brightness, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with something else."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


if __name__ == "__main__":
    sys.exit(main())
