from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.decode import decode
from cifarlab.images.sources import data_spec
from cifarlab.images.tables.parquet import open_parquet, read_parquet, recognise_parquet

ANIMALS = ["zebra", "ant", "moose"]


def understanding(path: Path, **options):
    """What the reader makes of a file or folder."""
    opener = open_parquet if path.is_file() else recognise_parquet
    return opener(path, data_spec(path, **options), path / "unused").understanding


def test_lossless_formats_keep_every_pixel(write, encode, picture, tmp_path: Path) -> None:
    arrays = [picture() for _ in range(6)]
    grey = picture()[:, :, 0]
    contents = [
        encode(arrays[0]),
        encode(arrays[1], "WEBP", lossless=True),
        encode(arrays[2], "BMP"),
        encode(grey),
    ]
    write(tmp_path / "train.parquet", contents, [0, 1, 1, 0], ["cat", "dog"])
    images = read_parquet(tmp_path, "train")
    expected = [*arrays[:3], np.repeat(grey[:, :, None], 3, axis=2)]
    assert np.array_equal(images.pixels, np.stack(expected).transpose(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 1, 1, 0]
    assert images.class_names == ("cat", "dog") and images.original is None


def test_transparency_and_orientation_take_the_long_way(write, encode, picture, tmp_path: Path) -> None:
    array = picture()
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    turned, clear = encode(array, exif=exif), encode(np.zeros((32, 32, 4), np.uint8))
    write(tmp_path / "train.parquet", [turned, clear], [0, 0])
    images = read_parquet(tmp_path, "train")
    assert np.array_equal(images.pixels[0].transpose(1, 2, 0), array[::-1, ::-1])
    assert (images.pixels[1] == 255).all()


def test_shards_come_in_order_from_a_subfolder(write, encode, picture, tmp_path: Path) -> None:
    arrays = [picture() for _ in range(5)]
    for number, rows in enumerate([slice(0, 2), slice(2, 4), slice(4, 5)]):
        name = f"train-{number:05}-of-00003.parquet"
        write(tmp_path / "data" / name, [encode(array) for array in arrays[rows]], [number] * len(arrays[rows]))
    write(tmp_path / "data/validation-00000-of-00001.parquet", [encode(arrays[0])], [2])
    images = read_parquet(tmp_path, "train")
    assert np.array_equal(images.pixels, np.stack(arrays).transpose(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 0, 1, 1, 2]
    assert understanding(tmp_path).splits == ("train", "val")
    assert understanding(tmp_path).counts == {"train": {"0": 2, "1": 2, "2": 1}, "val": {"0": 0, "1": 0, "2": 1}}


@pytest.mark.parametrize(("folder", "names"), [("cifar10", CIFAR10_NAMES), ("other", tuple("0123456789"))])
def test_names_without_metadata(folder: str, names: tuple[str, ...], write, encode, picture, tmp_path: Path) -> None:
    content = encode(picture())
    write(tmp_path / folder / "train.parquet", [content] * 10, [*range(10)])
    write(tmp_path / folder / "test.parquet", [content], [9])
    assert read_parquet(tmp_path / folder, "train").class_names == names


def test_jpeg_of_cifar_is_known_to_be_re_encoded(write, encode, picture, tmp_path: Path) -> None:
    jpeg, png = encode(picture(), "JPEG"), encode(picture())
    write(tmp_path / "j/train.parquet", [jpeg], [0], list(CIFAR10_NAMES))
    write(tmp_path / "p/train.parquet", [png], [0], list(CIFAR10_NAMES))
    write(tmp_path / "f/train.parquet", [jpeg], [0], label="fine_label")
    write(tmp_path / "o/train.parquet", [jpeg], [0], ["photo"])
    found = {folder: read_parquet(tmp_path / folder, "train") for folder in "jpfo"}
    assert {folder: images.original for folder, images in found.items()} == {
        "j": False,
        "p": None,
        "f": False,
        "o": None,
    }
    assert "re-encoded as JPEG" in found["j"].note


def test_n13_what_is_not_square_or_of_several_sizes_is_fitted(write, encode, picture, tmp_path: Path) -> None:
    wide = picture(30, 40)
    write(tmp_path / "s/train.parquet", [encode(wide)] * 2, [0, 0])
    write(tmp_path / "l/train.parquet", [encode(picture(96, 96))] * 2, [0, 0])
    write(tmp_path / "m/train.parquet", [encode(picture(32, 32)), encode(picture(40, 48))], [0, 0])
    assert {name: read_parquet(tmp_path / name, "train").size for name in "slm"} == {
        "s": (32, 32),
        "l": (64, 64),
        "m": (32, 32),
    }
    wanted = data_spec("", image_size=48, fit="pad")
    assert all(read_parquet(tmp_path / name, "train", wanted).size == (48, 48) for name in "slm")
    images = read_parquet(tmp_path / "s", "train", wanted)
    assert np.array_equal(images.pixels[1], decode(encode(wide), (48, 48), "pad"))


def test_images_that_cannot_be_decoded(write, encode, picture, tmp_path: Path) -> None:
    good = [encode(picture(48, 48)) for _ in range(2)]
    cut = encode(picture(48, 48), "JPEG")[:-200]
    write(tmp_path / "train.parquet", [b"no picture", good[0], None, cut, good[1]], [0, 1, 2, 3, 4])
    with pytest.raises(DataError, match=r"train\.parquet row 0: not an image.*\n.*--skip-bad"):
        read_parquet(tmp_path, "train")
    images = read_parquet(tmp_path, "train", data_spec("", skip_bad=True))
    assert images.labels.tolist() == [1, 4] and images.size == (48, 48) and images.num_classes == 5
    assert [text.split(":")[0] for text in images.skipped] == [f"train.parquet row {row}" for row in (0, 2, 3)]


@pytest.mark.parametrize(("label", "found"), [(2, "row 1 has the label 2; there are 2 classes"), (-2, "label -2")])
def test_d14_label_out_of_range(label: int, found: str, write, encode, picture, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture())] * 2, [0, label], ["a", "b"])
    with pytest.raises(DataError, match=found):
        read_parquet(tmp_path, "train")


def test_files_that_are_not_as_they_should_be(write, encode, picture, tmp_path: Path) -> None:
    content = encode(picture())
    write(tmp_path / "empty/train.parquet", [content, content], [0, None])
    (tmp_path / "column").mkdir()
    pq.write_table(pa.table({"img": ["text"], "label": [0]}), tmp_path / "column/train.parquet")
    write(tmp_path / "names/train.parquet", [content], [0], names="abc")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/train.parquet").write_text("no parquet")
    cases = {
        "empty": r"row 1 has no label \(it is empty or -1\), and 1 of train in all",
        "column": "must hold encoded images .*its type is string",
        "names": "not a list of strings",
        "text": "Cannot read",
    }
    for folder, message in cases.items():
        with pytest.raises(DataError, match=message):
            read_parquet(tmp_path / folder, "train")


def test_d04_truncated_parquet(write, encode, picture, tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [encode(picture())] * 3, [0, 1, 2], ["a", "b", "c"])
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 64).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="Cannot read"):
            read_parquet(tmp_path, "train")


def test_n03_classes_are_matched_by_name(write, encode, picture, tmp_path: Path) -> None:
    contents = [encode(picture()) for _ in range(3)]
    write(tmp_path / "train.parquet", contents, [0, 1, 2], ANIMALS)
    write(tmp_path / "test.parquet", contents, [0, 1, 2], ["ant", "moose", "zebra"])
    train, test = (read_parquet(tmp_path, split) for split in ("train", "test"))
    assert train.class_names == test.class_names == tuple(ANIMALS), "the order is that of train"
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [1, 2, 0])
    write(tmp_path / "test.parquet", contents, [0, 1, 2], ["ant", "moose", "gnu"])
    with pytest.raises(DataError, match=r"different classes.\n.*zebra, ant, moose.\n.*ant, moose, gnu"):
        recognise_parquet(tmp_path, data_spec(tmp_path), tmp_path)


def test_n03_labels_as_text(write, encode, picture, tmp_path: Path) -> None:
    contents = [encode(picture()) for _ in range(3)]
    write(tmp_path / "train.parquet", contents, ANIMALS)
    write(tmp_path / "test.parquet", contents[:2], ["moose", "ant"])
    images = read_parquet(tmp_path, "test")
    assert images.class_names == ("ant", "moose", "zebra") and images.labels.tolist() == [1, 0]


def test_n09_a_column_of_splits_divides_a_file(write, encode, picture, tmp_path: Path) -> None:
    arrays = [picture() for _ in range(4)]
    splits = ["train", "test", "TRAIN ", "validation"]
    path = write(tmp_path / "all.parquet", [*map(encode, arrays)], [0, 1, 1, 0], ["a", "b"], Split=splits)
    assert understanding(path).splits == ("train", "val", "test")
    assert read_parquet(path, "train").labels.tolist() == [0, 1]
    test = read_parquet(path, "test")
    assert test.labels.tolist() == [1] and np.array_equal(test.pixels[0].transpose(1, 2, 0), arrays[1])
    assert understanding(path, columns="split=").counts == {"train": {"a": 2, "b": 2}}


def test_n09_a_column_of_splits_that_does_not_fit(write, encode, picture, tmp_path: Path) -> None:
    contents = [encode(picture())] * 2
    path = write(tmp_path / "all.parquet", contents, [0, 1], split=["train", "fold 3"])
    with pytest.raises(DataError, match=r"row 1 has 'fold 3' in the column split.*\n.*--columns split="):
        understanding(path)
    path = write(tmp_path / "train.parquet", contents, [0, 1], split=["train", "test"])
    with pytest.raises(AmbiguousDataError, match="called after train, but its column split says test"):
        understanding(path)
    assert understanding(path, columns="split=").splits == ("train",)


def test_n12_folders_called_after_a_configuration(write, encode, picture, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"mnist/{split}-00000-of-00001.parquet", [encode(picture())] * 2, [0, 1], ["a", "b"])
    (tmp_path / "README.md").write_text("# MNIST")
    assert understanding(tmp_path).splits == ("train", "test")
    write(tmp_path / "fashion/train-00000-of-00001.parquet", [encode(picture())] * 2, [0, 1], ["a", "b"])
    with pytest.raises(AmbiguousDataError, match=r"holds 2 data sets.\n.*/fashion \(1 file\), .*/mnist \(2 files\)"):
        understanding(tmp_path)
    assert understanding(tmp_path / "fashion").splits == ("train",)


def test_n12_a_table_that_names_no_split_is_train(write, encode, picture, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"part-{number}.parquet", [encode(picture())], [number])
    found = understanding(tmp_path)
    assert found.splits == ("train",) and found.rule == "No file is called after a split, so all of it is train."


def test_n12_tables_without_images_are_left_out(write, encode, picture, tmp_path: Path) -> None:
    write(tmp_path / "data/train.parquet", [encode(picture())], [0])
    pq.write_table(pa.table({"file": ["a"]}), tmp_path / "metadata.parquet")
    assert understanding(tmp_path).left_out == {"without images": ["metadata.parquet"]}


def test_n12_pictures_beside_tables(write, encode, picture, tmp_path: Path) -> None:
    """A picture of the README changes nothing; folders of pictures are another data set."""
    write(tmp_path / "data/train.parquet", [encode(picture())], [0])
    for name in ("assets/logo.png", "photos/1.png"):
        (tmp_path / name).parent.mkdir()
        assert understanding(tmp_path).splits == ("train",)
        (tmp_path / name).write_bytes(encode(picture()))
    with pytest.raises(AmbiguousDataError, match=r"folders of pictures and also pictures in parquet \(.*/data\)"):
        understanding(tmp_path)
    pq.write_table(pa.table({"file": ["a"]}), tmp_path / "data/train.parquet")
    assert recognise_parquet(tmp_path, data_spec(tmp_path), tmp_path) is None, "a list beside folders of pictures"


def test_n18_a_test_split_without_labels_is_left_out(write, encode, picture, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture())] * 2, [0, 1], ["a", "b"])
    write(tmp_path / "test.parquet", [encode(picture())] * 2, [-1, -1], ["a", "b"])
    found = understanding(tmp_path)
    assert found.splits == ("train",) and found.left_out == {"without labels": ["test"]}


def test_n18_labels_in_train_alone(write, encode, picture, tmp_path: Path) -> None:
    for name, label in {"train": "kind", "test": "id"}.items():
        write(tmp_path / f"{name}.parquet", [encode(picture())] * 2, [0, 1], label=label)
    with pytest.raises(DataError, match=r"train\.parquet has no column of labels\. It has: img .*, kind \(int64\)"):
        understanding(tmp_path)
    with pytest.raises(DataError, match="no column of labels called 'sort'"):
        understanding(tmp_path, columns="label=sort")
    assert understanding(tmp_path, columns="label=kind").left_out == {"without labels": ["test"]}


def test_n67_a_split_without_rows_is_left_out(write, encode, picture, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture())] * 2, [0, 1], ["a", "b"])
    write(tmp_path / "val.parquet", [], [], ["a", "b"])
    assert understanding(tmp_path).left_out == {"empty": ["val"]}
    write(tmp_path / "train.parquet", [], [], ["a", "b"])
    with pytest.raises(DataError, match=r"train\.parquet: no row has a label"):
        understanding(tmp_path)


def test_n67_class_names_that_are_not_text(write, encode, picture, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture())] * 2, [0, 1], ["\ud800", "b"])
    images = read_parquet(tmp_path, "train")
    assert images.class_names == ("\\ud800", "b") and len(images.fingerprint) == 64


def test_pictures_that_lie_elsewhere(write, tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array([{"bytes": None, "path": "cat/1.png"}], kind), "label": [0]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"row 0: the file holds only the path of this image, cat/1.png"):
        read_parquet(tmp_path, "train")


def test_n11_splits_under_unusual_names(write, encode, picture, tmp_path: Path) -> None:
    for number, name in enumerate(("learn", "check", "train")):
        write(tmp_path / f"{name}.parquet", [encode(picture())] * 2, [number] * 2, ["a", "b", "c"])
    found = understanding(tmp_path, split_names="train=learn,test=check.parquet")
    assert found.counts == {"train": {"a": 2, "b": 0, "c": 0}, "test": {"a": 0, "b": 2, "c": 0}}
    assert found.left_out == {"not called after a split": ["train.parquet"]}
    with pytest.raises(DataError, match=r"says that val is 'chek', but .* has no such file or folder"):
        understanding(tmp_path, split_names="val=chek")


def test_n23_names_for_numbers(write, encode, picture, tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [encode(picture())] * 2, [2, 0])
    found = understanding(path, class_names="a,b,c")
    assert found.numbered and found.counts == {"train": {"a": 1, "b": 0, "c": 1}}
    assert read_parquet(path, "train", data_spec("", class_names="a,b,c")).labels.tolist() == [2, 0]
    write(path, [encode(picture())], [0], ["a", "b"])
    assert not understanding(path).numbered
    with pytest.raises(DataError, match="names its classes itself: a, b"):
        understanding(path, class_names="a,b")
