"""Images divided between the cores of a CPU, in the place of the layers.

Torch lets all cores work on one layer, and they wait for each other at its end: often in a small network, and long
where another program has one of them. With images of its own, each core waits once. benchmarks/predict.py measures it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

PART = 50
"""Images that a core takes at once. It divides 500 and 1000, so that in blocks of either the parts are the same."""

_ONE_AT_A_TIME = threading.Lock()
"""How many threads torch uses is said for the whole program: two callers would restore each other's setting."""

Block = TypeVar("Block")


def possible(device: torch.device, threads: int) -> bool:
    """Whether there are cores to divide images between; only OpenMP lets each thread say how many it uses."""
    has_openmp: bool = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
    return has_openmp and device.type == "cpu" and threads > 1


def side_by_side(apply: Callable[[Block], Tensor], parts: Sequence[Block], threads: int) -> list[Tensor]:
    """What `apply` gives for each part, in order, by `threads` threads of one core each, in inference mode.

    A second caller waits, since the cores are taken; the caller's own number of threads is as before afterwards.
    """

    @torch.inference_mode()  # which is a state of the thread
    def infer(part: Block) -> Tensor:
        return apply(part)

    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(infer, parts))
        finally:
            torch.set_num_threads(before)
