"""On CIFAR-10 itself: what the archive, the papers and the sample say about it, and one short training to the end.

These run where CIFARLAB_DATA names a folder with `cifar10`, which has the official batches, and are skipped and counted
elsewhere. `cifar10-jpeg`, if it is there, has the same images re-encoded: what must not pass for the originals.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cifarlab.images.archives.recognise import REORDERED
from cifarlab.images.holdout import load_train_and_val
from cifarlab.images.images import Images
from cifarlab.images.sources import load_images, open_source
from cifarlab.recipe.schema import DataSpec, ValidationSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.training.train import train

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
COPIED_STD = (0.2023, 0.1994, 0.2010)
"""The mean of the deviations within each image, which many projects take for the deviation."""


@pytest.fixture(scope="module")
def cifar10(real_data: Path) -> dict[str, Images]:
    return {split: load_images("cifar10", split, data_dir=real_data) for split in ("train", "test")}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal to noise ratio in decibels."""
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float)) ** 2)))


def test_the_data_set_is_the_published_one(cifar10: dict[str, Images]) -> None:
    for images, num in zip(cifar10.values(), (50_000, 10_000), strict=True):
        assert images.original is True
        assert len(images) == num
        assert images.size == (32, 32)
        assert images.class_names == CLASSES
        assert images.counts.tolist() == [num // 10] * 10


def test_the_order_is_the_published_one(cifar10: dict[str, Images]) -> None:
    first = {split: [CLASSES[label] for label in images.labels[:5]] for split, images in cifar10.items()}
    assert first["train"] == ["frog", "truck", "truck", "deer", "automobile"]
    assert first["test"] == ["cat", "ship", "ship", "airplane", "frog"]


def test_mean_and_deviation_are_the_published_ones(cifar10: dict[str, Images]) -> None:
    images = cifar10["train"]
    mean, std = images.mean_and_std()
    assert mean == pytest.approx(MEAN, abs=1e-4)
    assert std == pytest.approx(STD, abs=1e-4)
    assert min(abs(a - b) for a, b in zip(std, COPIED_STD, strict=True)) > 0.03


def test_the_copied_deviation_is_the_mean_within_images(cifar10: dict[str, Images]) -> None:
    within = cifar10["train"].pixels[::10].std(axis=(2, 3)).mean(axis=0) / 255
    assert within == pytest.approx(COPIED_STD, abs=5e-3)


def test_the_held_out_part_has_every_class_alike(real_data: Path) -> None:
    training, val = load_train_and_val(open_source(DataSpec(source="cifar10"), real_data), ValidationSpec(size=5000))
    assert val is not None
    assert val.counts.tolist() == [500] * 10
    assert training.counts.tolist() == [4500] * 10
    pixels = {image.tobytes() for image in training.pixels}
    assert not any(image.tobytes() in pixels for image in val.pixels)  # although CIFAR-10 holds a few images twice


def test_re_encoded_images_are_not_taken_for_the_published_ones(real_data: Path, cifar10: dict[str, Images]) -> None:
    folder = real_data / "cifar10-jpeg"
    if not folder.is_dir():
        pytest.skip("there is no cifar10-jpeg beside cifar10")
    copy, test = load_images(folder, "test"), cifar10["test"]
    assert copy.original is False
    assert np.array_equal(copy.labels, test.labels)
    assert 30 < psnr(copy.pixels, test.pixels) < 31


def write_archive(test: Images, real_data: Path, path: Path) -> Path:
    with tarfile.open(path / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(real_data / "cifar10", "cifar-10-batches-py")
    return path / "cifar-10-python.tar.gz"


def write_png_parquet(test: Images, real_data: Path, path: Path) -> Path:
    pictures = [{"bytes": to_png(image), "path": None} for image in test.pixels]
    features = {"img": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    table = pa.table({"img": pictures, "label": test.labels})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path / "test-00000-of-00001.parquet")
    return path


def write_folder(test: Images, real_data: Path, path: Path) -> Path:
    """Pictures by the thousand, in an order of their own."""
    for label, name in enumerate(CLASSES):
        (path / "test" / name).mkdir(parents=True)
        for number, image in enumerate(test.pixels[test.labels == label]):
            (path / "test" / name / f"{number:04}.png").write_bytes(to_png(image))
    return path


def to_png(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(target, "PNG", compress_level=1)
    return target.getvalue()


@pytest.mark.parametrize("write", [write_archive, write_png_parquet, write_folder])
def test_original_pixels_are_recognised_in_every_format(
    write: Callable[[Images, Path, Path], Path], real_data: Path, cifar10: dict[str, Images], tmp_path: Path
) -> None:
    images = load_images(write(cifar10["test"], real_data, tmp_path), "test")
    assert images.original is True
    assert (REORDERED in images.note) == (write is write_folder)


def test_the_bundled_sample_has_original_pixels(cifar10: dict[str, Images]) -> None:
    folder = resources.files("cifarlab.images") / "sample_files"
    for split, published in cifar10.items():
        sample = load_images("sample", split)
        with resources.as_file(folder / f"{split}.parquet") as path:
            rows = pq.read_table(path, columns=["index"])["index"].to_numpy()
        assert np.array_equal(sample.pixels, published.pixels[rows])
        assert np.array_equal(sample.labels, published.labels[rows])


def test_a_short_training_learns_and_leaves_an_honest_run(real_data: Path, tmp_path: Path) -> None:
    """A tenth of an epoch of the plainest network: far above chance, far below what is reported for it."""
    changes = [
        "data.source=cifar10",
        "training.epochs=0.1",
        "training.batch_size=64",
        "runtime.precision=fp32",
        "runtime.device=cpu",
    ]
    recipe = load_recipe("basic-cnn").set(*changes)
    threads = torch.get_num_threads()
    try:
        run = train(recipe, out=tmp_path, data_dir=real_data)
    finally:
        torch.set_num_threads(threads)
    test = run.evaluation("test")
    assert test is not None
    assert 0.2 < test["accuracy"] < 0.8
    assert [entry["reason"] for entry in run.test_openings] != []
    assert len(run.test_openings) == 1
    assert run.model_file.is_file()
    assert run.manifest["data"]["original"] is True
