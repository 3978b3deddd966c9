"""The machine as a run uses it: device, precision, memory format and threads."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cifarlab.errors import MachineError
from cifarlab.language import listed, tr
from cifarlab.machine.process import num_threads
from cifarlab.machine.tier import tier
from cifarlab.recipe.schema import RuntimeSpec

# Tiers on which products in bf16 are faster than in fp32: about 6 times with AMX, twice with AVX-512. A CPU without
# such instructions emulates bf16 and is slower.
MULTIPLIES_BF16 = ("amx", "avx512bf16")

ZEN: dict[int, dict[str, tuple[range, ...]]] = {
    0x19: {"Zen 3": (range(0x10), range(0x20, 0x60)), "Zen 4": (range(0x10, 0x20), range(0x60, 0xB0))},
    0x1A: {"Zen 5": (range(0x30), range(0x40, 0x50), range(0x60, 0x80))},
}
"""The models of AMD's families by generation, as in arch/x86/kernel/cpu/amd.c of Linux."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """The settings that a `RuntimeSpec` was resolved to on this machine."""

    device: torch.device
    precision: str
    channels_last: bool
    compile: bool
    threads: int
    tier: str = ""
    """The tier of the CPU that trains; empty on other devices."""
    kernels: str = "off"
    """Either "on", "off" or, in English for the manifest, why there are none, as `kernels.accelerate` decides."""
    kernels_fingerprint: str = ""
    """A hash of the compiled library that is used; empty without one."""
    why_no_kernels: str = ""
    """The reason in the language that is spoken; empty with kernels, and where none are wanted."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's arithmetic; weights stay in torch's default dtype, float32."""
        return DTYPES[self.precision]

    @property
    def product_dtype(self) -> torch.dtype:
        """The dtype of matrix products outside the network that need range rather than digits, such as Muon's."""
        # Never fp16, which would overflow: its largest number is 65,504.
        return torch.bfloat16 if self.precision == "bf16" else torch.get_default_dtype()

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and filters in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let torch use this runtime's number of threads in the `with` block, and the process's own number after it."""
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
        """Return a context in which the network's arithmetic has the chosen precision."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def synchronise(self) -> None:
        """Wait until the device has finished, so that a clock that is read afterwards is right."""
        # A CPU computes at once; the other devices queue what they are given.
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def describe(self) -> dict[str, str | int | bool]:
        """Return the settings as the manifest stores them; `as_begun` reads them back."""
        return {
            "device": str(self.device),
            "device_name": _device_name(self.device),
            "precision": self.precision,
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "compile": self.compile,
            "threads": self.threads,
            "tier": self.tier,
            "kernels": self.kernels,
            "kernels_fingerprint": self.kernels_fingerprint,
        }


def resolve(spec: RuntimeSpec) -> Runtime:
    """Choose what is fast on this machine wherever the recipe says auto; nothing takes effect before `Runtime.in_use`.

    CPU kernels are left to `kernels.accelerate`. Raises MachineError for a device that is not present, and for a tier
    that this CPU does not have.
    """
    # By what the machine is, never by timing it: equal machines choose alike, however busy, and runs can be repeated.
    device = _device(spec.device)
    return Runtime(
        device=device,
        precision=spec.precision if spec.precision != "auto" else _precision(device),
        # auto is channels-last everywhere: the convolutions then need no reordering.
        channels_last=spec.memory_format != "contiguous",
        compile=spec.compile == "on",
        threads=spec.threads or num_threads(),
        tier=tier() if device.type == "cpu" else "",
    )


def as_begun(spec: RuntimeSpec, begun: Mapping[str, Any]) -> RuntimeSpec:
    """Return a spec that leaves nothing to choose, from what `Runtime.describe` stored when a run began.

    Raises KeyError, TypeError or ValueError for anything that `describe` cannot have stored.
    """
    # A run that began without kernels goes on without them, whatever the reason was: the weights would differ.
    settled = {name: begun[name] for name in ("device", "precision", "memory_format", "threads")}
    switches = {"compile": "on" if begun["compile"] else "off", "kernels": "on" if begun["kernels"] == "on" else "off"}
    return RuntimeSpec.model_validate({**spec.model_dump(), **settled, **switches})


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    # torch.device accepts many names, among them those of devices that this machine lacks.
    try:
        device = torch.device(name)
    except RuntimeError as error:
        allowed = listed(("auto", "cpu", "cuda", "cuda:<index>", "mps"))
        raise MachineError(tr("Unknown device {name!r}. Allowed: {allowed}.", name=name, allowed=allowed)) from error
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        there = listed(kind for kind, found in present.items() if found)
        text = tr("The device {name} is not there. Found: {there}. --device auto takes the best one.")
        raise MachineError(text.format(name=name, there=there))
    return device


def _precision(device: torch.device) -> str:
    if device.type == "cuda":  # GPUs before Ampere only emulate bf16
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # oneDNN is what makes torch use the instructions; a build without it would emulate bf16.
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "fp32"
    # of ARM's CPUs, which are one tier, some have such instructions
    return "bf16" if tier() in MULTIPLIES_BF16 or torch.cpu.get_capabilities().get("bf16") else "fp32"


def onednn_version() -> str:
    """Return the version of oneDNN, with which torch was built and which computes its convolutions on a CPU; or ""."""
    found = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return found[1] if found else ""


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:  # Linux; platform.processor() is empty there or names the instruction set only
        return cpu_name(Path("/proc/cpuinfo").read_text("utf-8"))
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def cpu_name(cpuinfo: str) -> str:
    """The name of the first CPU in Linux's /proc/cpuinfo, with AMD's generation: "AMD EPYC (Zen 4)".

    Virtual machines often hide the model, and one generation computes twice as fast as the other.

    Raises:
        KeyError: no CPU is named, as on most ARM machines.
    """
    first = cpuinfo.split("\n\n", 1)[0]
    fields: dict[str, str] = dict(re.findall(r"^([^\t:]+?)\s*: *(.*)$", first, re.MULTILINE))
    name = fields["model name"].strip()
    if fields.get("vendor_id") == "AuthenticAMD":
        family, model = int(fields["cpu family"]), int(fields["model"])
        for generation, models in ZEN.get(family, {}).items():
            if any(model in some for some in models):
                return f"{name} ({generation})"
    return name
