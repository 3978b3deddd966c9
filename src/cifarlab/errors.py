"""Every error that a user can cause, with the exit code of the command that raises it.

CifarlabError                 1   the base class; raised by itself, a fault in cifarlab
├── UsageError                2   a wrong option or argument
│   └── RecipeError           2   an unknown, malformed or contradictory recipe
├── DataError                 3   data missing, damaged or not what it claims to be
│   └── AmbiguousDataError    3   data that can be read in more than one way
├── CheckpointError           4   a checkpoint, model file or run folder that cannot be read
├── MachineError              5   disk, memory, device
│   ├── MissingExtraError     5   an optional package that is not installed
│   ├── NoKernelsError        5   CPU kernels that cannot be used here
│   └── OtherMachineError     5   a run that would continue with other bits here
├── DivergedError             6   the loss is no longer a finite number
├── RunInUseError             7   another process writes to the run folder
├── PartialError              8   finished, but the listed parts failed
└── InterruptedRunError     130   SIGINT (143 after SIGTERM); the last state is saved

A message has one to three lines: what is wrong, what was found, what is allowed, what to do, what was kept. Only
OtherMachineError has more, one for each difference.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CifarlabError(Exception):
    """An error whose message is written for the person at the keyboard."""

    exit_code = 1  # as Python exits after an exception that nothing caught


class UsageError(CifarlabError):
    """A command was called with an option or argument that it cannot use."""

    exit_code = 2  # the code that typer, like most Unix tools, uses for wrong options


class RecipeError(UsageError):
    """A recipe is unknown, malformed or contradicts itself."""


class DataError(CifarlabError):
    """Data is missing, damaged or not what it claims to be."""

    exit_code = 3


class AmbiguousDataError(DataError):
    """Data can be read in more than one way; the message names each and the option that decides between them."""


class CheckpointError(CifarlabError):
    """A checkpoint, model file or run folder cannot be read."""

    exit_code = 4


class MachineError(CifarlabError):
    """The machine lacks something that is needed: disk space, memory, a device."""

    exit_code = 5


class MissingExtraError(MachineError):
    """An optional package is needed here but is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"This needs the package {package}.\nInstall it with: pip install 'cifarlab[{extra}]'")


class NoKernelsError(MachineError):
    """The CPU kernels cannot be compiled on this machine, now or later: no compiler, or one that rejects them."""

    def __init__(self, message: str, english: str = "") -> None:
        super().__init__(message)
        self.english = english or message  # for the manifest, which is the same in every language


class OtherMachineError(MachineError):
    """A run was to be resumed where device, instructions, kernels or torch differ from those that it was trained on."""


class DivergedError(CifarlabError):
    """Training reached a loss that is not finite."""

    exit_code = 6


class RunInUseError(CifarlabError):
    """Another process is writing to this run folder."""

    exit_code = 7


class PartialError(CifarlabError):
    """The work finished, but some parts failed and are listed."""

    exit_code = 8


class InterruptedRunError(CifarlabError):
    """A signal stopped the run after its state was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # as shells report a process that a signal ended


def cause(error: Exception) -> str:
    """Say what went wrong, without the path, which the message around it already names."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def unknown(kind: str, found: str, known: Iterable[str]) -> str:
    """Say that a name is unknown, and suggest the most similar known names, or list all if none is similar."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names)}."
    return f"Unknown {kind} {found!r}. {hint}"
