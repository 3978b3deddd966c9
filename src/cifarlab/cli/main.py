"""The command `cifarlab`: its subcommands, the options before them, and errors as lines and exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from cifarlab.cli import (
    ablate,
    bench,
    board,
    compare,
    completion,
    data,
    evaluate,
    explain,
    lr_find,
    models,
    predict,
    recipes,
    report,
    train,
)
from cifarlab.cli.command import OF_CLICK, Command, Group, recipe_value
from cifarlab.cli.output import echo
from cifarlab.errors import CifarlabError, PartialError, UsageError, cause, translated, unknown
from cifarlab.files import is_machine_fault
from cifarlab.language import languages, speak, speak_as_the_environment_says, tr
from cifarlab.notes import note_handler
from cifarlab.version import VERSION

app = typer.Typer(
    name="cifarlab",
    cls=Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,  # --install-completion writes into the files of the user's shell; see `completion`
    pretty_exceptions_enable=False,  # they print the values of local variables, whole arrays among them
)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "ablate": ablate.ablate,
    "lr-find": lr_find.lr_find,
    "board": board.board,
    "predict": predict.predict,
    "explain": explain.explain,
    "report": report.report,
    "models": models.models,
    "recipes": recipes.recipes,
    "completion": completion.completion,
}
# All commands are imported here, which takes 0.3 s in all, because none of them loads torch before it is called
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_command)
app.add_typer(data.app, name="data", cls=Group)
app.add_typer(bench.app, name="bench", cls=Group)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; errors become one to three lines on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # wherever it stands: people append it to the command that has just failed
    words = [word for word in words if word != "--debug"]
    completion.prepare()
    try:
        _choose_language(words)
        # standalone, click would print errors in its own way and exit with codes that mean something else here
        result = app(words or ["--help"], prog_name="cifarlab", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except CifarlabError as error:
        return _report(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _report(tr("Interrupted."), 130, debug)  # 128 + SIGINT, as shells count
    except Exception as error:
        if _reader_has_gone(error):  # as in `cifarlab recipes | head -1`, and nothing is wrong
            # Python flushes stdout once more at exit, which would fail again and print a traceback
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        # a disk or a memory that is full can show in any line, so it is told from a bug in cifarlab here, for all
        if isinstance(error, OSError) and is_machine_fault(error):
            file = error.filename or tr("A file")
            text = tr("{file} cannot be written or read: {cause}.", file=file, cause=cause(error))
            return _report(text, 5, debug)
        if _is_out_of_memory(error):
            return _report(tr("Out of memory. Try a smaller training.batch_size or image size."), 5, debug)
        show = getattr(error, "format_message", None)  # click's usage errors; typer brings a click of its own
        if callable(show) and isinstance(code := getattr(error, "exit_code", None), int):
            # no text: help was asked for by naming no command, and has been printed
            return _report(_usage_text(error, text, words), code, debug) if (text := show()) else code
        bug = tr("This is a bug in cifarlab; --debug shows where.")
        return _report(f"{type(error).__name__}: {error}\n{bug}", 1, debug)


def _choose_language(words: list[str]) -> None:
    """Speak as --lang says, which is taken out of the words wherever it stands, else as the environment says."""
    speak_as_the_environment_says()
    while place := next((n for n, word in enumerate(words, 1) if word.partition("=")[0] == "--lang"), 0):
        _, equals, name = words.pop(place - 1).partition("=")
        if not equals and place <= len(words):
            name = words.pop(place - 1)
        try:
            speak(name)
        except LookupError as error:
            raise UsageError(unknown("language", name, languages())) from error


def _usage_text(error: Exception, text: str, words: list[str]) -> str:
    """What is wrong with a command line, and where its right form stands: with the command that was meant."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "cifarlab"
    takes_values = context is not None and any("--set" in each.opts for each in context.command.params)
    option = getattr(error, "option_name", "")
    if option and takes_values and (instead := recipe_value(option, words)):
        text = tr("{option} is a value of the recipe; set it with {instead}", option=option, instead=instead)
    text = text.removesuffix(" (Possible options: --help)").replace("Value error, ", "").replace("\n\t", " ")
    return translated(text, OF_CLICK) + "\n" + tr("See: {command}", command=f"{path} --help")


def _show_version(wanted: bool) -> None:
    if wanted:
        echo(f"cifarlab {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # eager: handled before click reports a missing command
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and results only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show debugging notes, too.")] = False,
    # these two for --help only: `run` takes them out of the words, wherever they stand
    lang: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Language of everything that is shown: en or zh; unset: as CIFARLAB_LANG or LANG say.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Train, evaluate and ship classifiers of small images."""
    log = logging.getLogger("cifarlab")
    # on stderr, since stdout is for results alone; replaced, not added: tests run several commands in one process
    log.handlers = [note_handler(sys.stderr)]
    log.propagate = False  # a library that sets up the root logger would show every note twice
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    threading.excepthook = _note_failed_thread


def _note_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """Show what ended a thread, unless it is a disk that is full or failing."""
    # TensorBoard's writer passes that error on to the next call of the training thread, which reports it
    if isinstance(failed.exc_value, OSError) and is_machine_fault(failed.exc_value):
        logging.getLogger("cifarlab").debug("A thread has ended: %s", failed.exc_value)
    else:
        threading.__excepthook__(failed)


def _report(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        echo(traceback.format_exc(), err=True)
    # 8: the command has finished and its results are good, only not complete; a script decides whether that will do
    echo(tr("error: {message}", message=message) if exit_code != PartialError.exit_code else message, err=True)
    return exit_code


def _reader_has_gone(error: Exception) -> bool:
    """Whether the program that reads what is printed has ended."""
    if isinstance(error, BrokenPipeError):
        return True
    # what Windows says of a pipe; of a file it says the same for a wrong name, which the error then has
    is_invalid = isinstance(error, OSError) and error.errno == errno.EINVAL and error.filename is None
    return is_invalid and sys.platform == "win32"


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, a device or torch's CPU allocator has run out of memory."""
    # by name, because torch may not be loaded; its CPU allocator raises a plain RuntimeError
    kinds = {"MemoryError", "OutOfMemoryError"} & {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds) or "DefaultCPUAllocator" in str(error)
