from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import pyarrow.parquet as pq
import pytest

from cifarlab.errors import DataError
from cifarlab.images import sample
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.sample import FINGERPRINTS, load_sample

COUNTS = {"train": [300] * 10, "test": [100, 93, 100, 100, 92, 87, 100, 100, 100, 100]}
FOLDER = resources.files("cifarlab.images") / "sample_files"


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_sample_is_what_was_recorded(split: str) -> None:
    images = load_sample(split)
    assert images.counts.tolist() == COUNTS[split]
    assert images.class_names == CIFAR10_NAMES and images.size == (32, 32) and images.original is True
    digest = hashlib.sha256("\0".join(CIFAR10_NAMES).encode())
    digest.update(repr(images.pixels.shape).encode() + images.labels.tobytes() + images.pixels.tobytes())
    assert digest.hexdigest() == FINGERPRINTS[split]


def test_the_sample_is_small_and_knows_the_official_places() -> None:
    with resources.as_file(FOLDER) as folder:
        assert sum(file.stat().st_size for file in folder.iterdir()) < 9_000_000
        index = pq.read_table(folder / "train.parquet")["index"].to_numpy()
        test_index = pq.read_table(folder / "test.parquet")["index"].to_numpy()
    assert (np.diff(index) > 0).all() and index[0] >= 0 and index[-1] < 50_000
    assert (np.diff(test_index) > 0).all() and test_index[-1] < 1_017


def test_train_and_test_share_no_image() -> None:
    train, test = ({image.tobytes() for image in load_sample(split).pixels} for split in ("train", "test"))
    assert len(train) == 3000 and not train & test


def test_a_damaged_installation_is_noticed(monkeypatch) -> None:
    monkeypatch.setitem(sample.FINGERPRINTS, "test", "0" * 64)
    with pytest.raises(DataError, match="Install cifarlab again"):
        load_sample("test")


def test_its_mean_and_std_are_the_published_ones() -> None:
    mean, std = load_sample("train").mean_and_std()
    # Means of single images deviate by up to 0.155: of 3,000 of them the standard error is 0.0028.
    assert np.allclose(mean, (0.4914, 0.4822, 0.4465), atol=0.006)
    assert np.allclose(std, (0.2470, 0.2435, 0.2616), atol=0.003)
