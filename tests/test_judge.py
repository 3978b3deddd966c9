from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cifarlab import judge as module
from cifarlab.errors import CheckpointError, DataError, RunInUseError, UsageError
from cifarlab.evaluation import predictions
from cifarlab.evaluation.evaluate import Evaluation
from cifarlab.images import sources
from cifarlab.images.holdout import hold_out
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.judge import judge, result_name
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import DataSpec, ModelSpec, RuntimeSpec, ValidationSpec
from cifarlab.recipe.toml import recipe_from
from cifarlab.runs.folder import Run

NAMES = ("cat", "dog", "owl")


class Mean(nn.Module):
    """Logits from the mean colour."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(images.mean((2, 3)))
        return logits


def images(seed: int, num_images: int = 30, names: tuple[str, ...] = NAMES, skipped: tuple[str, ...] = ()) -> Images:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (num_images, 3, 8, 8), dtype=np.uint8)
    return Images(pixels, random.integers(0, len(names), num_images), names, True, "made up", skipped)


class Shelf:
    """Stands in for the sources: images by source and split, and what was asked of it."""

    def __init__(self) -> None:
        self.images = {"home": {"train": images(0, 100), "test": images(1)}, "/data/new test!": {"test": images(2)}}
        self.asked: list[tuple[str, str]] = []
        self.unsplit: set[str] = set()

    def open_source(self, spec: DataSpec, data_dir: Path | None = None) -> Source:
        def read(split: str) -> Images:
            self.asked.append((spec.source, split))
            return self.images[spec.source][split]

        own_split = spec.source in self.unsplit
        understanding = Understanding("folder", "", tuple(self.images[spec.source]), own_split=own_split)
        return Source(Path(spec.source), understanding, read)

    def load_train_and_val(self, source: Source, validation: ValidationSpec) -> tuple[Images, Images | None]:
        train = source.load("train")
        if validation.size == 0:
            return train, None
        rest, held = hold_out(train.labels, validation.size, validation.seed)
        return train.subset(rest), train.subset(held)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    found = Shelf()
    for name in ("open_source", "load_train_and_val"):
        monkeypatch.setattr(module, name, getattr(found, name))
    monkeypatch.setitem(MODELS, "mean", Model(lambda spec, num_classes, size: Mean(num_classes), source="here"))
    return found


@pytest.fixture
def run(tmp_path: Path, shelf: Shelf) -> Run:
    run = Run.create(tmp_path, "r")
    values = {"name": "r", "model": {"name": "mean"}, "data": {"source": "home"}}
    run.write_recipe(recipe_from(values))
    train, val = shelf.images["home"]["train"], None
    rest, held = hold_out(train.labels, 0.1, 0)
    train, val = train.subset(rest), train.subset(held)
    run.update_manifest(data={"train_fingerprint": train.fingerprint, "val_fingerprint": val.fingerprint})
    torch.manual_seed(0)
    facts = untrained_card(ModelSpec(name="mean"), NAMES, 8).model_copy(update={"temperature": 2.0})
    save_model(run.model_file, Mean(3).state_dict(), facts)
    return run


@pytest.fixture
def classifier(run: Run) -> Classifier:
    return Classifier.load(
        run.model_file, runtime=choose_runtime(RuntimeSpec(device="cpu", precision="fp32", threads=1))
    )


def test_everything_is_left_in_the_run_folder(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    found = judge(run, "test", tta="mirror", reason="end of training", classifier=classifier)
    home = shelf.images["home"]["test"]
    logits = classifier.logits(home.pixels)
    assert found.accuracy == np.mean(logits.argmax(axis=1) == home.labels)
    assert found.temperature == 2.0 and found.tta == "mirror"
    stored = run.evaluation("test")
    assert stored is not None and Evaluation.from_dict(stored) == found
    assert all(path.is_file() for path in run.result_files("test"))
    assert np.array_equal(predictions.read(run.predictions_file("test")).logits, logits)
    with (run.path / "confusion-test.csv").open() as file:
        assert sum(int(cell) for row in list(csv.reader(file))[1:] for cell in row[1:]) == 30
    with Image.open(run.figures / "confusion_matrix.png") as figure:
        assert figure.size[0] > 400
    assert not list(run.path.glob(".tmp*"))


def test_opening_test_is_written_down_before_the_classifier_sees_it(
    run: Run, classifier: Classifier, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(pixels: np.ndarray) -> np.ndarray:
        seen.append(len(run.test_openings))
        return predict(pixels)

    seen, predict = list[int](), classifier.logits
    monkeypatch.setattr(classifier, "logits", logits)
    caplog.set_level("INFO", "cifarlab")
    for _ in range(2):
        judge(run, "test", reason="curiosity", classifier=classifier)
    assert seen == [1, 2]
    assert [entry["reason"] for entry in run.test_openings] == ["curiosity", "curiosity"]
    assert "test split opened for the 2nd time" in caplog.text


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_splits_never_touch_test(run: Run, shelf: Shelf, classifier: Classifier, split: str) -> None:
    found = judge(run, split, reason="look", classifier=classifier)
    assert found.num_images == {"train": 90, "val": 10}[split]
    assert shelf.asked == [("home", "train")] and run.test_openings == []
    assert (run.figures / f"confusion_matrix-{split}.png").is_file()
    assert run.evaluation("test") is None


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_d22_images_that_changed_are_refused(run: Run, shelf: Shelf, classifier: Classifier, split: str) -> None:
    judge(run, split, reason="look", classifier=classifier)
    part = "test" if split == "test" else "train"
    shelf.images["home"][part] = images(9, len(shelf.images["home"][part]))
    with pytest.raises(DataError, match=f"The {split} images are not those"):
        judge(run, split, reason="look", classifier=classifier)


def test_n19_data_that_is_gone_is_named_as_given_and_where_it_was(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_source", sources.open_source)
    run.write_recipe(override(run.recipe, "data.source", "pics"))
    settled = {"source": str(tmp_path / "pics")}
    run.update_data_facts(understanding={"settled": settled})
    with pytest.raises(DataError) as caught:
        module.open_own_source(run, None)
    assert str(caught.value).splitlines() == [
        f"There is no data at {tmp_path / 'pics'}, where {run.path} found pics.",
        "Put it back there; a symbolic link will do.",
    ]


def test_n58_judging_holds_the_run(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    with run.locked(), pytest.raises(RunInUseError):
        judge(run, "test", classifier=classifier)
    assert run.test_openings == []


def test_n62_images_that_changed_are_not_an_opening(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    judge(run, "test", reason="first", classifier=classifier)
    shelf.images["home"]["test"] = images(9)
    with pytest.raises(DataError, match="The test images are not those"):
        judge(run, "test", reason="second", classifier=classifier)
    assert [entry["reason"] for entry in run.test_openings] == ["first"]


def test_the_first_look_at_test_keeps_the_other_facts(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    before = run.manifest["data"]
    judge(run, "test", reason="look", classifier=classifier)
    assert run.manifest["data"] == {**before, "test_fingerprint": shelf.images["home"]["test"].fingerprint}


def test_other_images_get_names_of_their_own(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    source = "/data/new test!"
    judge(run, "test", reason="shift", classifier=classifier, source=source)
    assert result_name("test", source) == "test-new_test_"
    assert all(path.is_file() for path in run.result_files("test-new_test_"))
    assert run.evaluation("test") is None and "test_fingerprint" not in run.manifest["data"]
    assert [(entry["reason"], entry["source"]) for entry in run.test_openings] == [("shift", source)]


def test_n18_all_images_of_a_folder_without_splits_are_evaluated(
    run: Run, shelf: Shelf, classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cifarlab")
    shelf.images["new"], shelf.unsplit = {"train": images(3, 40), "test": images(4, 10)}, {"new"}
    for split in (None, "test"):
        found = judge(run, split, reason="shift", classifier=classifier, source="new")
        assert (found.split, found.num_images, found.num_skipped) == ("all", 50, 0)
    together = np.concatenate([shelf.images["new"][split].pixels for split in ("train", "test")])
    stored = predictions.read(run.predictions_file("all-new"))
    assert np.array_equal(stored.logits, classifier.logits(together))
    assert "new has no splits: evaluating all of its images, 50" in caplog.text
    assert "new opened for the 2nd time" in caplog.text


def test_n18_other_images_with_splits_are_their_test_split_unless_another_is_named(
    run: Run, shelf: Shelf, classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cifarlab")
    shelf.images["new"] = {"train": images(3, 40), "val": images(5, 8), "test": images(4, 10)}
    assert judge(run, reason="shift", classifier=classifier, source="new").num_images == 10
    assert "new has train, val, test: evaluating test" in caplog.text
    assert judge(run, "val", reason="shift", classifier=classifier, source="new").num_images == 8
    del shelf.images["new"]["test"], shelf.images["new"]["val"]
    assert judge(run, reason="shift", classifier=classifier, source="new").split == "train"
    assert [entry["source"] for entry in run.test_openings] == ["new"]
    with pytest.raises(UsageError, match="has no test split"):
        judge(run, "test", reason="shift", classifier=classifier, source="new")


def test_n18_the_images_of_the_run_are_not_other_images(
    run: Run, shelf: Shelf, classifier: Classifier, tmp_path: Path
) -> None:
    home = tmp_path / "pets"
    home.mkdir()
    shelf.images[str(home)], shelf.unsplit = shelf.images["home"], {str(home)}
    run.write_recipe(override(run.recipe, "data.source", str(home)))
    with pytest.raises(UsageError, match=r"was trained on.*\nLeave --data out"):
        judge(run, reason="shift", classifier=classifier, source=str(home))


def test_n18_an_opening_is_what_was_evaluated(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    shelf.images["fox"] = {"train": images(0, names=("cat", "fox")), "test": images(1, names=("cat", "fox"))}
    for unsplit in (set[str](), {"fox"}):
        shelf.unsplit = unsplit
        with pytest.raises(DataError, match="classes of these images are not those"):
            judge(run, reason="look", classifier=classifier, source="fox")
    assert run.test_openings == []


def test_n18_openings_of_other_images_are_counted_for_themselves(run: Run, shelf: Shelf) -> None:
    sources = [None, "new", "new", None]
    assert [run.open_test("look", source) for source in sources] == [1, 1, 2, 2]
    assert [entry.get("source") for entry in run.test_openings] == sources


def test_n03_other_images_with_the_classes_in_another_order(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    """Their labels are matched by name: the same images give the same numbers, whatever numbers their classes have."""
    same = shelf.images["/data/new test!"]["test"]
    expected = judge(run, "test", classifier=classifier, source="/data/new test!")
    order = ("owl", "cat", "dog")
    labels = np.array([order.index(NAMES[label]) for label in same.labels])
    shelf.images["/data/new test!"]["test"] = Images(same.pixels, labels, order)
    found = judge(run, "test", classifier=classifier, source="/data/new test!")
    assert (found.class_names, found.confusion_matrix) == (NAMES, expected.confusion_matrix)


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "dog", "yak")])
def test_k06_other_classes_are_refused_and_both_are_shown(
    run: Run, shelf: Shelf, classifier: Classifier, names: tuple[str, ...]
) -> None:
    shelf.images["other"] = {"test": images(0, names=names)}
    with pytest.raises(DataError, match=rf"3 \(cat, dog, owl\).*{len(names)} \({', '.join(names)}\)"):
        judge(run, "test", reason="look", classifier=classifier, source="other")
    assert not list(run.path.glob("evaluation-*"))


def test_n18_a_test_split_without_labels_is_said_before_training() -> None:
    understanding = Understanding("parquet", "", ("train",), left_out={"without labels": ["test"]})
    source = Source(Path("data"), understanding, lambda split: images(0))
    with pytest.raises(DataError, match=r"It has: train; its test split is without labels\.\n.*--no-test"):
        source.require_test()
    Source(Path("data"), Understanding("parquet", "", ("train", "test")), lambda split: images(0)).require_test()


def test_a_source_without_test_is_refused_before_the_ledger_says_otherwise(
    run: Run, shelf: Shelf, classifier: Classifier
) -> None:
    del shelf.images["home"]["test"]
    with pytest.raises(DataError, match=r"home has no test split. It has: train"):
        judge(run, "test", reason="look", classifier=classifier)
    assert run.test_openings == []


def test_a_run_without_validation_has_no_val(run: Run, classifier: Classifier) -> None:
    run.write_recipe(override(run.recipe, "validation.size", "0"))
    with pytest.raises(UsageError, match="no validation split"):
        judge(run, "val", reason="look", classifier=classifier)


def test_unknown_split(run: Run) -> None:
    with pytest.raises(UsageError, match=r"'tets'. Allowed: train, val, test"):
        judge(run, "tets", reason="look")


def test_a_run_without_a_model(run: Run, shelf: Shelf) -> None:
    run.model_file.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        judge(run, "test", reason="look")
    assert run.test_openings == []


def test_d18_images_that_were_left_out_are_counted_and_listed(run: Run, shelf: Shelf, classifier: Classifier) -> None:
    shelf.images["home"]["test"] = images(1, skipped=("a.png: empty (0 bytes)",))
    found = judge(run, "test", reason="look", classifier=classifier)
    assert found.num_skipped == 1
    [line] = (run.path / "bad-test.jsonl").read_text().splitlines()
    assert json.loads(line) == {"image": "a.png: empty (0 bytes)"}


@pytest.mark.parametrize(("count", "word"), [(1, "1st"), (3, "3rd"), (11, "11th"), (22, "22nd")])
def test_openings_are_counted_in_words(
    run: Run, classifier: Classifier, caplog: pytest.LogCaptureFixture, count: int, word: str
) -> None:
    caplog.set_level("INFO", "cifarlab")
    for _ in range(count - 1):
        run.open_test("before")
    judge(run, "test", reason="look", classifier=classifier)
    assert f"opened for the {word} time" in caplog.text
