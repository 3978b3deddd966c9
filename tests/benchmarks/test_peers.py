"""Other projects' scripts: what is replaced in them, what they are given, and what is read from their tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import peers
from cifarlab.errors import DataError, UsageError
from cifarlab.images.sources import load_images
from peers import PEERS, Peer, PeerRun, Replacement

TABLE = """
-----------------------------------------------------------------
|  run     |  epoch  |  val_acc  |  tta_val_acc  |  time_seconds  |
-----------------------------------------------------------------
|  warmup  |      0  |   0.1000  |               |        9.5000  |
|          |   eval  |   0.1000  |       0.1100  |       10.0000  |
-----------------------------------------------------------------
Main model parameters: 1
|       0  |      0  |   0.5000  |               |        1.0000  |
|          |      1  |   0.9300  |               |        2.0000  |
|          |   eval  |   0.9300  |       0.9400  |        2.2500  |
|       1  |   eval  |   0.9200  |       0.9350  |        2.5000  |
""".splitlines()

SCRIPT = """\
import torch
data = torch.load("cifar10/test.pt", map_location=torch.device("old"))
assert data["images"].shape[1:] == (32, 32, 3), data["images"].shape
print("|  run  |  epoch  |  val_acc  |  tta_val_acc  |  total_time_seconds  |")
for run in range(99):
    print("| %d | eval | %.4f | 0.5 | 1.5 |" % (run, len(data["classes"]) / 100))
"""

PEER = Peer(
    "project",
    "script.py",
    "0" * 40,
    "0" * 64,
    (Replacement('"old"', "'cpu'"), Replacement("range(99)", "range({runs})")),
    compiles_in_first_run=True,
)


def checkout(folder: Path, text: str = SCRIPT) -> Path:
    (folder / "project").mkdir(parents=True)
    (folder / "project" / "script.py").write_text(text, "utf-8")
    return folder


def test_a_table_gives_seconds_and_accuracies_and_the_warm_up_apart() -> None:
    warm_up, runs = peers.parse_runs(TABLE)
    assert warm_up == PeerRun(10.0, 0.1, 0.11, 9.5)
    assert runs == [PeerRun(2.25, 0.93, 0.94, 2.0), PeerRun(2.5, 0.92, 0.935, None)]


def test_the_first_run_is_the_warm_up_of_a_script_without_one() -> None:
    warm_up, runs = peers.parse_runs([TABLE[2], *TABLE[8:]], first_is_warm_up=True)
    assert warm_up == PeerRun(2.25, 0.93, 0.94, 2.0)
    assert len(runs) == 1


@pytest.mark.parametrize(("text", "found"), [("a b", 1), ("b", 0), ("a a a", 3)])
def test_a_replacement_fits_as_often_as_it_says_or_is_named(text: str, found: int) -> None:
    peer = Peer("project", "script.py", "c" * 40, "", (Replacement("a", "{runs}", 2),))
    with pytest.raises(DataError, match=rf"has changed: 'a' stands in it {found} times, not 2.*c{{12}}"):
        peers.patch(peer, text, runs=7)
    assert peers.patch(peer, "a b a", runs=7) == "7 b 7"


def test_only_a_script_with_words_for_it_is_cut_off() -> None:
    with pytest.raises(UsageError, match="cannot be cut off"):
        peers.patch(PEER, SCRIPT, runs=1, steps=3)
    peer = Peer("project", "script.py", "", "", (), (Replacement("all", "{steps}"),), prelude="import time\n")
    assert peers.patch(peer, "all", runs=1, steps=3) == "import time\n3"
    assert peers.patch(peer, "all", runs=1) == "import time\nall"


def test_a_script_runs_on_our_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "project", PEER)
    result = peers.run_peer("project", checkout(tmp_path), runs=2, data="sample", num_test=20)
    assert result.warm_up == PeerRun(1.5, 0.1, 0.5, None)
    assert result.runs == (result.warm_up,) * 2
    assert not result.as_measured


def test_our_images_in_their_format(tmp_path: Path) -> None:
    peers.write_data(tmp_path / "cifar10", "sample", num_test=20)
    values = torch.load(tmp_path / "cifar10" / "test.pt", weights_only=True)
    images = load_images("sample", "test")
    assert values["images"].dtype == torch.uint8
    assert (values["images"].permute(0, 3, 1, 2).numpy() == images.pixels[:20]).all()
    assert values["labels"].tolist() == images.labels[:20].tolist()
    assert values["classes"] == list(images.class_names)


def test_what_goes_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "project", PEER)
    with pytest.raises(UsageError, match=r"Unknown peer 'projekt'\. Did you mean project"):
        peers.run_peer("projekt", tmp_path, runs=1)
    with pytest.raises(DataError, match=r"script\.py is not there.*commit 000000000000"):
        peers.run_peer("project", tmp_path, runs=1)
    with pytest.raises(DataError, match="failed with exit code 3: it is over"):
        peers.execute("print('it is over')\nraise SystemExit(3)", tmp_path, "script.py")
    with pytest.raises(TimeoutError, match=r"script\.py was stopped"):
        peers.execute("import time\ntime.sleep(1000)", tmp_path, "script.py", 0.01)


def test_lines_that_a_script_overwrites_end_all_the_same(tmp_path: Path) -> None:
    assert peers.execute("print('mean', end='\\r')\nprint('| row |')", tmp_path, "script.py") == ["mean", "| row |"]
