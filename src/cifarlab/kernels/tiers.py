"""Which kernels are used on which CPU, for training and for prediction: what was measured, in a table.

The table is part of the source, and the machine at hand is never timed, so that equal machines give equal runs.
`cifarlab bench kernels` measures a machine against it; docs/speed.md has the figures behind it.
"""

from __future__ import annotations

import torch

from cifarlab.kernels import build
from cifarlab.machine.tier import tier

CONVOLUTIONS = "convolutions"
"""3×3 convolutions with fewer multiplications, and a ResNet of basic blocks as one operation around them."""
NORMS = "norms"
"""Batch norm with the pool before it and the shortcut and activation behind it."""

_ALL = frozenset({CONVOLUTIONS, NORMS})

TRAINING: dict[str, dict[torch.dtype, frozenset[str]]] = {
    "avx2": {torch.float32: _ALL},
    "avx512": {torch.float32: _ALL},
    "avx512bf16": {torch.float32: _ALL, torch.bfloat16: _ALL},
    # AMX multiplies 16 times as many bf16 numbers as AVX-512: no convolution with fewer products makes up for that.
    "amx": {torch.float32: _ALL, torch.bfloat16: frozenset({NORMS})},
    "neon": {torch.float32: _ALL},
}

PREDICTION: dict[str, frozenset[str]] = {
    "avx2": _ALL,
    "avx512": _ALL,
    "avx512bf16": _ALL,
    "amx": _ALL,
    "neon": _ALL,
}
"""In float32, in which every finished model predicts."""


def trains(kernels: str, dtype: torch.dtype) -> bool:
    """Whether these kernels are loaded and are used for training in this dtype here."""
    return build.is_loaded() and kernels in TRAINING.get(tier(), {}).get(dtype, ())


def predicts(kernels: str) -> bool:
    """Whether these kernels are loaded and are used for prediction here."""
    return build.is_loaded() and kernels in PREDICTION.get(tier(), ())
