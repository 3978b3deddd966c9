from __future__ import annotations

import os
from pathlib import Path

import pytest

from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.tables.shards import Tables, configurations, file_tables, split_of_file, tables
from cifarlab.images.words import split_of


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, *names: str) -> dict[str | None, list[str]]:
    """The files of each split, by their names below the root, when they are one configuration."""
    touch(root, *names)
    (group,), _ = configurations(root, split_of)
    return names_in(root, tables(root, group, (), split_of))


def names_in(root: Path, these: Tables) -> dict[str | None, list[str]]:
    return {split: [str(file.relative_to(root)) for file in files] for split, files in these.splits.items()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.parquet", "train"),
        ("Train.PARQUET", "train"),
        ("cifar10-train.parquet", "train"),
        ("cifar_10.test.parquet", "test"),
        ("valid-00000-of-00001.parquet", "val"),
        ("validation-00003-of-00010-3a4b5c6d7e8f9012.parquet", "val"),
        ("test-0.parquet", "test"),
        ("mnist_val_0001.snappy.parquet", "val"),
        ("birds.parquet", None),
        ("train-and-test.parquet", None),
        ("0000.parquet", None),
        ("part-00000-3f2504e0-4f89-11d3-9a0c-0305e82c3301-c000.snappy.parquet", None),
        ("extra-00000-of-00001.parquet", None),
    ],
)
def test_n11_the_split_that_a_name_says(name: str, split: str | None) -> None:
    assert split_of_file(Path(name), split_of) == split


def test_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"data/train-{number:05}-of-00012-{12 - number:016x}.parquet" for number in range(12)]
    assert found(tmp_path / "a", *names, "data/validation-00000-of-00001.parquet") == {
        "train": names,
        "val": ["data/validation-00000-of-00001.parquet"],
    }
    names = [f"part-{number}.parquet" for number in range(12)]
    assert found(tmp_path / "b", *reversed(names)) == {None: names}


def test_n12_as_the_hub_converts(tmp_path: Path) -> None:
    names = ["default/test/0000.parquet", "default/train/0000.parquet", "default/train/0001.parquet"]
    assert found(tmp_path, *names) == {"test": names[:1], "train": names[1:]}


def test_n12_as_the_hub_keeps(tmp_path: Path) -> None:
    """Its cache has links into a folder of contents, and names without endings there."""
    touch(tmp_path, "datasets--a--b/blobs/0a1b", "datasets--a--b/refs/main")
    link = tmp_path / "datasets--a--b/snapshots/3fa9/plain_text/train-00000-of-00001.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(tmp_path / "datasets--a--b/blobs/0a1b", link.parent))
    assert found(tmp_path) == {"train": [str(link.relative_to(tmp_path))]}


def test_n12_several_configurations_are_several_groups(tmp_path: Path) -> None:
    touch(tmp_path, "cropped/train/0000.parquet", "cropped/test/0000.parquet", "full/train-00000-of-00001.parquet")
    groups, _ = configurations(tmp_path, split_of)
    assert [[str(file.relative_to(tmp_path)) for file in group] for group in groups] == [
        ["cropped/test/0000.parquet", "cropped/train/0000.parquet"],
        ["full/train-00000-of-00001.parquet"],
    ]


@pytest.mark.parametrize("extra", ["extra-00000-of-00001.parquet", "extra/0000.parquet"])
def test_n11_what_is_not_called_after_a_split_is_left_out_by_name(extra: str, tmp_path: Path) -> None:
    others = [extra.replace("extra", split) for split in ("train", "test")]
    touch(tmp_path, extra, *others)
    (group,), _ = configurations(tmp_path, split_of)
    these = tables(tmp_path, group, (), split_of)
    assert names_in(tmp_path, these) == {"train": others[:1], "test": others[1:]}
    assert these.left_out == {"not called after a split": [tmp_path / extra]}


HASHES = ("3a4b5c6d7e8f9012", "0102030405060708")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00002.parquet"], "has 1 files like train-00000-of-00002.parquet, with the numbers 0; all 2"),
        (["train-00001-of-00002.parquet"], "the numbers 1; all 2 are needed, 0 to 1"),
        ([f"train-00000-of-00002-{HASHES[0]}.parquet"], "the numbers 0; all 2 are needed"),
        (["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"], "the numbers 0, 2; all 3 are needed"),
        (["train-00000-of-00002.parquet", "train-00002-of-00002.parquet"], "the numbers 0, 2; all 2 are needed"),
        ([f"train-00000-of-00001-{each}.parquet" for each in HASHES], "two versions of train"),
        (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], "versions"),
        (["train-00000-of-99999999999999.parquet"], "all 99999999999999 are needed"),
        (["train.parquet", "train-00000-of-00001.parquet"], "two versions of train"),
        (["train.parquet", "train.snappy.parquet"], "two versions of train"),
        (["train-0.parquet", "train-00.parquet"], "two versions of train"),
        (["train/0000.parquet", "train/0002.parquet"], "leave gaps: 0000.parquet, 0002.parquet"),
        (["train/0002.parquet"], "leave gaps: 0002.parquet"),
        (["part-2.parquet", "part-3.parquet"], "leave gaps"),
    ],
)
def test_n11_shards_that_are_not_whole(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        found(tmp_path, *names)


@pytest.mark.parametrize(
    "names",
    [
        ["learn.parquet", "check.parquet"],
        ["train.parquet", "training.parquet"] if split_of("training") else ["val.parquet", "valid.parquet"],
        ["valid-00000-of-00001.parquet", "validation-00000-of-00001.parquet"],
        ["cifar10-train.parquet", "mnist-train.parquet"],
        ["train-00000-of-00001.parquet", "train/0000.parquet"],
    ],
)
def test_n11_several_tables_for_one_split_are_ambiguous(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(AmbiguousDataError, match="several tables that could be"):
        found(tmp_path, *names)


def test_a_number_may_be_a_part_of_a_name(tmp_path: Path) -> None:
    assert found(tmp_path / "a", "cifar-10.parquet") == {None: ["cifar-10.parquet"]}
    assert found(tmp_path / "b", "a-2020-train.parquet", "a-2020-test.parquet") == {
        "train": ["a-2020-train.parquet"],
        "test": ["a-2020-test.parquet"],
    }
    names = ["train_1.parquet", "train_2.parquet"]
    assert found(tmp_path / "c", *names) == {"train": names}


def test_n12_as_spark_and_dask_write(tmp_path: Path) -> None:
    parts = [f"part-0000{number}-3f2504e0-4f89-11d3-9a0c-0305e82c3301-c000.snappy.parquet" for number in range(2)]
    names = [*(f"train.parquet/{part}" for part in parts), "test.parquet/part.0.parquet"]
    assert found(tmp_path / "a", *names, "train.parquet/_SUCCESS") == {"train": names[:2], "test": names[2:]}
    assert found(tmp_path / "test.parquet", "part.0.parquet") == {"test": ["part.0.parquet"]}
    assert found(tmp_path / "test", "part.0.parquet") == {None: ["part.0.parquet"]}


def test_hidden_folders_and_runs_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"runs/quick/{name}" for name in ("recipe.toml", "manifest.json", "predictions-test.parquet")))
    assert found(tmp_path, "train.parquet", ".cache/test.parquet", ".test.parquet") == {"train": ["train.parquet"]}


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    touch(tmp_path, "data/train.parquet")
    (tmp_path / "data/again").symlink_to(tmp_path)
    assert found(tmp_path) == {"train": ["data/train.parquet"]}


def test_folders_of_pictures_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/1.png", "train/cat/2.png", "train/dog/1.JPG", "notes/a.txt")
    assert configurations(tmp_path, split_of) == ([], 2)


def test_a_single_file_is_the_split_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "test-00000-of-00001.parquet"
    assert file_tables(path, split_of).splits == {"test": (path,)}
    assert file_tables(tmp_path / "birds.parquet", split_of).splits == {None: (tmp_path / "birds.parquet",)}
    with pytest.raises(DataError, match="is one of 2 shards"):
        file_tables(tmp_path / "train-00000-of-00002.parquet", split_of)
