"""A finished run, made without training: images, logits and everything that train and judge leave of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cifarlab.evaluation import details, examples
from cifarlab.evaluation.details import Detail, Neighbour
from cifarlab.evaluation.evaluate import evaluate
from cifarlab.images.images import Images
from cifarlab.judge import write_results
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import COLUMNS, Row

NAMES = ("cat", "dog", "owl", "ship", "frog", "deer")

MakeRun = Callable[..., Run]


class Page(HTMLParser):
    """What a browser would see of a page: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[str] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if self.open[-1:] not in (["script"], ["style"]):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def metrics_row(epoch: int, loss: float | None, accuracy: float | None) -> Row:
    values: dict[str, float | None] = dict.fromkeys(COLUMNS, 1.0)
    values |= {"epoch": epoch, "step": 10 * epoch, "lr": 0.1, "images_per_second": 1000.0}
    values |= {"train/loss": 2 / epoch, "train/accuracy": 1 - 1 / (epoch + 1)}
    return {**values, "val/loss": loss, "val/accuracy": accuracy}


def make_images(names: tuple[str, ...], num_images: int, seed: int = 0) -> tuple[Images, np.ndarray]:
    """Random images, and logits that are right for about two thirds of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(names), num_images)
    pixels = random.integers(0, 256, (num_images, 3, 8, 8), dtype=np.uint8)
    logits = random.normal(size=(num_images, len(names))).astype(np.float32)
    logits[np.arange(num_images), labels] += 2
    return Images(pixels, labels, names, True, "made up"), logits


def manifest(**changes: object) -> dict[str, object]:
    data = {"original": True, "note": "made up", "num_train": 900, "num_val": 100, "skipped": 0}
    data |= {f"{split}_fingerprint": letter * 64 for split, letter in zip(("train", "val", "test"), "abc", strict=True)}
    values: dict[str, object] = {
        "cifarlab": "0.1.0",
        "started": "2026-01-31T12:30:00+00:00",
        "command": ["/x/cifarlab", "train", "simple-cnn", "--set", "name=a b"],
        "git": {"commit": "f" * 40, "changed": True},
        "seed": 7,
        "num_parameters": 12345,
        "data": data,
        "runtime": {"device_name": "a processor", "precision": "bf16", "memory_format": "channels_last"},
        "versions": {"torch": "2.11.0"},
        "status": "complete",
        "ending": "early stopping",
        "elapsed_seconds": 200.0,
        "best_epoch": 2,
        "best_val_accuracy": 0.7,
    }
    return {**values, **changes}


def finish_run(
    run: Run, names: tuple[str, ...] = NAMES, num_images: int = 300, temperature: float = 1.5, seed: int = 0
) -> None:
    """Write everything that training and the final test leave."""
    run.update_manifest(**manifest())
    losses = [1.2, 1.0, 1.3, 1.6]
    run.write_metrics([metrics_row(epoch + 1, loss, 0.5 + epoch / 10) for epoch, loss in enumerate(losses)])
    run.open_test("end of training")
    judge_made_up(run, "test", *make_images(names, num_images, seed), temperature)
    look_closer(run)


def look_closer(run: Run, num_images: int = 2) -> None:
    """Leave made-up heat maps, of which the first means something, and neighbours of some of the stored examples."""
    kept = examples.read(run.examples_file("test"))
    places = kept.in_cells(np.array(run.evaluation("test")["confusion_matrix"]))[:num_images]
    heat = np.array([[-1, 0], [1, 2]], np.float32)
    near = Neighbour(7, "", 0, 0.875, kept.png[0])
    found = [
        Detail(int(kept.indices[place]), "Grad-CAM", heat, 0.4 + 0.2 * number, 0.5, (near,) * 3)
        for number, place in enumerate(places)
    ]
    details.write(run.details_file("test"), found)


def judge_made_up(run: Run, split: str, images: Images, logits: np.ndarray, temperature: float = 1.0) -> None:
    """Leave what judging leaves, for logits that are already there."""
    rest = iter(logits)
    evaluation, logits = evaluate(
        lambda pixels: np.stack([next(rest) for _ in pixels]), images, split=split, temperature=temperature
    )
    write_results(run, split, evaluation, images, logits)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return load_recipe("simple-cnn")


@pytest.fixture
def make_run(tmp_path: Path, templates: MakeRun) -> MakeRun:
    def make(names: tuple[str, ...] = NAMES, num_images: int = 300, temperature: float = 1.5) -> Run:
        run = Run.create(tmp_path, "simple-cnn")
        made = templates(names, num_images, temperature)
        shutil.copytree(made.path, run.path, dirs_exist_ok=True)
        return run

    return make


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> MakeRun:
    """Runs to copy, each made once."""

    @cache
    def make(names: tuple[str, ...], num_images: int, temperature: float) -> Run:
        run = Run.create(tmp_path_factory.mktemp("template"), "simple-cnn")
        run.write_recipe(recipe)
        finish_run(run, names, num_images, temperature)
        return run

    return make


@pytest.fixture(name="judge_made_up", scope="session")
def judge_fixture() -> Callable[..., None]:
    return judge_made_up


@pytest.fixture(name="look_closer", scope="session")
def look_closer_fixture() -> Callable[..., None]:
    return look_closer


@pytest.fixture(name="make_images", scope="session")
def images_fixture() -> Callable[..., tuple[Images, np.ndarray]]:
    return make_images


@pytest.fixture(scope="session")
def read() -> Callable[[Path], Page]:
    return lambda path: Page(path.read_text("utf-8"))
