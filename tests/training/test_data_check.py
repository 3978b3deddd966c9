"""What a training says of its data, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images.source import Source
from cifarlab.judge import judge
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run
from cifarlab.training.train import train

RNG = np.random.default_rng(0)


def draw(path: Path, pixels: np.ndarray | None = None) -> np.ndarray:
    pixels = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8) if pixels is None else pixels
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def folder(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        split, class_name = name.split("_")
        for number in range(count):
            draw(root / split / class_name / f"{number:02}.png")
    return root


def on(recipe: Recipe, data: Path, *changes: str) -> Recipe:
    return recipe.set(f"data.source={data}", "training.epochs=1", "training.batch_size=20", *changes)


def kinds(facts: dict) -> list[str]:
    return [warning["kind"] for warning in facts["warnings"]]


def test_n16_what_is_questionable_is_said_and_stored(
    tiny: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = folder(tmp_path / "pets", train_cat=20, train_dog=20, test_cat=5, test_dog=5)
    same = draw(data / "train" / "cat" / "a.png")
    draw(data / "train" / "dog" / "b.png", same)
    draw(data / "test" / "cat" / "c.png", same)
    run = train(on(tiny, data, "evaluation.test=true"), out=tmp_path)
    facts = run.manifest["data"]
    assert kinds(facts) == ["two labels", "copies across splits", "small validation"]
    assert facts["test_compared"] is True
    labels, copies, _ = facts["warnings"]
    assert labels["names"] == ["train/cat/a.png (cat) = train/dog/b.png (dog)"]
    assert copies["names"] == ["test/cat/c.png = train/cat/a.png"]
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # once each, although two of them are found again when the test split is opened
    assert [said.count(f"Warning: {warning['text']}") for warning in facts["warnings"]] == [1] * 3


def test_n16_the_test_split_is_looked_at_after_it_was_opened(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(source: Source, split: str):
        ledgers = list(tmp_path.glob("*/test-ledger.jsonl"))
        loads.append((split, len(ledgers)))
        return original(source, split)

    loads, original = list[tuple[str, int]](), Source.load
    data = folder(tmp_path / "pets", train_cat=20, train_dog=20, test_cat=5, test_dog=5)
    monkeypatch.setattr(Source, "load", load)
    run = train(on(tiny, data, "evaluation.test=true"), out=tmp_path)
    assert loads == [("train", 0), ("test", 0)]  # read once: accepted, written down, evaluated, looked at
    assert len(run.test_openings) == 1
    sealed = train(on(tiny, data), out=tmp_path)
    assert [split for split, _ in loads[2:]] == ["train"] and sealed.manifest["data"]["test_compared"] is False


def test_n16_strict_refuses_before_anything_is_trained(tiny: Recipe, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets", train_cat=20, train_dog=20, test_cat=5, test_dog=5)
    with pytest.raises(DataError, match=r"chosen by 4 validation images.*\nNothing was trained") as caught:
        train(on(tiny, data, "data.strict=true"), out=tmp_path / "runs")
    assert caught.value.exit_code == 3 and not list((tmp_path / "runs").glob("*"))
    assert len(train(on(tiny, data, "data.strict=true", "validation.size=0"), out=tmp_path / "runs").metrics) == 1


def test_n16_strict_refuses_copies_of_test_images_when_the_run_is_complete(tiny: Recipe, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets", train_cat=20, train_dog=20, test_cat=5, test_dog=5)
    draw(data / "test" / "cat" / "c.png", draw(data / "train" / "cat" / "a.png"))
    recipe = on(tiny, data, "data.strict=true", "validation.size=0", "evaluation.test=true")
    with pytest.raises(DataError, match=r"1 of 11 test images is also in train.*\nThe run is complete, in ") as caught:
        train(recipe, out=tmp_path)
    assert caught.value.exit_code == 3
    [path] = tmp_path.glob("*/manifest.json")
    assert '"status": "complete"' in path.read_text()


def test_n17_what_is_said_of_classes_does_not_depend_on_what_was_held_out(tiny: Recipe, tmp_path: Path) -> None:
    data = folder(tmp_path / "pets", train_ok=40, train_defect=10, test_ok=5, test_defect=5)
    run = train(on(tiny, data), out=tmp_path)
    assert kinds(run.manifest["data"]) == ["imbalance", "small validation"]
    assert "ok has 40 training images, defect 10" in run.manifest["data"]["warnings"][0]["text"]
    assert "class_weights = balanced" in run.manifest["data"]["warnings"][0]["text"]
    balanced = train(on(tiny, data, "training.class_weights=balanced"), out=tmp_path)
    assert "class_weights" not in balanced.manifest["data"]["warnings"][0]["text"]


def test_n05_n19_a_run_inside_its_data_is_never_data_and_finds_it_from_anywhere(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder(tmp_path / "pets", train_cat=20, train_dog=20, test_cat=5, test_dog=5)
    monkeypatch.chdir(data)
    first = train(on(tiny, Path(), "evaluation.test=true"))
    draw(first.figures / "made_later.png")
    second = train(on(tiny, Path()))
    assert [run.path for run in (first, second)] == [Path("runs/simple-cnn"), Path("runs/simple-cnn-2")]
    assert first.manifest["data"]["train_fingerprint"] == second.manifest["data"]["train_fingerprint"]
    understanding = second.manifest["data"]["understanding"]
    assert understanding["counts"]["train"] == {"cat": 20, "dog": 20}
    assert understanding["left_out"]["written by cifarlab"]["first"] == ["runs/simple-cnn"]
    for name in ("cat", "dog"):  # a validation split that comes later is not that of the run
        draw(data / "val" / name / "1.png")
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        judge(Run(data / "runs" / "simple-cnn"), split)
