"""Run the scripts of other projects on the same data and machine, from checkouts that the user keeps.

    CIFARLAB_DATA=... python benchmarks/peers.py airbench94-cpu --peers DIR [--runs 1] [--steps N] [--data cifar10]

DIR holds checkouts as `git clone` names them: cifar10-airbench (github.com/KellerJordan/cifar10-airbench) and
cifar10-speedrun (github.com/hiverge/cifar10-speedrun). Their code is not ours and no part of this project; PEERS lists
the few words that are replaced in each script before it runs. Prints seconds and accuracy of every run, by the script's
own clock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cifarlab.errors import DataError, UsageError, unknown
from cifarlab.images.sources import load_images
from cifarlab.machine.process import SPIN_COUNT

CPU_PRELUDE = """\
import time
import torch
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.machine import process
from cifarlab.recipe.schema import RuntimeSpec
RUNTIME = choose_runtime(RuntimeSpec(device="cpu"))  # every core, kept memory, bf16 where it is fast
torch.set_num_threads(RUNTIME.threads)
process.keep_freed_memory()
class Clock:
    def record(self):
        self.seconds = time.perf_counter()
    def elapsed_time(self, other):
        return 1000 * (other.seconds - self.seconds)
"""
"""What the port to the CPU gets from us: the threads, the memory and the choice of precision that our recipes get."""


@dataclass(frozen=True)
class Replacement:
    """`old` has to stand in the script exactly `count` times; {runs} and {steps} in `new` are filled in."""

    old: str
    new: str
    count: int = 1


@dataclass(frozen=True)
class Peer:
    """A script of another project, as it was when it was measured here."""

    project: str
    file: str
    commit: str
    sha256: str
    """Of the file at that commit: another one is run too, and said to be another."""
    replacements: tuple[Replacement, ...]
    short: tuple[Replacement, ...] = ()
    """Further ones that end the training after {steps} steps."""
    prelude: str = ""
    compiles_in_first_run: bool = False
    """The script has no warm-up of its own, so one run more is made and the first is left out."""


AIRBENCH, AIRBENCH_COMMIT = "cifar10-airbench", "f1c599c4af24aca803e3e65a6a7e52a502e09d0e"

PEERS = {
    "airbench94-cpu": Peer(
        AIRBENCH,
        "legacy/airbench94.py",
        AIRBENCH_COMMIT,
        "0b155e0ff0e696bc01ae136654ddae88a24cd053cd2b4313d44548c29ed6c91d",
        (
            Replacement("torch.device(gpu)", "torch.device('cpu')"),
            Replacement("self.images.half()", "self.images.to(RUNTIME.dtype)"),
            Replacement(".half().cuda()", ""),  # weights in float32, arithmetic by autocast
            Replacement("outputs = model(inputs)", "with RUNTIME.autocast(): outputs = model(inputs)"),
            Replacement("with torch.no_grad():", "with torch.no_grad(), RUNTIME.autocast():"),
            Replacement("return x * self.scale", "return x.float() * self.scale"),  # no ties among bf16 logits
            Replacement("torch.cuda.Event(enable_timing=True)", "Clock()", 2),
            Replacement("torch.cuda.synchronize()", "pass", 3),
            Replacement("range(25)", "range({runs})"),
        ),
        short=(
            Replacement("ceil(len(train_loader) * epochs)", "{steps}"),
            Replacement("range(ceil(epochs))", "range(ceil({steps} / len(train_loader)))"),
        ),
        prelude=CPU_PRELUDE,
    ),
    "airbench94_muon": Peer(
        AIRBENCH,
        "airbench94_muon.py",
        AIRBENCH_COMMIT,
        "704e29251a5207d8aed8a35adf13f772ff386b90a712aaddc2a28854385b536e",
        (Replacement("range(200)", "range({runs})"),),
    ),
    "airbench96_faster": Peer(
        AIRBENCH,
        "airbench96_faster.py",
        AIRBENCH_COMMIT,
        "53b6aafd8a2775c47472bf2f31784f4733a38dc76a784bd5ed1450e1498109b3",
        (Replacement("range(200)", "range({runs})"),),
        compiles_in_first_run=True,
    ),
    "cifar10-speedrun": Peer(
        "cifar10-speedrun",
        "cifar10_speedrun.py",
        "5cd49b1e586f473b535cdeee69fe8ad5b6e9618b",
        "d1e1f6991cc3e1758c0bbc0e728c86a4b3119dd42a9233075b2edb9735d0ba91",
        (Replacement("range(200)", "range({runs})"),),
    ),
}


@dataclass(frozen=True)
class PeerRun:
    """One training, as the script's table tells it; seconds by its own clock, which stands still between epochs."""

    seconds: float
    accuracy: float
    tta_accuracy: float
    train_seconds: float | None
    """Until the last epoch's end, without the final test; None where the script does not print it."""


@dataclass(frozen=True)
class PeerResult:
    """All trainings of one call. A warm-up is the script's own, or the first run where it compiles in that."""

    name: str
    as_measured: bool
    """Whether the file is the one at the commit of PEERS."""
    warm_up: PeerRun | None
    runs: tuple[PeerRun, ...]
    process_seconds: float
    """Of the whole process: imports, compilation, all runs and all tests."""


def run_peer(
    name: str,
    folder: Path,
    *,
    runs: int,
    steps: int | None = None,
    data: str = "cifar10",
    num_test: int | None = None,
    limit_seconds: float | None = None,
) -> PeerResult:
    """Run a peer's script from the checkouts in `folder`; the training is cut off after `steps` where they are given.

    Raises UsageError for an unknown name or a script that cannot be shortened, DataError for one that is not there,
    has changed, fails or prints no results, TimeoutError for one that was stopped at the limit.
    """
    peer = PEERS.get(name)
    if peer is None:
        raise UsageError(unknown("peer", name, PEERS))
    text = read_script(peer, folder)
    patched = patch(peer, text, runs=runs + peer.compiles_in_first_run, steps=steps)
    with tempfile.TemporaryDirectory() as work:
        write_data(Path(work) / "cifar10", data, num_test)
        start = time.perf_counter()
        table = execute(patched, Path(work), peer.file, limit_seconds)
        seconds = time.perf_counter() - start
    warm_up, finished = parse_runs(table, first_is_warm_up=peer.compiles_in_first_run)
    if not finished:
        raise DataError(f"{peer.file} ended without a result. Its table has changed, or it was stopped.")
    as_measured = hashlib.sha256(text.encode()).hexdigest() == peer.sha256
    return PeerResult(name, as_measured, warm_up, tuple(finished), seconds)


def read_script(peer: Peer, folder: Path) -> str:
    """The script's text; raises DataError where there is none."""
    path = folder / peer.project / peer.file
    if not path.is_file():
        raise DataError(
            f"{path} is not there. {folder} has to hold a checkout of {peer.project}, "
            f"at commit {peer.commit[:12]} for the figures measured here."
        )
    return path.read_text("utf-8")


def patch(peer: Peer, text: str, *, runs: int, steps: int | None = None) -> str:
    """Make the peer's replacements; raises DataError where one does not fit, because the script has changed."""
    if steps is not None and not peer.short:
        raise UsageError(f"{peer.file} cannot be cut off after some steps: leave --steps out.")
    for replacement in (*peer.replacements, *(peer.short if steps is not None else ())):
        found = text.count(replacement.old)
        if found != replacement.count:
            raise DataError(
                f"{peer.project}/{peer.file} has changed: {replacement.old!r} stands in it {found} times, "
                f"not {replacement.count}. Check out commit {peer.commit[:12]}."
            )
        new = replacement.new.replace("{runs}", str(runs)).replace("{steps}", str(steps))
        text = text.replace(replacement.old, new)
    return peer.prelude + text


def write_data(folder: Path, source: str, num_test: int | None = None) -> None:
    """Write our images as the scripts cache theirs: train.pt and test.pt with uint8 (N, H, W, 3), labels, classes."""
    folder.mkdir(parents=True)
    for split, end in (("train", None), ("test", num_test)):
        images = load_images(source, split)
        pixels = torch.tensor(images.pixels[:end].transpose(0, 2, 3, 1).copy())
        values = {"images": pixels, "labels": torch.tensor(images.labels[:end]), "classes": list(images.class_names)}
        torch.save(values, folder / f"{split}.pt")


def execute(text: str, work: Path, file: str, limit_seconds: float | None = None) -> list[str]:
    """Run the text in `work`, show its lines on stderr as they come, and return them.

    Raises DataError if it fails and TimeoutError if it is stopped at the limit.
    """
    script = work / Path(file).name
    script.write_text(text, "utf-8")
    lines: list[str] = []
    command = [sys.executable, "-u", script.name]
    environment = {"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ}  # as our own command has it
    with subprocess.Popen(
        command, cwd=work, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        timer = threading.Timer(limit_seconds or threading.TIMEOUT_MAX, process.kill)
        timer.start()
        for line in process.stdout:  # text mode also ends a line at a carriage return
            lines.append(line.rstrip("\n"))
            print(lines[-1], file=sys.stderr, flush=True)
        process.wait()
        is_stopped = not timer.is_alive()
        timer.cancel()
    if is_stopped and process.returncode != 0:
        raise TimeoutError(f"{file} was stopped after {limit_seconds:.0f} s")
    if process.returncode != 0:
        last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
        raise DataError(f"{file} failed with exit code {process.returncode}: {last}")
    return lines


def parse_runs(lines: Iterable[str], *, first_is_warm_up: bool = False) -> tuple[PeerRun | None, list[PeerRun]]:
    """The runs of a printed table, and the warm-up; a run ends with the row whose epoch is `eval`."""
    head: list[str] = []
    rows: list[dict[str, str]] = []
    finished: list[tuple[str, PeerRun]] = []
    for line in lines:
        if not (line.startswith("|") and line.endswith("|")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "run":
            head = cells
            continue
        rows.append(dict(zip(head, cells, strict=True)))
        if rows[-1]["epoch"] == "eval":
            finished.append((next((row["run"] for row in rows if row["run"]), ""), _peer_run(rows)))
            rows = []
    is_warm_up = bool(finished) and (finished[0][0] == "warmup" or first_is_warm_up)
    runs = [run for _, run in finished]
    return (runs[0], runs[1:]) if is_warm_up else (None, runs)


def _peer_run(rows: list[dict[str, str]]) -> PeerRun:
    """One run from its rows, the last of which holds the results."""
    last = rows[-1]
    clock = "total_time_seconds" if "total_time_seconds" in last else "time_seconds"
    train_seconds = float(rows[-2][clock]) if len(rows) > 1 else None
    return PeerRun(float(last[clock]), float(last["val_acc"]), float(last["tta_val_acc"]), train_seconds)


def main() -> None:
    """Run one peer and print its runs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--data", default="cifar10")
    options = parser.parse_args()
    result = run_peer(options.name, options.peers, runs=options.runs, steps=options.steps, data=options.data)
    if not result.as_measured:
        print("note: the script is not the one at the commit that was measured here", file=sys.stderr)
    print(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
