"""The tier of a CPU: how wide its registers are and whether it multiplies bf16, which decides what is fast on it.

CIFARLAB_TIER=none|avx2|avx512|avx512bf16|amx|neon makes cifarlab and torch use a lower tier than the CPU's own, so that
a result can be repeated on, or a kernel tested for, a machine that is not at hand. It is read once, before torch loads.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from functools import cache

import platformdirs

from cifarlab.errors import MachineError
from cifarlab.language import listed, tr

VARIABLE = "CIFARLAB_TIER"

X86 = ("none", "avx2", "avx512", "avx512bf16", "amx")
"""From the lowest to the highest; each CPU has those below its own. "none" uses no kernels of ours."""

# What torch's libraries read before they choose their instructions: oneDNN, ATen and MKL, which only limits Intel's.
_LIMITS = {
    "avx2": ("AVX2", "avx2", "AVX2"),
    "avx512": ("AVX512_CORE", "avx512", "AVX512"),
    "avx512bf16": ("AVX512_CORE_BF16", "avx512", "AVX512"),
}
_LIMITED = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


def limit_torch() -> None:
    """Tell torch's libraries about a tier that is asked for, if torch has not been imported; `tier` checks that."""
    if os.environ.get(VARIABLE) not in _LIMITS or "torch" in sys.modules:
        return
    for variable, limit in _wanted_limits():
        os.environ.setdefault(variable, limit)
    # torch.compile would take what it once compiled for the CPU's own tier from its cache, and compute nonsense with it
    folder = platformdirs.user_cache_path("cifarlab") / f"torchinductor_{os.environ[VARIABLE]}"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


@cache
def tier() -> str:
    """The tier that is used: the CPU's own, or a lower one that CIFARLAB_TIER asks for.

    Raises MachineError for one that this CPU does not have, and where torch's libraries could not be limited to it.
    """
    own = _own()
    wanted = os.environ.get(VARIABLE) or own
    setting = f"{VARIABLE}={wanted}"
    allowed = X86[: X86.index(own) + 1] if own in X86 else ("none", own)
    if wanted not in allowed:
        raise MachineError(
            tr("{setting} is not possible on this CPU. It has: {tiers}.", setting=setting, tiers=listed(allowed))
        )
    for variable, limit in _wanted_limits():
        if (found := os.environ.get(variable)) != limit:
            late = tr("{setting} comes too late: torch was imported before cifarlab.")
            if found:
                late = tr("{setting} comes too late: {variable} is already {value}.")
            what_to_do = tr("Set it before Python starts, without {variables}.", variables=listed(_LIMITED))
            raise MachineError(f"{late.format(setting=setting, variable=variable, value=found)}\n{what_to_do}")
    return wanted


def _wanted_limits() -> Iterable[tuple[str, str]]:
    """Variables of torch's libraries and what a tier that is asked for makes of them."""
    return zip(_LIMITED, _LIMITS.get(os.environ.get(VARIABLE, ""), ()), strict=False)


def _own() -> str:
    import torch

    if platform.machine().lower() in ("aarch64", "arm64"):
        return "neon"
    has = torch.cpu.get_capabilities().get
    if has("amx_bf16"):
        return "amx"
    if has("avx512_bf16"):
        return "avx512bf16"
    if all(has(f"avx512_{part}") for part in ("f", "bw", "dq", "vl")):
        return "avx512"
    return "avx2" if has("avx2") and has("fma3") else "none"
