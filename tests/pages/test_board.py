from __future__ import annotations

import json
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from cifarlab.errors import MachineError, UsageError
from cifarlab.pages.board import board
from cifarlab.recipe.schema import RuntimeSpec
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import COLUMNS, Run
from cifarlab.training.trackers import Tracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # TensorBoard's own


def tracked(root: Path, name: str) -> Path:
    run = Run.create(root, name)
    run.write_recipe(recipe_from({"name": name, "model": {"name": "simple-cnn"}}))
    tracker = Tracker(run, [], RuntimeSpec())
    tracker.write([{**dict.fromkeys(COLUMNS, 1.0), "step": 1}])
    tracker.close()
    return run.path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def shown(address: str, wanted: set[str]) -> set[str]:
    """The runs that TensorBoard lists, once it has read as many as are wanted."""
    for _ in range(100):
        with urllib.request.urlopen(f"{address}data/runs") as answer:
            names = set(json.load(answer))
        if len(names) >= len(wanted):
            return names
        time.sleep(0.1)
    return names


def test_named_runs_are_shown_and_no_others(tmp_path: Path) -> None:
    runs = [tracked(tmp_path / "one", "same"), tracked(tmp_path / "two", "same"), tracked(tmp_path, "third")]
    tracked(tmp_path, "other")
    wanted = {"same", "same (1)", "third"}
    with board(runs, root=tmp_path, port=free_port()) as address:
        assert address.startswith("http://localhost:")
        assert shown(address, wanted) == wanted


def test_without_names_all_runs_are_shown(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tracked(tmp_path, name)
    with board([], root=tmp_path, port=free_port()) as address:
        assert shown(address, {"a", "b"}) == {"a", "b"}


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(MachineError, match=str(port)), board([], root=tmp_path, port=port):
            pass


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"), board([], root=tmp_path / "gone"):
        pass
    with pytest.raises(UsageError, match="is not a run folder"), board([tmp_path], root=tmp_path):
        pass
