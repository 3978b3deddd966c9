from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.tables.columns import choose, has_images, read_labels, read_splits
from cifarlab.images.words import split_of

IMAGES = pa.array([{"bytes": b"x", "path": None}] * 2, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def save(path: Path, features: object = None, **columns: object) -> Path:
    """A file with these columns; `features` is what Hugging Face's datasets say of them."""
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features is not None else None
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("image", ["img", "Image", "images", "jpg", "photo", "of_any_name"])
@pytest.mark.parametrize("label", ["label", "Labels", "fine_label", "class", "target", "cls", "coarse_label"])
def test_n12_columns_are_known_by_type_and_name(image: str, label: str, file: Path) -> None:
    columns = choose(save(file, **{image: IMAGES, label: [0, 1], "index": [0, 1], "text": ["a", "b"]}), "")
    assert (columns.image, columns.label, columns.splits) == (image, label, ())


def test_n12_a_column_that_lists_classes_is_the_label(file: Path) -> None:
    features = {"character": {"names": ["a", "b"], "_type": "ClassLabel"}, "writer": {"dtype": "int64"}}
    columns = choose(save(file, features, image=IMAGES, character=[0, 1], writer=[5, 6]), "")
    assert (columns.label, columns.class_names) == ("character", ("a", "b"))


def test_n12_fine_labels_win_and_coarse_ones_can_be_chosen(file: Path) -> None:
    features = {"fine_label": {"names": ["a", "b"]}, "coarse_label": {"names": ["c", "d"]}}
    save(file, features, img=IMAGES, fine_label=[0, 1], coarse_label=[1, 0])
    assert choose(file, "").class_names == ("a", "b")
    assert choose(file, "label=coarse_label").class_names == ("c", "d")


def test_n12_encoded_bytes_without_a_struct(file: Path) -> None:
    assert choose(save(file, image=[b"x", b"y"], label=[0, 1]), "").image == "image"
    assert choose(save(file, image=pa.array([b"x"], pa.large_binary()), label=[0]), "").image == "image"


def test_several_candidates_are_ambiguous(file: Path) -> None:
    save(file, image=IMAGES, img=IMAGES, label=["a", "b"], target=[0, 1], Split=["train", "test"], split=["a", "b"])
    for wanted, message in {
        "label=label,split=": "several columns that could be the image: image, img.\n.*--columns image=image",
        "image=img,split=": "several columns that could be the label: label, target",
    }.items():
        with pytest.raises(AmbiguousDataError, match=message):
            choose(file, wanted)
    columns = choose(file, "image=img,label=target,split=Split")
    assert (columns.image, columns.label, columns.splits) == ("img", "target", ("Split",))


def splits_of(file: Path, wanted: str = "", **columns: list[str]) -> list[str] | None:
    save(file, image=IMAGES, label=[0, 1], **columns)
    found = read_splits(file, choose(file, wanted), split_of)
    return None if found is None else found.tolist()


def test_n09_a_column_may_say_the_split(file: Path) -> None:
    assert splits_of(file, Split=["train", "Testing"]) == ["train", "test"]
    assert splits_of(file, subset=["train", "valid"]) == ["train", "val"]
    assert splits_of(file, subset=["train", "test"], split=["training", "test"]) == ["train", "test"]
    assert splits_of(file, dataset=["pacs", "office"], phase=["new", "full"]) is None
    assert splits_of(file, "split=", split=["train", "test"]) is None
    assert splits_of(file, "split=part", part=["train", "test"]) == ["train", "test"]


@pytest.mark.parametrize(
    ("wanted", "columns", "error", "message"),
    [
        ("", {"split": ["a", "b"]}, DataError, "row 0 has 'a' in the column split"),
        ("", {"split": ["train", ""]}, DataError, "row 1 has '' in the column split"),
        ("", {"set": ["train", "b"]}, DataError, "row 1 has 'b' in the column set"),
        ("split=part", {"part": ["train", "b"]}, DataError, "row 1 has 'b' in the column part"),
        ("", {"set": ["train", "test"], "Split": ["test", "train"]}, AmbiguousDataError, "the split: set, Split"),
    ],
)
def test_n09_columns_of_splits_that_do_not_fit(wanted, columns, error, message, file: Path) -> None:
    with pytest.raises(error, match=message):
        splits_of(file, wanted, **columns)


def test_n12_a_label_under_a_usual_name(file: Path) -> None:
    assert choose(save(file, image=IMAGES, species=["a", "b"]), "").label == "species"
    assert choose(save(file, image=IMAGES, label=[0, 1], label_text=["a", "b"]), "").label == "label"


def test_one_known_name_among_many_columns_of_bytes(file: Path) -> None:
    assert choose(save(file, image=IMAGES, mask=IMAGES, label=[0, 1]), "").image == "image"
    with pytest.raises(AmbiguousDataError, match="image: left, right"):
        choose(save(file, left=IMAGES, right=IMAGES, label=[0, 1]), "")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pixels": [[1, 2], [3, 4]]}, r"pixels must hold encoded images .*, as bytes; its type is list<"),
        ({"image": ["a.png", "b.png"]}, "image must hold encoded images .* its type is string"),
        ({"images": [[b"x"], [b"y"]]}, "its type is list<.*binary>"),
        ({"a": [1, 2]}, r"has no column of encoded images\. It has: a \(int64\), label \(int64\)"),
    ],
)
def test_what_does_not_hold_images_is_said(columns: dict[str, list[object]], message: str, file: Path) -> None:
    save(file, **columns, label=[0, 1])
    with pytest.raises(DataError, match=message):
        choose(file, "")
    assert not has_images(file)


def test_columns_that_are_asked_for_and_do_not_fit(file: Path) -> None:
    save(file, image=IMAGES, label=[0, 1], tags=[["a"], ["b"]])
    with pytest.raises(DataError, match=r"has no column called 'photo'. It has: image .*, label"):
        choose(file, "image=photo")
    with pytest.raises(DataError, match="label must hold encoded images"):
        choose(file, "image=label")
    assert choose(file, "label=kind").label is None, "a test set may lack the column of labels"
    with pytest.raises(DataError, match="labels must be whole numbers or names; tags is list<"):
        choose(file, "label=tags")


def test_a_name_that_two_columns_have(file: Path) -> None:
    arrays = [IMAGES, pa.array([0, 1]), pa.array([1, 0])]
    pq.write_table(pa.Table.from_arrays(arrays, ["image", "label", "label"]), file)
    with pytest.raises(AmbiguousDataError, match="label: label, label"):
        choose(file, "")
    with pytest.raises(DataError, match="several columns called 'label'"):
        choose(file, "label=label")


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (["b", "a", None], ("a", "b"), [1, 0, -1]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b"), [1, 0, 1]),
        (pa.array(["b", "a"], pa.large_string()), ("a", "b"), [1, 0]),
        (pa.array([3, 1, 3], pa.uint8()), ("1", "3"), [1, 0, 1]),
        ([True, False], ("0", "1"), [1, 0]),
        ([2.0, 0.0], ("0", "2"), [1, 0]),
        ([float("nan"), None], (), [-1, -1]),
        ([None, None], (), [-1, -1]),
        (pa.array([], pa.int64()), (), []),
    ],
)
def test_n12_labels_of_every_type(values: object, names: tuple[str, ...], codes: list[int], file: Path) -> None:
    images = pa.array([b"x"] * len(codes), pa.binary())
    save(file, image=images, label=values)
    found = read_labels(file, choose(file, ""))
    assert (found.names, found.codes.tolist()) == (names, codes)


def test_a_file_without_labels(file: Path) -> None:
    save(file, image=IMAGES)
    assert read_labels(file, choose(file, "")).codes.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "values", [[0.5, 1.0], [float("inf"), 0.0], pa.array([2**64 - 1, 0], pa.uint64()), [1e300, 0.0]]
)
def test_numbers_that_are_not_labels(values: object, file: Path) -> None:
    save(file, image=IMAGES, label=values)
    with pytest.raises(DataError, match="labels must be whole numbers or names"):
        read_labels(file, choose(file, ""))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"\xff", "metadata cannot be read"),
        (b"[" * 100_000, "metadata cannot be read"),
        (b'{"info": {"features": {"label": {"names": "ab"}}}}', "not a list of strings"),
        (b'{"info": {"features": {"label": {"names": [1, 2]}}}}', "not a list of strings"),
    ],
)
def test_n67_metadata_that_is_damaged(metadata: bytes, message: str, file: Path) -> None:
    table = pa.table({"image": IMAGES, "label": [0, 1]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, file)
    with pytest.raises(DataError, match=message):
        choose(file, "")


@pytest.mark.parametrize("metadata", [b"null", b"[]", b'{"info": 3}', b'{"info": {"features": [1]}}', b'{"info": {}}'])
def test_metadata_that_says_nothing_of_labels(metadata: bytes, file: Path) -> None:
    table = pa.table({"image": IMAGES, "label": [0, 1]}).replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, file)
    assert choose(file, "").class_names == ()


def test_n67_a_pipe_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(DataError, match="not a regular file"):
        has_images(file)


def test_a_pointer_of_git_lfs_is_said(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(DataError, match=r"pointer of Git LFS.*\n.*git lfs pull"):
        has_images(file)


def test_d09_rows_that_a_file_cannot_hold(file: Path) -> None:
    same = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int8), pa.array([b"x"])).cast(pa.binary())
    save(file, image=same, label=np.zeros(100_000, np.int64))
    with pytest.raises(DataError, match="claims 100,000 rows in"):
        choose(file, "")


def test_names_of_columns_that_are_not_utf8(file: Path) -> None:
    save(file, image=IMAGES, label=[0, 1])
    file.write_bytes(file.read_bytes().replace(b"label", b"la\xffel"))
    with pytest.raises(DataError, match="Cannot read"):
        choose(file, "")
