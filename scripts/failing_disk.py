"""Let the disk fail at one event of a tiny training after another: only time may be lost.

Each training runs in a process of its own, in which the n-th thing that it asks of the file system (to make a folder,
to create, write, flush or rename a file in the run folder) fails: with EIO once, or with ENOSPC from then on, as on a
disk that is full. It has to end with exit code 5, or with 0 where only TensorBoard lost its file, and to say so in a
few lines; resumed on a disk that works it has to end with the weights of a training that met no fault.

    python scripts/failing_disk.py              every third event
    python scripts/failing_disk.py --every 20   a sample
"""

from __future__ import annotations

import argparse
import builtins
import errno
import io
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifarlab.cli import main as cli
from cifarlab.cli import tables, train  # noqa: F401  # loaded before any process is forked
from cifarlab.explanation import run as explain  # noqa: F401
from cifarlab.pages.report import write as report  # noqa: F401
from cifarlab.studies import seeds  # noqa: F401

WORDS = [
    *("train", "simple-cnn", "--data", "sample", "--epochs", "0.4", "--device", "cpu"),
    *("--set", "training.batch_size=540", "--set", "validation.size=30", "--set", "training.checkpoint_minutes=1e-9"),
    *("--set", "runtime.precision=fp32", "--set", "runtime.threads=1", "--set", "runtime.kernels=off"),
]
MACHINE = 5


class Disk:
    """Counts what is asked of the file system below a folder, and fails where it is told to."""

    def __init__(self, root: Path, fails_at: int | None, number: int, *, for_good: bool) -> None:
        self.root, self.fails_at, self.number, self.for_good = root, fails_at, number, for_good
        self.num_events = 0
        self._lock = threading.Lock()

    def install(self) -> None:
        """Stand between this process and its file system, for good."""
        flush, open_file = os.fsync, io.open

        def fsync(fd: Any) -> None:
            self.meet(Path(f"/proc/self/fd/{fd}").readlink())
            flush(fd)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *options: Any, **named: Any) -> Any:
            if not set(mode) & set("wax") or not isinstance(file, str | os.PathLike) or not self._holds(file):
                return open_file(file, mode, buffering, *options, **named)
            binary = io.BufferedWriter(Watched(self, os.fspath(file), mode.replace("b", "").replace("t", "")))
            return binary if "b" in mode else io.TextIOWrapper(binary, *options, **named)

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in ("os.mkdir", "os.rename") or (event == "open" and _creates(arguments)):
                self.meet(arguments[0])

        os.fsync = fsync
        io.open = builtins.open = opened
        sys.addaudithook(audit)

    def meet(self, path: object) -> None:
        """Count one event, and fail if it is its turn."""
        if not isinstance(path, str | os.PathLike) or not self._holds(path):
            return
        with self._lock:
            self.num_events += 1
            place = self.num_events
        if self.fails_at is not None and (place == self.fails_at or (self.for_good and place > self.fails_at)):
            raise OSError(self.number, os.strerror(self.number), os.fspath(path))

    def _holds(self, path: str | os.PathLike[str]) -> bool:
        return Path(path).absolute().is_relative_to(self.root)


class Watched(io.FileIO):
    """A file whose writing can fail."""

    def __init__(self, disk: Disk, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self.disk = disk

    def write(self, data: Any) -> int:
        """Write, unless the disk fails."""
        self.disk.meet(str(self.name))
        return super().write(data)


def _creates(arguments: tuple[Any, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)


def in_process(action: Callable[[], int], log: Path) -> int:
    """The exit code of an action in a process of its own, whose output goes into a file."""
    pid = os.fork()
    if pid == 0:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            code = action()
        except BaseException as error:  # whatever escapes the command line is what is looked for
            print(f"escaped: {error!r}", file=sys.stderr, flush=True)
            code = 99
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def try_training(root: Path, disk: Disk, log: Path, count: Path | None = None) -> int:
    """Train on a disk that may fail, below `root`; the number of events goes into the file `count`."""

    def action() -> int:
        os.chdir(root)
        disk.install()
        code = cli.run([*WORDS, "--out", str(root / "runs")])
        if count is not None:
            count.write_text(str(disk.num_events))
        return code

    return in_process(action, log)


def problem(root: Path, code: int, log: Path, wanted: bytes) -> str:
    """What went wrong after a training that met a fault, or nothing."""
    text = log.read_text("utf-8", "replace")
    if code not in (0, MACHINE) or "Traceback" in text or "fault of cifarlab" in text:
        return f"exit code {code}: {text[-400:]}"
    if code == 0 and "TensorBoard" not in text:
        return "the fault went unsaid"
    run = root / "runs" / "simple-cnn"
    if not (run / "recipe.toml").exists():
        return "" if not run.exists() else f"a folder without a recipe stays: {run}"
    if code == MACHINE and "--resume" not in text:
        return f"what was kept went unsaid: {text[-400:]}"
    again = in_process(lambda: cli.run(["train", "--resume", str(run)]), log)
    if again != 0:
        return f"resuming ended with {again}: {log.read_text('utf-8', 'replace')[-400:]}"
    if (run / "model.safetensors").read_bytes() != wanted:
        return "resumed, it has other weights"
    missing = [name for name in ("report.html", "figures/grad_cam.png") if not (run / name).exists()]
    left = [str(path) for path in run.rglob(".tmp-*")]
    return f"complete without {missing}, with {left}" if missing or left else ""


def main() -> int:
    """Try every n-th event with both faults; the exit code says whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        straight = place / "straight"
        straight.mkdir()
        code = try_training(straight, Disk(straight, None, 0, for_good=False), place / "log", place / "count")
        assert code == 0, (place / "log").read_text()
        num_events = int((place / "count").read_text())
        wanted = (straight / "runs" / "simple-cnn" / "model.safetensors").read_bytes()
        codes, failures = Counter[tuple[str, int]](), 0
        for name, number, for_good in (("ENOSPC", errno.ENOSPC, True), ("EIO", errno.EIO, False)):
            for event in range(options.first, num_events + 1, options.every):
                root, log = place / f"{name}-{event}", place / "log"
                root.mkdir()
                code = try_training(root, Disk(root, event, number, for_good=for_good), log)
                codes[name, code] += 1
                if text := problem(root, code, log, wanted):
                    failures += 1
                    print(f"{name} at event {event} of {num_events}: {text}", flush=True)
        print(f"{num_events} events; {dict(codes)}; {failures} of {codes.total()} went wrong")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
