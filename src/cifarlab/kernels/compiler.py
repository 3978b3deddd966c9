"""The C++ compiler of this machine: which one, in which version, how it is run, and what its failures mean.

Failures are of two kinds. NoKernelsError is permanent, so a training goes on without kernels; a plain MachineError is
passing, and ends it: on another day the compilation would succeed, and the weights would differ.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cifarlab.errors import MachineError, NoKernelsError
from cifarlab.language import tr, translatable

COMPILERS = ("g++", "c++", "clang++")
"""The first of these on PATH is used, unless the variable CXX says which."""

TIMEOUT_SECONDS = 600  # for one compilation; the longest takes about five seconds on an idle machine

SHORTAGES = ("Killed", "out of memory", "memory exhausted", "Cannot allocate", "No space left", "Too many open files")
"""What compilers and the system say, in English, when they run out of something that may be there again later."""
# The same as numbers: full disk or quota, memory, processes, open files, and a disk that fails.
SHORTAGE_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO}

EXPLANATIONS = {
    "x86-64-v": translatable("The compiler is too old for this CPU: it takes GCC 11, clang 12 or newer."),
}
"""By what is found in the text of a failure: what it means."""


def find() -> list[str]:
    """The command of the C++ compiler, or an empty list without one. Raises NoKernelsError for an unusable CXX."""
    asked = os.environ.get("CXX", "")
    try:
        command = shlex.split(asked)  # it may hold arguments, or a second program: "ccache g++"
    except ValueError as error:
        reason = translatable("CXX={asked} cannot be read as a command ({error})")
        raise unavailable(reason, asked=asked, error=error) from error
    if not command:
        return [path for path in map(shutil.which, COMPILERS) if path is not None][:1]
    program = shutil.which(command[0])
    if program is None:  # and not another compiler instead, since this one was asked for
        raise unavailable(translatable("CXX={asked} names no program that is found"), asked=asked)
    return [str(Path(program).absolute()), *command[1:]]  # it is run in another folder


def version(compiler: Sequence[str]) -> bytes:
    """What tells this compiler from others: its place, its arguments and how it describes itself."""
    return "\n".join([os.path.realpath(compiler[0]), *compiler[1:]]).encode() + run([*compiler, "--version"])


def run(command: Sequence[str], folder: str | None = None) -> bytes:
    """Run a compiler in a folder and return what it prints. Raises one of the errors below if it fails."""
    english = {**os.environ, "LC_ALL": "C"}  # SHORTAGES and EXPLANATIONS are matched in English
    try:
        done = subprocess.run(
            command, cwd=folder, env=english, check=True, capture_output=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        reason = tr("{program} took longer than {n} seconds", program=command[0], n=TIMEOUT_SECONDS)
        raise passing_failure(reason) from error
    except subprocess.CalledProcessError as error:
        text = error.stderr.decode(errors="replace").strip() or str(error)
        # A negative code is a signal: the kernel kills a compiler that takes too much memory.
        if error.returncode < 0 or any(words in text for words in SHORTAGES):
            raise passing_failure(f"{command[0]}: {text[-300:]}") from error
        raise unavailable(translatable("{program} failed"), text, program=command[0]) from error
    return done.stdout


def unavailable(reason: str, output: str = "", **fields: object) -> NoKernelsError:
    """The error for a permanent reason, with its explanation and what a compiler said, on further lines.

    reason: a message, with its fields.
    """
    text = reason.format(**fields) + output
    meaning = next((meaning for words, meaning in EXPLANATIONS.items() if words in text), "")
    message = translatable("The CPU kernels are not there: {reason}.")
    if meaning:
        message = translatable("The CPU kernels are not there: {reason}. {meaning}")
    said = f"\n{output[:500]}" if output else ""
    lines = (say(message, reason=say(reason, **fields), meaning=say(meaning)) for say in (tr, str.format))
    return NoKernelsError(*(line + said for line in lines))


def passing_failure(reason: str) -> MachineError:
    """The error for a compilation that may succeed another time; a plain MachineError, not a NoKernelsError."""
    return MachineError(
        tr(
            "The CPU kernels could not be compiled this time: {reason}.\n"
            "Try again when the machine has memory, disk and time to spare, or do without: --set runtime.kernels=off",
            reason=reason,
        )
    )
