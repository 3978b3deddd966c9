"""What the figures hold for, and the packages that a machine without a network has to be given."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
BESIDES = ("torchvision",)
"""Used by the benchmarks and no dependency of the project; triton, which torch.compile needs, comes with torch."""


def describe(device: str) -> dict[str, Any]:
    """Card, driver and versions."""
    is_cuda = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else platform.machine(),
        "driver": _driver() if is_cuda else "none",
        "CUDA": torch.version.cuda or "none",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return lines[0] if lines else "unknown"


def wheels() -> list[str]:
    """name==version of everything that is needed and installed here, as `pip download` takes it."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    waiting, found = [*project["dependencies"], *BESIDES], dict[str, str]()
    while waiting:
        name = re.split(r"[^A-Za-z0-9._-]", waiting.pop(), maxsplit=1)[0]
        if name.lower() in found:
            continue
        try:
            found[name.lower()] = f"{name}=={version(name)}"
            waiting += [text for text in requires(name) or () if "extra ==" not in text]
        except PackageNotFoundError:
            continue  # of another system
    return sorted(found.values(), key=str.lower)
