"""The command `cifarlab`: one small module per subcommand, and what all of them share."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from typing import Annotated

import typer

from cifarlab.cli import (
    ablate,
    bench,
    board,
    compare,
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
from cifarlab.cli.output import NoteFormatter, Once, echo
from cifarlab.errors import CifarlabError
from cifarlab.files import is_machine_fault
from cifarlab.version import VERSION

app = typer.Typer(
    name="cifarlab",
    help="Train, judge and ship classifiers of small images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("ablate")(ablate.ablate)
app.command("lr-find")(lr_find.lr_find)
app.command("board")(board.board)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("report")(report.report)
app.command("models")(models.models)
app.command("recipes")(recipes.recipes)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; errors become one to three lines on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    try:
        result = app([word for word in words if word != "--debug"] or ["--help"], standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except CifarlabError as error:
        return _report(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _report("Interrupted.", 130, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        return 0
    except Exception as error:
        if isinstance(error, OSError) and is_machine_fault(error):
            return _report(f"{error.filename or 'A file'} cannot be written or read: {error.strerror}.", 5, debug)
        if _is_out_of_memory(error):
            return _report("Out of memory. Try a smaller training.batch_size or image size.", 5, debug)
        return _unexpected(error, debug)


def _show_version(wanted: bool) -> None:
    if wanted:
        echo(f"cifarlab {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and results only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Train, judge and ship classifiers of small images."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(NoteFormatter("%(message)s"))
    handler.addFilter(Once())
    log = logging.getLogger("cifarlab")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    threading.excepthook = _note_failed_thread


def _note_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands a full disk on to whoever writes next, who says so; any other failure is shown."""
    if isinstance(failed.exc_value, OSError) and is_machine_fault(failed.exc_value):
        logging.getLogger("cifarlab").debug("A thread has ended: %s", failed.exc_value)
    else:
        threading.__excepthook__(failed)


def _report(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        echo(traceback.format_exc(), err=True)
    echo(f"error: {message}" if exit_code != 8 else message, err=True)
    return exit_code


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, a device or torch's CPU allocator has run out; torch may not be loaded, so names have to do."""
    kinds = {"MemoryError", "OutOfMemoryError"} & {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds) or "DefaultCPUAllocator" in str(error)


def _unexpected(error: Exception, debug: bool) -> int:
    """A fault of ours, or of the words: click tells its own usage errors apart by an exit code."""
    code = getattr(error, "exit_code", None)
    show = getattr(error, "format_message", None)
    if isinstance(code, int) and callable(show):
        return _report(f"{show()}\nSee: cifarlab --help", code, debug)
    return _report(f"{type(error).__name__}: {error}\nThis is a fault of cifarlab; --debug shows where.", 1, debug)
