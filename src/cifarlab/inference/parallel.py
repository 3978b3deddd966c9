"""Divide the images between the cores of a CPU, instead of the work of each layer.

torch lets all cores work on one layer, and they wait for each other at its end: often in a small network, and long if
another program occupies one of them. With images of its own, each core waits once. benchmarks/predict.py measures it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

# Images that a core takes at once. It divides 500 and 1000, the block sizes of Classifier and evaluate, so the parts
# are the same images whichever of them asks.
PART = 50

# torch's number of threads is a setting of the whole process: two callers would restore each other's.
_ONE_AT_A_TIME = threading.Lock()

Block = TypeVar("Block")


def possible(device: torch.device, threads: int) -> bool:
    """Whether images can be divided between cores here."""
    # Only with OpenMP does each thread have a number of threads of its own.
    has_openmp: bool = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
    return has_openmp and device.type == "cpu" and threads > 1


def side_by_side(apply: Callable[[Block], Tensor], parts: Sequence[Block], threads: int) -> list[Tensor]:
    """Apply a function to each part, in inference mode, on `threads` threads of one core each; results keep the order.

    A second caller waits until the cores are free. The caller's own number of threads is restored afterwards.
    """

    @torch.inference_mode()  # a state of the thread, so that of the caller does not reach the pool
    def infer(part: Block) -> Tensor:
        return apply(part)

    with _ONE_AT_A_TIME:
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(infer, parts))
        finally:
            torch.set_num_threads(before)
