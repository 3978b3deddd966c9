"""Which images are kept, and that they come back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cifarlab.errors import CheckpointError
from cifarlab.evaluation import examples
from cifarlab.evaluation.calibration import probabilities
from cifarlab.evaluation.metrics import confusion_matrix
from cifarlab.images.images import Images

NUM_CLASSES = 5


def judged(num_images: int = 2000, side: int = 4) -> tuple[Images, np.ndarray]:
    random = np.random.default_rng(3)
    labels = random.integers(0, NUM_CLASSES, num_images)
    logits = random.normal(size=(num_images, NUM_CLASSES)).astype(np.float32)
    pixels = random.integers(0, 256, (num_images, 3, side, side), dtype=np.uint8)
    return Images(pixels, labels, tuple("abcde")), logits


@pytest.fixture
def kept(tmp_path: Path) -> examples.Examples:
    examples.write(tmp_path / "e.parquet", *judged(), 2.0)
    return examples.read(tmp_path / "e.parquet")


def test_images_and_what_was_said_come_back_exactly(kept: examples.Examples) -> None:
    images, logits = judged()
    everything = np.arange(len(kept))
    assert np.array_equal(kept.pixels(everything), images.pixels[kept.indices])
    assert np.array_equal(kept.labels, images.labels[kept.indices])
    assert np.array_equal(kept.predictions, logits.argmax(axis=1)[kept.indices])
    np.testing.assert_array_equal(kept.confidences, probabilities(logits, 2.0).max(axis=1)[kept.indices])
    assert np.array_equal(kept.right, kept.labels == kept.predictions)


@pytest.mark.parametrize("grouped", [False, True])
def test_n63_all_classes_have_an_equal_part_in_the_images_that_are_drawn(tmp_path: Path, grouped: bool) -> None:
    images, logits = judged()
    if grouped:  # class by class, as folders are read
        images = images.subset(np.argsort(images.labels, kind="stable"))
    examples.write(tmp_path / "e.parquet", images, logits, 1.0)
    kept = examples.read(tmp_path / "e.parquet")
    drawn = kept.sample()
    assert len(drawn) == 64 and sorted(np.bincount(kept.labels[drawn]).tolist()) == [12, 13, 13, 13, 13]
    assert sorted(kept.labels[drawn[:5]].tolist()) == list(range(NUM_CLASSES)), "classes take turns"
    for label in range(NUM_CLASSES):  # from the first image of a class to its last, in equal steps
        members = np.flatnonzero(images.labels == label)
        places = np.searchsorted(members, kept.indices[drawn][kept.labels[drawn] == label])
        steps = np.diff(places)
        assert (places[0], places[-1]) == (0, len(members) - 1) and steps.max() - steps.min() <= 1


def test_a_small_class_is_drawn_whole_and_gives_its_turns_away() -> None:
    labels = np.repeat([0, 1, 2], [2, 1, 40])
    drawn = examples.draw(labels, 12)
    assert np.bincount(labels[drawn]).tolist() == [2, 1, 9] and len(set(drawn.tolist())) == 12
    assert examples.draw(labels, 100).tolist() == list(range(43))


def test_of_every_cell_of_the_confusion_matrix_some_images_are_kept(kept: examples.Examples) -> None:
    images, logits = judged()
    matrix = confusion_matrix(logits, images.labels)
    places = kept.in_cells(matrix)
    cells = list(zip(kept.labels[places].tolist(), kept.predictions[places].tolist(), strict=True))
    wanted = min(examples.IN_CELLS, int(np.minimum(matrix, examples.PER_CELL).sum()))
    assert len(places) == wanted == len(set(places.tolist()))
    biggest = [divmod(int(cell), NUM_CLASSES) for cell in np.argsort(-matrix, axis=None, kind="stable")]
    assert cells[: NUM_CLASSES**2] == biggest, "one of each first, beginning with the largest cell"
    confidences = probabilities(logits, 2.0).max(axis=1)
    predictions = logits.argmax(axis=1)
    for label, prediction in biggest:
        members = np.flatnonzero((images.labels == label) & (predictions == prediction))
        ranked = members[np.argsort(confidences[members] if label == prediction else -confidences[members])]
        found = [int(kept.indices[p]) for p, cell in zip(places, cells, strict=True) if cell == (label, prediction)]
        assert found == ranked[: len(found)].tolist() and len(found) >= min(len(members), 20)


def test_n63_a_class_that_has_no_more_images_gives_its_turn_away() -> None:
    assert examples.in_turns(np.array([0, 0, 0, 1, 2, 2])).tolist() == [0, 3, 4, 1, 5, 2]
    assert examples.in_turns(np.array([], np.int64)).tolist() == []


def test_the_most_confident_mistakes_and_the_least_confident_hits_are_those_of_the_whole_split(
    kept: examples.Examples,
) -> None:
    images, logits = judged()
    confidences = probabilities(logits, 2.0).max(axis=1)
    wrong = logits.argmax(axis=1) != images.labels
    mistakes = sorted(np.flatnonzero(wrong), key=lambda index: -confidences[index])
    hits = sorted(np.flatnonzero(~wrong), key=lambda index: confidences[index])
    assert kept.indices[kept.mistakes()].tolist() == mistakes[:500]
    assert kept.indices[kept.unsure_hits()].tolist() == hits[:64]


def test_each_of_the_most_confused_pairs_has_examples(kept: examples.Examples) -> None:
    images, logits = judged()
    matrix = confusion_matrix(logits, images.labels)
    np.fill_diagonal(matrix, 0)
    for cell in np.argsort(-matrix, axis=None)[:10]:
        label, prediction = divmod(int(cell), NUM_CLASSES)
        places = kept.confused(label, prediction)
        assert len(places) == 4 and (np.diff(kept.confidences[places]) <= 0).all()
        assert set(kept.labels[places]) == {label} and set(kept.predictions[places]) == {prediction}


def test_of_large_images_fewer_are_kept_but_of_every_kind_some() -> None:
    images, logits = judged()
    confidences = probabilities(logits).max(axis=1)
    side = 224
    chosen = examples.choose(logits, images.labels, confidences, 3 * side**2)
    assert len(chosen) * 3 * side**2 < 1.3 * examples.ROOM_BYTES
    right = logits.argmax(axis=1) == images.labels
    assert set(examples.draw(images.labels, 8).tolist()) <= set(chosen.tolist())
    assert int(np.argmax(np.where(right, 0, confidences))) in chosen
    assert int(np.argmin(np.where(right, confidences, 2))) in chosen


@pytest.mark.parametrize("num_images", [1, 7])
def test_a_small_split_is_kept_whole(tmp_path: Path, num_images: int) -> None:
    images, logits = judged(num_images)
    examples.write(tmp_path / "e.parquet", images, logits, 1.0)
    found = examples.read(tmp_path / "e.parquet")
    assert found.indices.tolist() == list(range(num_images))


def table(**changes: object) -> pa.Table:
    columns = {"index": [0], "label": [1], "prediction": [1], "confidence": [0.5], "drawn": [True], "png": [b"x"]}
    columns |= changes
    return pa.table({name: values for name, values in columns.items() if values is not None})


@pytest.mark.parametrize(
    "changes", [{"png": None}, {"png": ["text"]}, {"png": [None]}, {"label": [-1]}, {"label": ["a"]}, {"index": [None]}]
)
def test_another_table_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    pq.write_table(table(**changes), tmp_path / "e.parquet")
    with pytest.raises(CheckpointError, match=r"e\.parquet"):
        examples.read(tmp_path / "e.parquet")


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and then nothing"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "e.parquet").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"e\.parquet"):
        examples.read(tmp_path / "e.parquet")


def test_a_picture_that_is_none_is_an_error(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "e.parquet")
    with pytest.raises(CheckpointError, match="cannot be decoded"):
        examples.read(tmp_path / "e.parquet").pixels(np.array([0]))
