"""TensorBoard on runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tensorboard import program

from cifarlab.errors import MachineError, UsageError
from cifarlab.runs.folder import Run


@contextmanager
def board(runs: Sequence[Path], *, root: Path, port: int | None = None) -> Iterator[str]:
    """Serve TensorBoard on some runs, or on all below `root`, while the block runs; yields its address.

    It answers on this machine only, at port 6006 or the next free one where none is asked for.
    Raises UsageError when there is nothing to show, MachineError for a port in use.
    """
    with _log_folder(runs, root) as folder:
        server = program.TensorBoard()
        wanted = ["--port", str(port)] if port is not None else []
        # without load_fast the events are read in this process, and nothing else is started
        server.configure(
            argv=["tensorboard", "--logdir", str(folder), "--host", "localhost", "--load_fast", "false", *wanted]
        )
        yield _launch(server)


def _launch(server: program.TensorBoard) -> str:
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    try:
        return str(server.launch())
    except program.TensorBoardServerException as error:
        raise MachineError(f"TensorBoard cannot start: {error}.\nChoose another port with --port.") from error


@contextmanager
def _log_folder(runs: Sequence[Path], root: Path) -> Iterator[Path]:
    """The folder of all runs, or one with a link to each that was named."""
    if not runs:
        if not root.is_dir():
            raise UsageError(f"There is no folder {root}. Name the runs to show, or the folder with --root.")
        yield root.resolve()
        return
    opened = [Run.open(path) for path in runs]
    with TemporaryDirectory(prefix="cifarlab-board-") as folder:
        for number, run in enumerate(opened):
            link = Path(folder, run.name)
            link = link.with_name(f"{run.name} ({number})") if link.exists() else link
            link.symlink_to(run.path.resolve())
        yield Path(folder)
