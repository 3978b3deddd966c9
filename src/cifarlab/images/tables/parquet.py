"""Read parquet files with a column of encoded images and one of labels, the form of Hugging Face's data sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarlab.console import count, printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.archives.official import CIFAR10_NAMES, SIDE
from cifarlab.images.decoded import files_state
from cifarlab.images.images import Images
from cifarlab.images.pictures import Pictures, load, sample_step
from cifarlab.images.source import Source, Understanding
from cifarlab.images.tables.columns import Columns, choose, has_images, read_labels, read_splits, without_label
from cifarlab.images.tables.encoded import Column, contents, first_image, names
from cifarlab.images.tables.labels import Labels, class_counts, match, usable_splits
from cifarlab.images.tables.shards import Tables, configurations, file_tables, folder_of, tables
from cifarlab.images.words import SplitRule, split_rule
from cifarlab.language import tr, translatable
from cifarlab.recipe.schema import DataSpec
from cifarlab.recipe.section import SPLITS, listed_names, named_splits

RE_ENCODED = translatable("pixels were re-encoded as JPEG; they are not the original ones")
JPEG_START = b"\xff\xd8"


@dataclass(frozen=True)
class Table:
    """A data set in parquet, understood: the images and labels of each split, and what the labels mean."""

    path: Path
    images: Mapping[str, Sequence[Column]]
    labels: Mapping[str, NDArray[np.int64]]
    class_names: tuple[str, ...]
    is_cifar: bool
    understanding: Understanding


def recognise_parquet(path: Path, spec: DataSpec, cache_dir: Path) -> Source | None:
    """Open a folder of parquet files with images as a source; return None for a folder without any.

    Raises AmbiguousDataError when it holds several data sets.
    """
    found = find_tables(path, _split_rule(spec))
    return None if found is None else _source(path, found, spec, cache_dir)


def open_parquet(path: Path, spec: DataSpec, cache_dir: Path) -> Source:
    """Open a single parquet file as a source; it is decoded once, then memory-mapped from `cache_dir`."""
    return _source(path, file_tables(path, _split_rule(spec)), spec, cache_dir)


def read_parquet(path: Path, split: str, spec: DataSpec | None = None, cache_dir: Path | None = None) -> Images:
    """Read and decode one split of a file or folder; raises what `read_table` raises."""
    spec = spec or DataSpec()
    find = file_tables if path.is_file() else find_tables
    found = find(path, _split_rule(spec))
    if found is None:
        raise DataError(tr("{path} holds no parquet files with images.", path=path))
    return read_table(understand(path, found, spec), split, spec, cache_dir)


def find_tables(path: Path, split_of: SplitRule) -> Tables | None:
    """Find the parquet files of a folder that belong together; return None if it has none, or pictures instead.

    Raises AmbiguousDataError for several data sets, and for folders of pictures beside one.
    """
    groups, num_picture_folders = configurations(path, split_of)
    # Tables without images (captions, statistics) are common beside those with them. Without any table of images the
    # first group goes on, to be refused with a message about its columns, unless the folder holds pictures instead.
    with_images = [group for group in groups if any(map(has_images, group))]
    if not groups or (num_picture_folders and not with_images):
        return None
    if with_images and num_picture_folders > 1:  # one folder may be the pictures of a README
        raise AmbiguousDataError(
            tr(
                "{path} holds folders of pictures and also pictures in parquet ({folder}).\n"
                "Give the path of the one that is meant.",
                path=path,
                folder=folder_of(with_images[0]),
            )
        )
    if len(with_images) > 1:
        found = [
            tr("{folder} ({files})", folder=folder_of(group), files=count(len(group), "file")) for group in with_images
        ]
        raise AmbiguousDataError(
            tr(
                "{path} holds {n} data sets.\nGive the path of one, or move the others away: {folders}.",
                path=path,
                n=len(found),
                folders=some(found, 20),
            )
        )
    without = [file for group in groups if group not in with_images for file in group] if with_images else []
    return tables(path, (with_images or groups)[0], without, split_of)


def _source(path: Path, found: Tables, spec: DataSpec, cache_dir: Path) -> Source:
    table = understand(path, found, spec)
    return Source(path, table.understanding, lambda split: read_table(table, split, spec, cache_dir))


def understand(path: Path, found: Tables, spec: DataSpec) -> Table:
    """Read the labels of all files, and decide which rows belong to which split and what their labels mean.

    Raises DataError for labels that are missing in part, and for files that do not agree on their classes.
    """
    # A misspelt name would otherwise pass unnoticed, with the split left out.
    for split, name in named_splits(spec.split_names).items():
        if name and split not in found.splits:
            message = tr("data.split_names says that {split} is {name!r}, but {path} has no such file or folder.")
            raise DataError(message.format(split=split, name=name, path=path))
    images, labels = defaultdict[str, list[Column]](list), defaultdict[str, list[Labels]](list)
    label_columns = set()
    for named_split, files in found.splits.items():
        for file in files:
            columns = choose(file, spec.columns)  # file by file: shards may differ in their columns
            if columns.label is None and named_split in ("train", None):
                raise without_label(file, spec.columns)
            label_columns.add(columns.label)
            for split, column, split_labels in _rows(file, named_split, columns, _split_rule(spec)):
                images[split].append(column)
                labels[split].append(split_labels)
    labelled, left_out = usable_splits({split: labels[split] for split in SPLITS if split in labels})
    class_names, codes = match(path, labelled, listed_names(spec.class_names))
    # CIFAR-10 as many save it, with plain numbers: they are taken for CIFAR-10's only if the folder says so, too.
    if path.name == "cifar10" and class_names == tuple(map(str, range(len(CIFAR10_NAMES)))):
        class_names = CIFAR10_NAMES
    left_out |= {
        reason: [printable(str(file.relative_to(path))) for file in files] for reason, files in found.left_out.items()
    }
    numbered = all(each.numbered for split_labels in labelled.values() for each in split_labels)
    if list(found.splits) != [None]:
        rule = translatable("The names of the files or their folders say the splits.")
    elif list(labels) != ["train"]:
        rule = translatable("A column says the splits.")
    else:
        rule = translatable("No file is called after a split, so all of it is train.")
    counts = class_counts(class_names, codes)
    understanding = Understanding("parquet", rule, tuple(codes), counts, left_out, numbered=numbered)
    # Only for the note on re-encoded pixels. fine_label is the name that CIFAR-100 has on the Hub.
    is_cifar = class_names == CIFAR10_NAMES or "fine_label" in label_columns
    return Table(path, {split: images[split] for split in codes}, codes, class_names, is_cifar, understanding)


def read_table(table: Table, split: str, spec: DataSpec, cache_dir: Path | None = None) -> Images:
    """Decode one split, or map what `cache_dir` holds of it; raises what `pictures.load` raises."""
    columns, labels = table.images[split], table.labels[split]
    # The first split decides on the size of the images for all, or train and test could differ.
    sampled = next(iter(table.images))
    step = sample_step(len(table.labels[sampled]))
    pictures = Pictures(
        source=table.path,
        split=split,
        names=list(names(columns)),
        labels=labels,
        class_names=table.class_names,
        contents=lambda: contents(columns),
        sample=lambda: islice(contents(table.images[sampled]), 0, None, step),
        # the sampled split counts, too: other pictures there mean another size here
        state=files_state(column.path for column in (*columns, *table.images[sampled])),
    )
    images = load(pictures, spec, cache_dir)
    # A copy of CIFAR saved as JPEG looks right, but its pixels are not the published ones.
    lossy = table.is_cifar and images.size == (SIDE, SIDE) and first_image(columns).startswith(JPEG_START)
    return images.with_origin(False, RE_ENCODED) if lossy else images


def _split_rule(spec: DataSpec) -> SplitRule:
    return split_rule(named_splits(spec.split_names))


def _rows(
    file: Path, named_split: str | None, columns: Columns, split_of: SplitRule
) -> Iterator[tuple[str, Column, Labels]]:
    """Yield the images and labels of each split in one file, divided by its column of splits or by its name."""
    labels, splits = read_labels(file, columns), read_splits(file, columns, split_of)
    if splits is None:
        yield named_split or "train", Column(file, columns.image), labels  # a file that says no split is train
        return
    if named_split is not None and (splits != named_split).any():
        raise AmbiguousDataError(
            tr(
                "{path} is called after {split}, but its column {column} says {other}, too.\n"
                "Rename the file to go by the column, or go by the name with --columns split=",
                path=file,
                split=named_split,
                column=printable(columns.splits[0]),
                other=splits[splits != named_split][0],
            )
        )
    for split in SPLITS:
        if (chosen := splits == split).any():
            yield split, Column(file, columns.image, chosen), labels.at(chosen)
