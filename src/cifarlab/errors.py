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
import re
from collections.abc import Iterable, Sequence

from cifarlab.language import listed, tr, translatable

OF_THE_SYSTEM = (
    translatable("No such file or directory"),
    translatable("Permission denied"),
    translatable("Operation not permitted"),
    translatable("Is a directory"),
    translatable("Not a directory"),
    translatable("Directory not empty"),
    translatable("File exists"),
    translatable("File name too long"),
    translatable("Too many levels of symbolic links"),
    translatable("Too many open files"),
    translatable("No space left on device"),
    translatable("Disk quota exceeded"),
    translatable("Read-only file system"),
    translatable("Input/output error"),
    translatable("Cannot allocate memory"),
    translatable("Connection refused"),
    translatable("Connection reset by peer"),
    translatable("Connection timed out"),
    translatable("Network is unreachable"),
    translatable("Name or service not known"),
    translatable("Temporary failure in name resolution"),
)
"""What the operating system says of files and connections."""


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
        super().__init__(
            tr(
                "This needs the package {package}.\nInstall it with: pip install 'cifarlab[{extra}]'",
                package=package,
                extra=extra,
            )
        )


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
    if isinstance(error, OSError) and error.strerror:
        return translated(error.strerror, OF_THE_SYSTEM)
    return str(error)


def translated(text: str, messages: Sequence[str]) -> str:
    """Translate what another library says, if it is one of these messages with its {fields} filled in.

    What the fields hold is translated in the same way; a text that is none of the messages stays as it is.
    """
    for message in messages:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(message))
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return tr(message, **{name: translated(value, messages) for name, value in found.groupdict().items()})
    return text


def unknown(kind: str, found: str, known: Iterable[str], **fields: str) -> str:
    """Say that a name is unknown, and suggest the most similar known names, or list all if none is similar.

    Kinds are literals, since catalogues have a sentence for each; their {fields} are filled in.
    """
    names, message = sorted(known), unknown_message(kind)
    near = difflib.get_close_matches(found, names, n=3, cutoff=0.6)
    hint = tr("Did you mean {names}?", names=either(near)) if near else tr("Known: {names}.", names=listed(names))
    return tr("{sentence} {hint}", sentence=tr(message, name=found, **fields), hint=hint)


def unknown_message(kind: str) -> str:
    """The message by which catalogues know that a name of this kind is unknown: "Unknown recipe {name!r}."."""
    return f"Unknown {kind} {{name!r}}."


def either(items: Iterable[str]) -> str:
    """Join alternatives: "a or b"."""
    return tr(" or ").join(items)
