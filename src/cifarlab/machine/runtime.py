"""The machine as a run uses it: device, precision, memory format and threads."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from cifarlab.errors import MachineError
from cifarlab.machine.process import num_threads
from cifarlab.recipe.schema import RuntimeSpec

MULTIPLIES_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Instructions, as torch.cpu.get_capabilities names them, with which products in bf16 are faster than in fp32: about 6
times with AMX, twice with AVX-512; the last is ARM's. A CPU without them only imitates bf16 and would lose."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """What `RuntimeSpec` became on this machine."""

    device: torch.device
    precision: str
    channels_last: bool
    compile: bool
    threads: int
    kernels: str = "off"
    """Either "on" or why not; `kernels.accelerate` decides that."""
    kernels_fingerprint: str = ""
    """Of the compiled library that is used."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's arithmetic; weights stay in torch's default type, float32."""
        return DTYPES[self.precision]

    @property
    def product_dtype(self) -> torch.dtype:
        """Of matrix products outside the network that need range, not digits: bf16 where it is fast, never fp16."""
        return torch.bfloat16 if self.precision == "bf16" else torch.get_default_dtype()

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and filters."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let torch use as many threads as this runtime has; afterwards the process has its own number again."""
        before = torch.get_num_threads()
        if before == self.threads:
            yield
            return
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def autocast(self) -> AbstractContextManager[object]:
        """Run the network's arithmetic in the chosen precision."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def synchronise(self) -> None:
        """Wait for the device, so that a clock read afterwards tells the truth."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def describe(self) -> dict[str, str | int | bool]:
        """For the manifest."""
        return {
            "device": str(self.device),
            "device_name": _device_name(self.device),
            "precision": self.precision,
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "compile": self.compile,
            "threads": self.threads,
            "kernels": self.kernels,
            "kernels_fingerprint": self.kernels_fingerprint,
        }


def resolve(spec: RuntimeSpec) -> Runtime:
    """Choose what is fast on this machine wherever the recipe says auto; nothing is set before `Runtime.in_use`.

    The choice follows from what the machine is and never from a clock: equal machines choose alike, however busy.
    CPU kernels are not looked for here. Raises MachineError for a device that is not there.
    """
    device = _device(spec.device)
    return Runtime(
        device=device,
        precision=spec.precision if spec.precision != "auto" else _precision(device),
        channels_last=spec.memory_format != "contiguous",
        compile=spec.compile == "on",
        threads=spec.threads or num_threads(),
    )


def as_begun(spec: RuntimeSpec, begun: Mapping[str, Any]) -> RuntimeSpec:
    """The spec that leaves nothing to choose, from what `Runtime.describe` said when a run began.

    A run that did without kernels goes on without them, whatever the reason was. Raises KeyError, TypeError or
    ValueError for what `describe` does not say.
    """
    settled = {name: begun[name] for name in ("device", "precision", "memory_format", "threads")}
    switches = {"compile": "on" if begun["compile"] else "off", "kernels": "on" if begun["kernels"] == "on" else "off"}
    return RuntimeSpec.model_validate({**spec.model_dump(), **settled, **switches})


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        allowed = "auto, cpu, cuda, cuda:<index>, mps"
        raise MachineError(f"Unknown device {name!r}. Allowed: {allowed}.") from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        there = ", ".join(kind for kind, found in present.items() if found)
        raise MachineError(f"The device {name} is not there. Found: {there}. --device auto takes the best one.")
    return device


def _precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type != "cpu" or not _has_onednn():
        return "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if any(found.get(name) for name in MULTIPLIES_BF16) else "fp32"


def _has_onednn() -> bool:
    """Whether torch has the library that makes use of the instructions."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return _cpu_name()
    return device.type


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
