"""Which images get a closer look, and that maps and neighbours are those of the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cifarlab import judge as judging
from cifarlab.errors import DataError, RecipeError
from cifarlab.evaluation import details, examples
from cifarlab.explanation import details as module
from cifarlab.explanation.details import NEIGHBOURS, features, write_details
from cifarlab.explanation.grad_cam import grad_cam
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier, inference_runtime
from cifarlab.inference.model_file import untrained_card
from cifarlab.models.taps import stages
from cifarlab.recipe.override import override
from cifarlab.recipe.schema import ModelSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run

NAMES = ("dark", "bright")


class Colours(nn.Module):
    """A head on the mean colours, so that images of like colours are neighbours; dark or bright."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.head = head
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(3)[:, :, None, None])
            if isinstance(head, nn.Linear | nn.Conv2d):
                head.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]).reshape(head.weight.shape))

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        if isinstance(self.head, nn.Conv2d):
            return self.head(maps).mean((2, 3))
        return self.head(maps.mean((2, 3)))


def classifier_with(head: nn.Module) -> Classifier:
    card = untrained_card(ModelSpec(name="simple-cnn"), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Classifier(Colours(head), card, inference_runtime("cpu"), batch_size=7)


def images(num_images: int = 50, seed: int = 0, *, named: bool = False) -> Images:
    random = np.random.default_rng(seed)
    pixels = random.integers(1, 256, (num_images, 3, 8, 8), dtype=np.uint8)
    pixels[:, :, :, :] = (pixels * random.uniform(0.2, 1, (num_images, 3, 1, 1))).astype(np.uint8) + 1
    names = tuple(f"{number}.png" for number in range(num_images)) if named else None
    return Images(pixels, random.integers(0, 2, num_images), NAMES, names=names)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = Run.create(tmp_path, "run")
    made.write_recipe(override(load_recipe("simple-cnn"), "runtime.device", "cpu"))
    made.update_manifest(data={})
    monkeypatch.setattr(judging, "open_source", lambda *_: None)
    monkeypatch.setattr(judging, "load_train_and_val", lambda *_: (images(seed=1, named=True), None))
    return made


def judged(run: Run, classifier: Classifier) -> Images:
    """Leave what judging the test split leaves."""
    test = images()
    evaluation, logits = judging.evaluate(classifier.logits, test, split="test")
    judging.write_results(run, "test", evaluation, test, logits)
    return test


@pytest.mark.parametrize("head", [nn.Linear(3, 2), nn.Conv2d(3, 2, 1)])
def test_features_are_what_the_head_sees_at_length_one(head: nn.Module) -> None:
    pixels = images().pixels
    wanted = pixels.mean(axis=(2, 3)) / 255
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    classifier = classifier_with(head)
    np.testing.assert_allclose(features(classifier, pixels), wanted, rtol=1e-4)
    assert not head._forward_pre_hooks


def test_neighbours_are_the_training_images_with_the_most_similar_features(run: Run) -> None:
    classifier = classifier_with(nn.Linear(3, 2))
    test, train = judged(run, classifier), images(seed=1, named=True)
    found = details.read(write_details(run, classifier, {}) or Path())
    similarities = features(classifier, test.pixels) @ features(classifier, train.pixels).T
    assert len(found) == module.EXPLAINED
    for index, detail in found.items():
        wanted = np.argsort(-similarities[index])[:NEIGHBOURS]
        assert [near.index for near in detail.neighbours] == wanted.tolist()
        for near in detail.neighbours:
            assert (near.label, near.name) == (train.labels[near.index], f"{near.index}.png")
            assert near.similarity == pytest.approx(similarities[index, near.index], abs=1e-6)
            assert np.array_equal(examples.picture(near.png), train.pixels[near.index])


def test_of_many_training_images_some_of_each_class_are_searched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED", 10)
    classifier = classifier_with(nn.Linear(3, 2))
    judged(run, classifier)
    found = details.read(write_details(run, classifier, {}) or Path())
    indices = {near.index for each in found.values() for near in each.neighbours}
    assert indices <= set(examples.draw(images(seed=1).labels, 10).tolist())


def test_maps_explain_the_predicted_class_of_the_first_images_of_each_cell(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPLAINED", 6)
    classifier = classifier_with(nn.Linear(3, 2))
    test = judged(run, classifier)
    sizes = stages(classifier.model, 8)
    found = details.read(write_details(run, classifier, sizes) or Path())
    kept = examples.read(run.examples_file("test"))
    places = kept.in_cells(np.array(run.evaluation("test")["confusion_matrix"]))[:6]
    assert list(found) == kept.indices[places].tolist()
    predicted = classifier.logits(test.pixels).argmax(axis=1)
    for index, detail in found.items():
        (wanted,) = grad_cam(classifier, test.pixels[[index]], [int(predicted[index])], list(sizes)[-1])
        np.testing.assert_allclose(detail.heat, wanted.values, rtol=1e-4, atol=1e-6)
        assert 0 <= detail.deletion <= 1 and 0 <= detail.random_deletion <= 1 and detail.method == "Grad-CAM"


def test_a_run_without_a_test_has_no_details(run: Run) -> None:
    assert write_details(run, classifier_with(nn.Linear(3, 2)), {}) is None


@pytest.mark.parametrize("error", [DataError("There is no data."), RecipeError("There is no head.")])
def test_where_neighbours_cannot_be_found_a_note_says_why(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "own_images", fails)
    classifier = classifier_with(nn.Linear(3, 2))
    judged(run, classifier)
    with caplog.at_level("INFO", logger="cifarlab"):
        found = details.read(write_details(run, classifier, stages(classifier.model, 8)) or Path())
    assert str(error) in caplog.text
    assert all(each.heat.size and not each.neighbours for each in found.values())


def test_names_that_are_not_utf8_are_stored_as_escapes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    train = replace(images(seed=1), names=("\udcff.png",) * 50)
    monkeypatch.setattr(judging, "load_train_and_val", lambda *_: (train, None))
    classifier = classifier_with(nn.Linear(3, 2))
    judged(run, classifier)
    found = details.read(write_details(run, classifier, {}) or Path())
    assert {near.name for each in found.values() for near in each.neighbours} == {"\\udcff.png"}
