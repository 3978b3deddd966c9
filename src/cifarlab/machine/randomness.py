"""Randomness as a function of a key such as (seed, step, purpose), so that there is no generator state to save."""

from __future__ import annotations

import torch
from torch import Tensor


def generator(device: torch.device, *key: int) -> torch.Generator:
    """Return a generator whose stream depends on `key` alone, so that resuming needs no generator state."""
    return torch.Generator(device).manual_seed(mix_key(*key))


def uniform(stream: torch.Generator, *shape: int, device: torch.device) -> Tensor:
    """Return random numbers in [0, 1) of this shape, in torch's default dtype."""
    # Drawn as float32 (24 random bits) and then converted, so that they are the same numbers in every default dtype.
    return torch.rand(shape, generator=stream, device=device, dtype=torch.float32).to(torch.get_default_dtype())


def seed_network(device: torch.device, *key: int) -> None:
    """Seed the generators that layers such as dropout draw from on `device`, by `key` alone."""
    seed = mix_key(*key)
    # Not torch.manual_seed, which also queues a call, with a formatted stack, for every kind of device not in use.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def mix_key(*key: int) -> int:
    """Fold integers into one well-mixed 63-bit seed (splitmix64; Steele et al., 2014)."""
    state = 0
    for part in key:
        # One splitmix64 step per part: add the golden ratio's 64 bits, then mix by xor-shifts and multiplications.
        state = (state + part + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 1  # manual_seed takes a signed 64-bit integer
