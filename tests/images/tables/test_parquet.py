from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.tables.parquet import parquet_files, read_parquet

random = np.random.default_rng(0)


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    return random.integers(0, 256, (height, width, 3), np.uint8)


def encode(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, kind, **options)
    return target.getvalue()


def write(
    path: Path, contents: list[bytes | None], labels: list[int | None], names=None, image="img", label="label"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([content and {"bytes": content, "path": None} for content in contents], kind)
    table = pa.table({image: images, label: pa.array(labels, pa.int64())})
    if names is not None:
        features = {label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def test_lossless_formats_keep_every_pixel(tmp_path: Path) -> None:
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


def test_transparency_and_orientation_take_the_long_way(tmp_path: Path) -> None:
    array = picture()
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    turned, clear = encode(array, exif=exif), encode(np.zeros((32, 32, 4), np.uint8))
    write(tmp_path / "train.parquet", [turned, clear], [0, 0])
    images = read_parquet(tmp_path, "train")
    assert np.array_equal(images.pixels[0].transpose(1, 2, 0), array[::-1, ::-1])
    assert (images.pixels[1] == 255).all()


def test_shards_come_in_order_from_a_subfolder(tmp_path: Path) -> None:
    arrays = [picture() for _ in range(5)]
    for number, rows in enumerate([slice(0, 2), slice(2, 4), slice(4, 5)]):
        name = f"train-{number:05}-of-00003.parquet"
        write(tmp_path / "data" / name, [encode(array) for array in arrays[rows]], [number] * len(arrays[rows]))
    write(tmp_path / "data/validation-00000-of-00001.parquet", [encode(arrays[0])], [4])
    assert set(parquet_files(tmp_path)) == {"train", "val"}
    images = read_parquet(tmp_path, "train")
    assert np.array_equal(images.pixels, np.stack(arrays).transpose(0, 3, 1, 2))
    assert images.labels.tolist() == [0, 0, 1, 1, 2]
    assert images.class_names == ("0", "1", "2", "3", "4"), "labels of all splits count"


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train-00001-of-00002.parquet", [encode(picture())], [0])
    with pytest.raises(DataError, match="has 1 of the 2 files"):
        read_parquet(tmp_path, "train")


def test_a_single_file_is_the_split_of_its_name(tmp_path: Path) -> None:
    assert set(parquet_files(write(tmp_path / "test-00000-of-00001.parquet", [], []))) == {"test"}
    assert set(parquet_files(write(tmp_path / "birds.parquet", [], []))) == {"train"}
    assert parquet_files(tmp_path / "absent") == {}


@pytest.mark.parametrize(("folder", "names"), [("cifar10", CIFAR10_NAMES), ("other", tuple("0123456789"))])
def test_names_without_metadata(folder: str, names: tuple[str, ...], tmp_path: Path) -> None:
    content = encode(picture())
    write(tmp_path / folder / "train.parquet", [content] * 9, [0, 1, 2, 3, 4, 5, 6, 7, 8])
    write(tmp_path / folder / "test.parquet", [content], [9])
    assert read_parquet(tmp_path / folder, "train").class_names == names


def test_jpeg_of_cifar_is_known_to_be_re_encoded(tmp_path: Path) -> None:
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


def test_one_size_is_kept_and_larger_ones_follow_image_size(tmp_path: Path) -> None:
    write(tmp_path / "s/train.parquet", [encode(picture(28, 40))] * 2, [0, 0])
    write(tmp_path / "l/train.parquet", [encode(picture(96, 96))] * 2, [0, 0])
    assert read_parquet(tmp_path / "s", "train").size == (28, 40)
    assert read_parquet(tmp_path / "s", "train", image_size=48).size == (28, 40)
    assert read_parquet(tmp_path / "l", "train").size == (96, 96)
    assert read_parquet(tmp_path / "l", "train", image_size=48).size == (48, 48)


def test_several_sizes_need_an_image_size(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture(32, 32)), encode(picture(40, 48))], [0, 0])
    with pytest.raises(DataError, match=r"row 1 has 48 x 40 pixels; the first 32 x 32\.\nSet data\.image_size"):
        read_parquet(tmp_path, "train")
    with pytest.raises(DataError, match=r"Set data\.image_size"):
        read_parquet(tmp_path, "train", skip_bad=True)
    assert read_parquet(tmp_path, "train", image_size=36).size == (36, 36)


def test_images_that_cannot_be_decoded(tmp_path: Path) -> None:
    good = [encode(picture(48, 48)) for _ in range(2)]
    cut = encode(picture(48, 48), "JPEG")[:-200]
    write(tmp_path / "train.parquet", [b"no picture", good[0], None, cut, good[1]], [0, 1, 2, 3, 4])
    with pytest.raises(DataError, match=r"train\.parquet row 0: .*\n.*--skip-bad"):
        read_parquet(tmp_path, "train")
    images = read_parquet(tmp_path, "train", skip_bad=True)
    assert images.labels.tolist() == [1, 4] and images.size == (48, 48) and len(images.class_names) == 5
    assert [text.split(":")[0] for text in images.skipped] == [f"train.parquet row {row}" for row in (0, 2, 3)]


@pytest.mark.parametrize(("label", "found"), [(2, "row 1 has the label 2; there are 2 classes"), (-1, "label -1")])
def test_d14_label_out_of_range(label: int, found: str, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [encode(picture())] * 2, [0, label], ["a", "b"])
    with pytest.raises(DataError, match=found):
        read_parquet(tmp_path, "train")


def test_files_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    content = encode(picture())
    write(tmp_path / "empty/train.parquet", [content, content], [0, None])
    write(tmp_path / "column/train.parquet", [content], [0], image="picture")
    write(tmp_path / "names/train.parquet", [content], [0], names="abc")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/train.parquet").write_text("no parquet")
    pq.write_table(pa.table({"img": ["text"], "label": [0]}), tmp_path / "text/test.parquet")
    cases = {
        "empty": "whole number, found int64, 1 empty",
        "column": "needs a column img or image; it has picture, label",
        "names": "no list of strings",
        "text": "Cannot read",
    }
    for folder, message in cases.items():
        with pytest.raises(DataError, match=message):
            read_parquet(tmp_path / folder, "train")
    with pytest.raises(DataError, match="must be encoded bytes, found string"):
        read_parquet(tmp_path / "text/test.parquet", "test")


def test_d04_truncated_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [encode(picture())] * 3, [0, 1, 2], ["a", "b", "c"])
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 64).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="Cannot read"):
            read_parquet(tmp_path, "train")
