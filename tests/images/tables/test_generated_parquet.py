"""Data sets in parquet that are made up: clear ones are read as they were meant, broken ones refused, wrecks either.

What a data set means is written down before it is written, so the reader has nothing to compare itself with.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images.sources import data_spec
from cifarlab.images.tables.parquet import read_parquet, recognise_parquet

EXAMPLES = max(200, settings.default.max_examples)

NAMES = ("zebra", "ant", "a b", "köter", "猫", "0", "10", "train", 'say "x"', "x,y")
"""Classes that do not look alike."""
IMAGE_NAMES = ("img", "image", "Image", "images", "jpg", "png", "of any name")
LABEL_NAMES = ("label", "labels", "Label", "fine_label", "class", "target", "cls")
FOLDERS = ("", "data/", "plain_text/", "mnist/", "a/b/")
FILES = {
    "train": ("train", "Train", "training", "cifar10-train", "x_2020.train"),
    "val": ("validation", "valid", "val", "dev", "mnist_val"),
    "test": ("test", "Testing", "my-test-set"),
}
"""Names of files without shards that say their split."""


def png(number: int) -> bytes:
    """A picture that says which it is."""
    target = io.BytesIO()
    Image.new("RGB", (28, 28), (number, 200, 7)).save(target, "PNG")
    return target.getvalue()


PICTURES = [png(number) for number in range(64)]


@dataclass(frozen=True)
class File:
    """One file before it is written: its split, pictures by number with the names of their classes, and its form."""

    name: str
    split: str
    rows: tuple[tuple[int, str], ...]
    order: tuple[str, ...]
    """The list of classes that it declares."""
    form: str
    image: str
    label: str
    storage: str
    others: tuple[str, ...]
    compression: str

    def table(self) -> pa.Table:
        columns: dict[str, object] = {
            self.image: _stored([PICTURES[number] for number, _ in self.rows], self.storage),
            self.label: self._labels(),
        }
        columns |= {name: OTHERS[name](len(self.rows)) for name in self.others}
        shuffled = sorted(columns, key=lambda name: (7 * len(name) + len(self.rows)) % 5)  # any order will do
        features = {self.image: {"_type": "Image"}}
        if self.form == "listed":
            features[self.label] = {"names": list(self.order), "_type": "ClassLabel"}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return pa.table({name: columns[name] for name in shuffled}).replace_schema_metadata(metadata)

    def _labels(self) -> pa.Array:
        names = [name for _, name in self.rows]
        if self.form == "listed":
            return pa.array([self.order.index(name) for name in names], pa.int64())
        if self.form == "numbers":
            return pa.array([int(name) for name in names], pa.uint8())
        texts = pa.array(names, pa.string())
        return texts.dictionary_encode() if self.form == "dictionary" else texts

    def write(self, root: Path, change: Callable[[pa.Table], pa.Table] = lambda table: table) -> None:
        path = root / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(change(self.table()), path, compression=self.compression, row_group_size=3)


OTHERS: dict[str, Callable[[int], object]] = {
    "index": lambda count: list(range(count)),
    "caption": lambda count: ["a picture"] * count,
    "boxes": lambda count: [[0.0, 1.0]] * count,
    "phase": lambda count: ["new"] * count,
    "label_text": lambda count: ["?"] * count,
    "info": lambda count: [{"width": 28}] * count,
}


def _stored(contents: list[bytes], storage: str) -> pa.Array:
    if storage == "struct":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.array([{"bytes": content, "path": "x.png"} for content in contents], kind)
    return pa.array(contents, {"binary": pa.binary(), "large": pa.large_binary()}[storage])


@st.composite
def data_sets(draw: st.DrawFn) -> list[File]:
    """The files of a data set that can be understood in one way."""
    splits = draw(st.sampled_from((["train"], ["train", "test"], ["train", "val", "test"], ["test"])))
    form = draw(st.sampled_from(("listed", "text", "numbers")))
    known = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=5, unique=True))
    classes = [str(number) for number in sorted(draw(st.sets(st.integers(0, 99), min_size=2, max_size=5)))]
    classes = classes if form == "numbers" else known
    image, label = draw(st.sampled_from(IMAGE_NAMES)), draw(st.sampled_from(LABEL_NAMES))
    storage, folder = draw(st.sampled_from(("struct", "binary", "large"))), draw(st.sampled_from(FOLDERS))
    style = draw(st.sampled_from(("plain", "of", "of with hash", "numbered", "folders")))
    others = tuple(draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=3, unique=True)))
    numbers = iter(draw(st.permutations(range(len(PICTURES)))))
    files = []
    for split in splits:
        num_shards = 1 if style == "plain" else draw(st.integers(1, 3))
        first = [(next(numbers), name) for name in classes]  # so that the split has every class
        for shard in range(num_shards):
            rows = (first if shard == 0 else []) + [
                (next(numbers), draw(st.sampled_from(classes))) for _ in range(draw(st.integers(1, 3)))
            ]
            files.append(
                File(
                    folder + _name(draw, style, split, shard, num_shards),
                    split,
                    tuple(rows),
                    tuple(draw(st.permutations(classes))),
                    draw(st.sampled_from(("text", "dictionary"))) if form == "text" else form,
                    *(image, label, storage, others),
                    draw(st.sampled_from(("snappy", "zstd", "none"))),
                )
            )
    return files


def _name(draw: st.DrawFn, style: str, split: str, shard: int, num_shards: int) -> str:
    if style == "plain":
        return f"{draw(st.sampled_from(FILES[split]))}.parquet"
    said = {"train": "train", "val": "validation", "test": "test"}[split]
    if style == "numbered":
        return f"{said}-{shard}.parquet"
    if style == "folders":
        return f"{said}/{shard:04}.parquet"
    end = f"-{draw(st.integers(16**8, 16**16 - 1)):016x}" if style == "of with hash" else ""
    return f"{said}-{shard:05}-of-{num_shards:05}{end}.parquet"


Meaning = dict[str, list[tuple[int, str]]]
"""Split -> pictures in order, by number, with the names of their classes."""


def meaning(files: list[File]) -> Meaning:
    found: Meaning = {}
    for file in files:
        found.setdefault(file.split, []).extend(file.rows)
    return found


def understood(root: Path) -> Meaning:
    """What the reader makes of a folder; raises DataError."""
    source = recognise_parquet(root, data_spec(root), root / "unused")
    assert source is not None
    found = {}
    for split in source.splits:
        images = read_parquet(root, split)
        names = [images.class_names[label] for label in images.labels]
        found[split] = list(zip(images.pixels[:, 0, 0, 0].tolist(), names, strict=True))
        counts = source.understanding.counts[split]
        assert counts == dict(zip(images.class_names, images.counts.tolist(), strict=True))
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("parquet") / "data"


def written(root: Path, files: list[File]) -> None:
    shutil.rmtree(root, ignore_errors=True)
    for file in files:
        file.write(root)


@settings(max_examples=EXAMPLES)
@given(files=data_sets(), extra=st.sampled_from(("", "README.md", ".cache/x.parquet", "assets/logo.png", ".git/HEAD")))
def test_clear_data_sets_are_read_as_they_were_meant(files: list[File], extra: str, root: Path) -> None:
    written(root, files)
    if extra:
        (root / extra).parent.mkdir(parents=True, exist_ok=True)
        (root / extra).write_bytes(PICTURES[0])
    assert understood(root) == meaning(files)


# Faults: each breaks a data set that was written, or says that it cannot be broken so.


def missing_shard(files: list[File], root: Path) -> bool:
    (root / files[0].name).unlink()
    return "-of-" in files[0].name and len([file for file in files if file.split == files[0].split]) > 1


def shard_twice(files: list[File], root: Path) -> bool:
    beside(files[0], f"{Path(files[0].name).stem}-0a1b2c3d.parquet").write(root)
    return "-of-" in files[0].name


def shard_of_another_generation(files: list[File], root: Path) -> bool:
    beside(files[0], f"{files[0].split}-00007-of-00009.parquet").write(root)
    return "-of-" in files[0].name


def two_tables_for_a_split(files: list[File], root: Path) -> bool:
    beside(files[0], f"other-{files[0].split}.parquet").write(root)
    return True


def two_configurations(files: list[File], root: Path) -> bool:
    replace(files[0], name=f"zz/{files[0].split}.parquet").write(root)
    return True


def cut_off(files: list[File], root: Path) -> bool:
    os.truncate(root / files[0].name, (root / files[0].name).stat().st_size // 2)
    return True


def empty_file(files: list[File], root: Path) -> bool:
    os.truncate(root / files[0].name, 0)
    return True


def pipe(files: list[File], root: Path) -> bool:
    (root / files[0].name).unlink()
    os.mkfifo(root / files[0].name)
    return True


def other_classes(files: list[File], root: Path) -> bool:
    names = {name: name for name in files[0].order} | {files[0].order[0]: "gnu"}
    order, rows = tuple(names[name] for name in files[0].order), tuple((n, names[name]) for n, name in files[0].rows)
    if files[0].form == "listed":
        replace(files[0], order=order, rows=rows).write(root)
    return files[0].form == "listed" and len(files) > 1


def class_twice(files: list[File], root: Path) -> bool:
    replace(files[0], order=(*files[0].order, files[0].order[0])).write(root)
    return files[0].form == "listed"


def label_beyond_the_list(files: list[File], root: Path) -> bool:
    files[0].write(root, with_column(files[0].label, lambda values: [99] * len(values)))
    return files[0].form == "listed"


def broken_metadata(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.replace_schema_metadata({"huggingface": "{"}))
    return True


def no_images(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.drop_columns([files[0].image]))
    return True


def two_columns_of_images(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.append_column("photo", table[files[0].image]))
    return files[0].image != "of any name"


def two_columns_of_labels(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.append_column("category", table[files[0].label]))
    return True


def missing_label(files: list[File], root: Path) -> bool:
    files[0].write(root, with_column(files[0].label, lambda values: [None, *values[1:]]))
    return len(files[0].rows) > 1


def no_labels(files: list[File], root: Path) -> bool:
    files[0].write(root, with_column(files[0].label, lambda values: [-1] * len(values)))
    return files[0].split == "train" or len(files) == 1


def fractions(files: list[File], root: Path) -> bool:
    files[0].write(root, with_column(files[0].label, lambda values: [0.5] * len(values)))
    return True


def not_an_image(files: list[File], root: Path) -> bool:
    files[0].write(root, with_column(files[0].image, lambda values: [b"no image"] * len(values)))
    return True


def meaningless_splits(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.append_column("split", pa.array(["a"] * len(table))))
    return True


def contradicting_splits(files: list[File], root: Path) -> bool:
    files[0].write(root, lambda table: table.append_column("Split", pa.array(["test"] * len(table))))
    return files[0].split == "train"


def pictures_beside_it(files: list[File], root: Path) -> bool:
    for name in ("cat", "dog"):
        (root / "photos" / name).mkdir(parents=True)
        (root / "photos" / name / "1.png").write_bytes(PICTURES[0])
    return True


def beside(file: File, name: str) -> File:
    return replace(file, name=f"{file.name.rpartition('/')[0]}/{name}".lstrip("/"))


def with_column(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.column_names.index(name), name, pa.array(change(table[name].to_pylist()))
    )


FAULTS = (
    *(missing_shard, shard_twice, shard_of_another_generation, two_tables_for_a_split, two_configurations),
    *(cut_off, empty_file, pipe, other_classes, class_twice, label_beyond_the_list, broken_metadata, no_images),
    *(two_columns_of_images, two_columns_of_labels, missing_label, no_labels, fractions, not_an_image),
    *(meaningless_splits, contradicting_splits, pictures_beside_it),
)


@settings(max_examples=EXAMPLES)
@given(files=data_sets(), fault=st.sampled_from(FAULTS))
def test_broken_data_sets_are_refused(files: list[File], fault: Callable[[list[File], Path], bool], root: Path) -> None:
    written(root, files)
    assume(fault(files, root))
    with pytest.raises(DataError):
        understood(root)


@settings(max_examples=EXAMPLES)
@given(
    files=data_sets(),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.floats(0.5, 1) | st.just(1.0),
)
def test_wrecks_are_read_right_or_refused(files: list[File], changes: list[Any], length: float, root: Path) -> None:
    """Parquet has no checksums that have to be there, so a picture or label may come out changed, but nothing else."""
    written(root, files)
    path = root / files[0].name
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    path.write_bytes(content[: int(length * len(content))])
    try:
        found = understood(root)
    except DataError:
        return
    assert found.keys() <= meaning(files).keys()
    assert np.array([len(rows) for rows in found.values()]).sum() <= len(PICTURES)
