"""Part b: the scripts of other projects on the same data and card, by their own clocks."""

from __future__ import annotations

from functools import partial

from gpu_parts.pieces import Piece, Record, Settings
from peers import PEERS, PeerRun, run_peer

ON_A_GPU = ("airbench94_muon", "airbench96_faster", "cifar10-speedrun")
TINY = ("airbench94-cpu",)


def pieces(settings: Settings) -> list[Piece]:
    """One per script, with all its runs, since each compiles once in a process; none without the checkouts."""
    if settings.peers is None:
        print("b: left out, since it needs --peers with checkouts of cifar10-airbench and cifar10-speedrun")
        return []
    names = TINY if settings.tiny else ON_A_GPU
    return [Piece(name, partial(measure, settings, name)) for name in names]


def measure(settings: Settings, name: str, limit_seconds: float) -> list[Record]:
    """All runs of one script; the last record has the key that says that it is done."""
    assert settings.peers is not None
    steps, num_test = (1, 100) if settings.tiny else (None, None)
    result = run_peer(
        name,
        settings.peers,
        runs=settings.num_seeds,
        steps=steps,
        data=settings.data,
        num_test=num_test,
        limit_seconds=limit_seconds,
    )
    group = name if result.as_measured else f"{name} (not commit {PEERS[name].commit[:12]})"
    records = [Record(f"{name}/run-{number}", group, values(run)) for number, run in enumerate(result.runs)]
    if result.warm_up:
        records.append(Record(f"{name}/warm-up", f"{group}, first run in a process", values(result.warm_up)))
    process = {"process_seconds": result.process_seconds}
    return [*records, Record(name, f"{group}, the process with all {len(result.runs)} runs", process)]


def values(run: PeerRun) -> dict[str, float]:
    """The numbers of one training."""
    return {"seconds": run.seconds, "accuracy": run.accuracy, "accuracy, their augmentation": run.tta_accuracy}
