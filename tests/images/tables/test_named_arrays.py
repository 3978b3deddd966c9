from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.source import Source
from cifarlab.images.sources import data_spec, open_source

X = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
Y = np.array([0, 1, 1, 0])


def opened(path: Path, **options) -> Source:
    return open_source(data_spec(path, **options))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.npz"


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("training-data", "training-targets", "testing-data", "testing-targets"),
        ("X", "y", "X_test", "y_test"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_n23_names_of_keras_medmnist_and_others(names: tuple[str, ...], save, path: Path) -> None:
    save(path, **dict(zip(names, (X, Y[:, None], X[:2], Y[:2]), strict=True)))
    source = opened(path)
    assert source.kind == "npz" and source.splits == ("train", "test")
    train, test = source.load("train"), source.load("test")
    assert np.array_equal(train.pixels[:, 0], X) and train.labels.tolist() == [0, 1, 1, 0]
    assert np.array_equal(test.pixels[:, 2], X[:2]) and test.class_names == ("0", "1")


def test_n23_images_and_labels_alone_are_train(path: Path) -> None:
    np.savez(path, images=X, labels=np.array(["cat", "dog", "dog", "cat"]))
    source = opened(path)
    assert source.splits == ("train",) and source.load("train").class_names == ("cat", "dog")
    assert not source.understanding.numbered


def test_n23_what_is_not_used_is_said(path: Path) -> None:
    np.savez(path, x_train=X, y_train=Y, x_test=X, y_val=Y, ids=Y, x_train_clean=X, X=X)
    found = opened(path).understanding
    assert found.splits == ("train",)
    assert found.left_out == {
        "not called after images or labels": ["ids"],
        "of another data set by their names": ["x_train_clean"],
        "not called after a split": ["X"],
        "without images": ["y_val"],
        "without labels": ["test"],
    }


def test_n23_class_names(path: Path) -> None:
    np.savez(path, x_train=X, y_train=Y)
    assert opened(path, class_names="frog,truck").load("train").class_names == ("frog", "truck")
    with pytest.raises(DataError, match=r"has 1 names, but .* has the label 1"):
        opened(path, class_names="frog")


def test_n23_several_arrays_for_one_role(path: Path) -> None:
    np.savez(path, x_train=X, train_images=X, y_train=Y)
    with pytest.raises(AmbiguousDataError, match=r"several arrays for the images of train: x_train, train_images"):
        opened(path)


def test_n23_no_array_is_called_like_images(path: Path) -> None:
    np.savez(path, X, Y)
    with pytest.raises(
        DataError, match=r"no images by the names of its arrays.*\n.*arr_0 uint8 \(4, 28, 28\), arr_1 int64 \(4,\)"
    ):
        opened(path)
    np.savez(path)
    with pytest.raises(DataError, match=r"It has: no arrays\."):
        opened(path)


def test_n23_splits_under_unusual_names(path: Path) -> None:
    np.savez(path, x_learn=X, y_learn=Y, x_test=X, y_test=Y)
    assert opened(path, split_names="train=learn").splits == ("train", "test")


def test_n23_a_folder_of_npy_files(tmp_path: Path) -> None:
    for name, array in {"x_train": X, "y_train": Y, "x_test": X[:1], "y_test": Y[:1]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    source = opened(tmp_path)
    assert source.kind == "npy" and source.splits == ("train", "test")
    assert np.array_equal(source.load("test").pixels[:, 0], X[:1])


def test_n23_a_folder_with_an_npz_file(path: Path, tmp_path: Path) -> None:
    np.savez(path, x_train=X, y_train=Y)
    (tmp_path / "README.md").touch()
    assert opened(tmp_path).path == path
    np.savez(tmp_path / "b.npz", x_train=X, y_train=Y)
    with pytest.raises(AmbiguousDataError, match=r"holds 2 \.npz files\.\nGive the path of one: .*a\.npz, .*b\.npz"):
        opened(tmp_path)
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        Image.fromarray(X[0]).save(tmp_path / split / "cat" / f"{split}.png")
    assert opened(tmp_path).kind == "folder", "pictures in folders are the data set, whatever lies beside them"


def test_n23_arrays_of_several_data_sets(tmp_path: Path) -> None:
    """As CIFAR-10.1 comes: two versions, each with images and labels."""
    for version in ("v4", "v6"):
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", X[: int(version[1]) - 2])
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", Y[: int(version[1]) - 2])
    with pytest.raises(AmbiguousDataError, match=r"2 data sets: cifar10\.1_v4_data, cifar10\.1_v6_data"):
        opened(tmp_path)
    for file in ("cifar10.1_v4_data.npy", "cifar10.1_v4_labels.npy"):
        assert opened(tmp_path / file).understanding.counts == {"train": {"0": 1, "1": 1}}


class Canary:
    def __reduce__(self):
        return Path.touch, (CANARY,)


CANARY = Path("/nonexistent")


def test_d08_nothing_is_unpickled(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "CANARY", tmp_path / "canary")
    array = np.array([Canary()], dtype=object)
    np.savez(path, x_train=X, y_train=array)
    with pytest.raises(DataError, match="holds Python objects"):
        opened(path)
    path.write_bytes(pickle.dumps(array))  # np.load would unpickle this, too
    with pytest.raises(DataError, match="Cannot read"):
        opened(path)
    path.unlink()
    np.save(tmp_path / "x_train.npy", array, allow_pickle=True)
    np.save(tmp_path / "y_train.npy", Y)
    with pytest.raises(DataError, match="holds Python objects"):
        opened(tmp_path)
    assert not CANARY.exists()
    pickle.loads(pickle.dumps(array))
    assert CANARY.exists(), "else this would prove nothing"


def test_d04_truncated_npz(path: Path) -> None:
    np.savez(path, x_train=X, y_train=Y)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 64).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="Cannot read"):
            opened(path)


def test_a_bit_that_flipped_is_found(path: Path) -> None:
    np.savez_compressed(path, x_train=X, y_train=Y)
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 200).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 16
        path.write_bytes(damaged)
        try:
            images = opened(path).load("train")
        except DataError:
            continue
        assert np.array_equal(images.pixels[:, 0], X) and images.labels.tolist() == Y.tolist()


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (header("'|u1'", "(4, 100000000, 1000)"), "which do not fit into"),
        (header("'|u1'", "(4, 28, 29)"), "its header says 3,248 bytes of values, and it has 3,136"),
        (header("'|u1'", "(-4, -28, 28)"), "neither images nor labels|Cannot read"),
        (header("'|V4'", "(4, 28, 28)"), "neither images nor labels"),
        (header("[('a', '|u1')]", "(4, 28, 28)"), "neither images nor labels"),
        (header("'|u0'", "(4, 28, 28)"), "Cannot read"),
        (header("__import__('os')", "(4, 28, 28)"), "Cannot read"),
        (header("'|u1'", "4" + "0" * 5000), "Cannot read"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000, "Cannot read"),
        (b"\x93NUMPY\x03\x00" + b"\0" * 100, "version"),
        (b"", "Cannot read"),
    ],
)
def test_d09_headers_that_lie(start: bytes, message: str, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", start + X.tobytes())
        buffer = io.BytesIO()
        np.save(buffer, Y)
        archive.writestr("y_train.npy", buffer.getvalue())
    with pytest.raises(DataError, match=message):
        opened(path).load("train")


def test_d13_an_array_that_comes_twice(path: Path) -> None:
    np.savez(path, x_train=X, y_train=Y)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x_train.npy", b"")
    with pytest.raises(DataError, match="comes twice"):
        opened(path)
