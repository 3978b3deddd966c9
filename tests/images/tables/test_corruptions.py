from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import DataError, UsageError
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.sources import data_spec, load_images, open_source
from cifarlab.images.tables import corruptions

random = np.random.default_rng(0)
FOG, SNOW = (random.integers(0, 256, (10, 32, 32, 3), np.uint8) for _ in range(2))
Y = np.array([0, 3] * 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in {"fog": FOG, "snow": SNOW, "labels": Y}.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def test_n23_one_corruption_is_a_test_split(folder: Path) -> None:
    source = open_source(data_spec(folder / "fog.npy"))
    assert source.kind == "corruptions" and source.splits == ("test",)
    images = source.load("test")
    assert np.array_equal(images.pixels, FOG.transpose(0, 3, 1, 2)) and images.labels.tolist() == [0, 1] * 5
    assert images.class_names == ("0", "3")
    with pytest.raises(UsageError, match="has no train split"):
        source.load("train")


def test_n23_the_folder_is_all_corruptions(folder: Path) -> None:
    images = open_source(data_spec(folder, class_names="a,b,c,d")).load("test")
    assert np.array_equal(images.pixels, np.concatenate([FOG, SNOW]).transpose(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 3] * 10 and images.class_names == ("a", "b", "c", "d")


def test_n23_the_labels_of_cifar10_are_known(folder: Path, monkeypatch) -> None:
    digest = corruptions.hashlib.sha256(bytes([0, 1])).hexdigest()
    monkeypatch.setattr(corruptions, "TEST_LABELS", digest)
    np.save(folder / "labels.npy", np.array([0, 1] * 5))
    assert open_source(data_spec(folder)).load("test").class_names == CIFAR10_NAMES


def test_n23_the_constant_is_that_of_the_published_labels(real_data: Path) -> None:
    labels = load_images("cifar10", "test", data_dir=real_data).labels.astype(np.uint8)
    assert corruptions.hashlib.sha256(labels.tobytes()).hexdigest() == corruptions.TEST_LABELS


def test_n23_an_array_without_labels(folder: Path) -> None:
    for name in ("labels.npy", "fog.npy"):
        with pytest.raises(DataError, match="is an array alone, without labels"):
            open_source(data_spec(folder / name))
        (folder / "labels.npy").unlink(missing_ok=True)


def test_d15_arrays_of_another_length(folder: Path) -> None:
    np.save(folder / "snow.npy", SNOW[:9])
    with pytest.raises(DataError, match=r"snow\.npy has the shape \(9, 32, 32, 3\), but labels\.npy has 10 labels"):
        open_source(data_spec(folder))
