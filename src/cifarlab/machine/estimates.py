"""How long recipes would train on this machine: estimates that `cifarlab recipes --estimate` has made, by recipe."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import platformdirs

from cifarlab.files import write_atomic
from cifarlab.machine.process import num_threads
from cifarlab.version import VERSION


def estimates(folder: Path | None = None) -> dict[str, float]:
    """Seconds by recipe, as estimated on this machine with these versions; empty where nothing was.

    folder: of the user's cache; unset: that of this platform.
    """
    return _read(folder).get(_here(), {})


def remember(name: str, seconds: float, folder: Path | None = None) -> None:
    """Keep the estimate of one recipe beside the others, and beside those of other machines that share the folder."""
    known = _read(folder)
    known.setdefault(_here(), {})[name] = seconds
    write_atomic(_file(folder), json.dumps(known, indent=2) + "\n")


def _here() -> str:
    """What an estimate depends on: the machine, its threads, and the versions of torch and of cifarlab."""
    return f"{platform.node()}, {num_threads()} threads, torch {version('torch')}, cifarlab {VERSION}"


def _read(folder: Path | None) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(_file(folder).read_text("utf-8"))
        return {
            str(machine): {str(name): float(each) for name, each in all_.items()} for machine, all_ in found.items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # none yet, or a damaged file of a cache: estimates can be made again


def _file(folder: Path | None) -> Path:
    return (folder or platformdirs.user_cache_path("cifarlab")) / "estimates.json"
