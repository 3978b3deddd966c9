"""The command `data cache`: what is shown and what is removed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cifarlab.cli.data import app
from cifarlab.images import sources
from cifarlab.images.decoded import keep, list_kept
from cifarlab.images.images import Images


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    """Two splits of `a` and one of `b`, which was last used a hundred days ago and shares its pixels."""
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path)
    for source, split, value in (("a", "train", 1), ("a", "test", 2), ("b", "train", 1)):
        images = Images(np.full((2, 3, 1000, 100), value, np.uint8), np.array([0, 1]), ("x", "y"))
        keep(Path(f"/data/{source}"), split, [], "1", lambda scratch, images=images: images, tmp_path)
    then = time.time() - 100 * 86400
    os.utime(next(each.card for each in list_kept(tmp_path) if each.source == "/data/b"), (then, then))
    return tmp_path


def run(*words: str) -> list[str]:
    result = CliRunner().invoke(app, ["cache", *words])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def left(cache: Path) -> list[tuple[str, str]]:
    return [(each.source, each.split) for each in list_kept(cache)]


def test_n26_what_is_kept_is_shown(cache: Path) -> None:
    head, *rows, last = run()
    assert head.split() == ["source", "split", "images", "px", "MB", "last", "used"]
    assert [row.split()[:5] for row in rows] == [
        ["/data/a", "test", "2", "1000", "0.6"],
        ["/data/a", "train", "2", "1000", "0.6"],
        ["/data/b", "train", "2", "1000", "0.6"],
    ]
    assert last == f"3 decoded splits kept, 1.2 MB, in {cache}/decoded"
    assert len(left(cache)) == 3


@pytest.mark.parametrize(
    ("words", "rest", "freed"),
    [
        (["--clear"], [], "1.2"),
        (["/data/a", "--clear"], [("/data/b", "train")], "0.6"),
        (["--older-than", "99", "--clear"], [("/data/a", "test"), ("/data/a", "train")], "0.0"),
        (["a", "--older-than", "99", "--clear"], [("/data/a", "test"), ("/data/a", "train")], "0.0"),
        (["c", "--clear"], [("/data/a", "test"), ("/data/a", "train"), ("/data/b", "train")], "0.0"),
    ],
)
def test_n26_what_was_chosen_is_removed(cache: Path, words: list[str], rest: list[tuple[str, str]], freed: str) -> None:
    last = run(*words)[-1]
    assert left(cache) == rest
    assert last == f"{3 - len(rest)} decoded splits removed, {freed} MB freed, in {cache}/decoded"


def test_n26_as_json(cache: Path) -> None:
    [found] = json.loads("\n".join(run("b", "--json")))
    assert (found["source"], found["split"], found["num_images"], found["removed"]) == ("/data/b", "train", 2, False)
    assert json.loads("\n".join(run("b", "--json", "--clear")))[0]["removed"] is True
    assert run("b") == [f"0 decoded splits kept, 0.0 MB, in {cache}/decoded"]
