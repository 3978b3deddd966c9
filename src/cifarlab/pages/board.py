"""TensorBoard on runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tensorboard import program

from cifarlab.errors import MachineError, UsageError
from cifarlab.files import link_folder
from cifarlab.language import tr
from cifarlab.runs.folder import Run


@contextmanager
def board(runs: Sequence[Path], *, root: Path, port: int | None = None) -> Iterator[str]:
    """Serve TensorBoard on some runs, or on all below `root`, while the block runs; yields its address.

    Only this machine can reach it. port: unset, 6006 or the next one that is free.
    Raises UsageError when there is nothing to show, MachineError for a port in use.
    """
    with _log_folder(runs, root) as folder:
        server = program.TensorBoard()
        wanted = ["--port", str(port)] if port is not None else []
        # localhost: TensorBoard has no password, and metrics tell about private data. Without load_fast it reads the
        # events in this process instead of starting its data server, so nothing is left running after Ctrl-C.
        server.configure(
            argv=["tensorboard", "--logdir", str(folder), "--host", "localhost", "--load_fast", "false", *wanted]
        )
        logging.getLogger("tensorboard").setLevel(logging.ERROR)  # what it could warn of is raised too, and said below
        try:
            address = str(server.launch())
        except program.TensorBoardServerException as error:
            raise MachineError(
                tr("TensorBoard cannot start: {error}.\nChoose another port with --port.", error=error)
            ) from error
        yield address


@contextmanager
def _log_folder(runs: Sequence[Path], root: Path) -> Iterator[Path]:
    """The folder of all runs, or a temporary one with a link to each run that was named."""
    if not runs:
        if not root.is_dir():
            raise UsageError(
                tr("There is no folder {root}. Name the runs to show, or the folder with --root.", root=root)
            )
        yield root.resolve()
        return
    opened = [Run.open(path) for path in runs]
    # TensorBoard takes one folder and names runs after the folders in it
    with TemporaryDirectory(prefix="cifarlab-board-") as folder:
        for number, run in enumerate(opened):
            link = Path(folder, run.name)
            link = link.with_name(f"{run.name} ({number})") if link.exists() else link  # from folders of other names
            link_folder(link, run.path.resolve())
        yield Path(folder)
