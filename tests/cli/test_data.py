"""The command data, with data sets that lie in memory."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cifarlab.cli.data import app
from cifarlab.console import log
from cifarlab.errors import DataError
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.recipe.schema import DataSpec

RNG = np.random.default_rng(1)
TRAIN = Images(
    RNG.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
    np.arange(20, dtype=np.int64) % 2,
    ("cat", "dog"),
    False,
)
CLEAN = Images(RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8), np.arange(4) % 2, ("cat", "dog"))
LEAKY = TRAIN.subset(np.array([0, 1, 2]))


@pytest.fixture
def sources(monkeypatch):
    """Stand in for the sources: cifar10 is there, `leaky` has test images of train."""
    module = ModuleType("cifarlab.images.sources")
    asked = []

    def open_source(spec, data_dir=None):
        def read(split):
            asked.append((spec.source, split, data_dir, spec.skip_bad))
            return TRAIN if split == "train" else LEAKY if spec.source == "leaky" else CLEAN

        return Source(Path("/data") / spec.source, Understanding("folder", "", ("train", "test")), read)

    module.data_spec = lambda source, **options: DataSpec(source=source, **options)
    module.open_source = open_source
    module.find = lambda spec, data_dir=None: open_source(spec, data_dir) if spec.source == "cifar10" else None
    monkeypatch.setitem(sys.modules, "cifarlab.images.sources", module)
    return asked


@pytest.fixture
def notes(caplog):
    log.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger=log.name)
    yield caplog
    log.removeHandler(caplog.handler)


def call(*words: str):
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_list_says_what_is_here_and_how_to_get_the_rest(sources):
    text = call("list").stdout
    assert "/data/cifar10" in text and "cifarlab data fetch cifar100" in text and "fetch cifar10\n" not in text
    assert json.loads(call("list", "--json").stdout) == {
        "cifar10": "/data/cifar10",
        "cifar100": None,
        "sample": None,
    }
    assert sources == []


def test_fetch(sources):
    assert (
        call("fetch", "cifar10", "--data-dir", "/d").stdout
        == "cifar10: 20 train images of 2 classes in /data/cifar10\n"
    )
    assert sources == [("cifar10", "train", Path("/d"), False)]


def test_verify(sources, notes):
    result = call("verify", "cifar10", "--strict", "--skip-bad")
    assert result.exit_code == 0 and "train/test 0" in result.stdout and "re-encoded" in result.stdout
    assert sources == [("cifar10", "train", None, True), ("cifar10", "test", None, True)] and notes.text == ""
    card = json.loads(call("verify", "cifar10", "--json").stdout)
    assert card["splits"]["train"]["fingerprint"] == TRAIN.fingerprint


def test_d23_leaks_are_a_warning_and_an_error_when_strict(sources, notes):
    result = call("verify", "leaky")
    assert result.exit_code == 0 and "3 of 3 test images are also in train" in notes.text
    with pytest.raises(DataError, match="3 of 3 test images are also in train") as caught:
        call("verify", "leaky", "--strict")
    assert caught.value.exit_code == 3


def test_n16_every_warning_has_its_kind_and_names_in_json(sources):
    [warning] = json.loads(call("verify", "leaky", "--json").stdout)["warnings"]
    assert warning["kind"] == "copies across splits" and warning["counts"]["images"] == 3
    assert warning["names"] == ["test row 0 = train row 0", "test row 1 = train row 1", "test row 2 = train row 2"]


PHOTOS = Understanding(
    "folder",
    "The folders are the classes; train and test are drawn from them.",
    ("train", "test"),
    {"train": {"cat": 10, "dog": 10}, "test": {"cat": 2, "dog": 2}},
    {
        "hidden": [".DS_Store"],
        "not pictures": [f"{number}.txt" for number in range(12)],
        "folders without pictures": ["owl"],
    },
    {"source": "/data/photos", "layout": "classes"},
    own_split=True,
)


@pytest.fixture
def photos(sources, monkeypatch):
    module = sys.modules["cifarlab.images.sources"]
    found = Source(Path("/data/photos"), PHOTOS, lambda split: TRAIN if split == "train" else CLEAN)
    monkeypatch.setattr(module, "open_source", lambda spec, data_dir=None: found)


def test_show_prints_the_tree_as_it_was_understood(photos, notes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = call("show", "photos").stdout.splitlines()
    assert lines[:2] == ["photos: folder, train + test", PHOTOS.rule]
    assert lines[3:6] == ["class  train  test", "cat       10     2", "dog       10     2"]
    assert lines[7:11] == [
        "left out:",
        "  hidden: 1 (.DS_Store)",
        "  not pictures: 12 (12 .txt)",
        "  folders without pictures: 1 (owl)",
    ]
    assert lines[12].startswith("split") and "examples: drawn with --out FILE.png" in lines
    assert not list(tmp_path.iterdir()), "nothing is left in the folder that one works in"
    assert [line for line in lines if line.startswith("class ")] == [lines[3]], "the classes stand there once"
    assert "Left out: folders without pictures: 1 (owl)." in notes.text


def test_n24_what_is_left_out_is_a_warning_and_strict_refuses_it(photos, notes):
    call("verify", "photos")
    assert "owl" in notes.text and "DS_Store" not in notes.text
    with pytest.raises(DataError, match=r"folders without pictures: 1 \(owl\)"):
        call("verify", "photos", "--strict")


def test_show_as_json_has_the_understanding(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = json.loads(call("show", "photos", "--json").stdout)
    assert card["understanding"]["left_out"]["not pictures"] == {
        "count": 12,
        "first": ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"],
    }
    assert card["understanding"]["counts"]["test"] == {"cat": 2, "dog": 2}
    assert (card["examples"], card["warnings"][0]["kind"]) == (None, "left out")


def test_show_draws_examples(sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("show", "some/where/cifar10", "--per-class", "3", "--out", "other/picture.png")
    assert result.exit_code == 0 and "examples: other/picture.png" in result.stdout
    with Image.open("other/picture.png") as picture:
        assert picture.format == "PNG" and picture.width > 3 * 96 and picture.height > 2 * 96
