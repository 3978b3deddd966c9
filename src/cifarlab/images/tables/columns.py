"""Find out what the columns of a parquet file are: which holds the images, which the labels, and what numbers mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifarlab.console import printable, some
from cifarlab.errors import AmbiguousDataError, DataError
from cifarlab.images.folders import columns as lists
from cifarlab.images.tables import labels
from cifarlab.images.tables.damage import damage_errors, require_file
from cifarlab.images.tables.labels import Labels
from cifarlab.images.words import SplitRule
from cifarlab.language import tr
from cifarlab.recipe.section import named_columns

IMAGE_NAMES = ("image", "images", "img", "imgs", "picture", "photo", "jpg", "jpeg", "png", "webp", "pixels")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "category", "cls")
"""What columns are called, in any case. If none has one of the label's names, those that are usual in lists of pictures
count, too: beside a column `label`, one called `label_text` or `class_name` repeats it for people."""

ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises for files that are damaged."""
_LFS_POINTER = b"version https://git-lfs"
"""The start of the text file that a clone without Git LFS has instead of each large file."""


@dataclass(frozen=True)
class Columns:
    """The columns of one file that are used.

    label: None if the file has none. splits: those that may say the split, as their cells decide. class_names: the list
    that the labels are indices into, as Hugging Face's datasets declares it; empty if there is none.
    """

    image: str
    label: str | None
    splits: tuple[str, ...]
    class_names: tuple[str, ...]
    num_rows: int


def has_images(path: Path) -> bool:
    """Return whether a column of a file may hold encoded images."""
    with opened(path) as file:
        return any(_is_encoded(field.type) for field in file.schema_arrow)


def choose(path: Path, wanted: str) -> Columns:
    """Choose the columns of a file by their types and names, or as `wanted` (`DataSpec.columns`) says.

    Raises AmbiguousDataError when several columns could be meant, DataError when there is none.
    """
    named = named_columns(wanted)
    with opened(path) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows
        if num_rows > path.stat().st_size:  # each image takes more than a byte
            message = tr("{path} is damaged: it claims {rows:,} rows in {size:,} bytes.")
            raise DataError(message.format(path=path, rows=num_rows, size=path.stat().st_size))
        names = _class_names(path, schema)
        image = _require_column(path, schema, named["image"]) if "image" in named else _image_column(path, schema)
        if not _is_encoded(schema.field(image).type):
            raise DataError(_not_images(path, schema.field(image)))
        if "label" not in named:
            label = _label_column(path, schema, names)
        else:
            # A test set may lack the column that train has: its labels are kept secret.
            label = _require_column(path, schema, named["label"]) if named["label"] in schema.names else None
        if label is not None and not _is_label(schema.field(label).type):
            message = tr("{path}: labels must be whole numbers or names; {label} is {kind}.")
            raise DataError(message.format(path=path, label=label, kind=schema.field(label).type))
        if "split" not in named:
            # All columns with such a name: only their cells, which are read later, tell which one holds splits.
            texts = [field.name for field in schema if _is_text(field.type)]
            splits = [name for name in texts if lists.plain(name) in lists.NAMES["split"]]
        else:
            splits = [_require_column(path, schema, named["split"])] if named["split"] else []
        return Columns(image, label, tuple(splits), names.get(label or "", ()), num_rows)


def without_label(path: Path, wanted: str) -> DataError:
    """Make the error for a file of train that has no column of labels."""
    with opened(path) as file:
        found = _describe(file.schema_arrow)
    name = named_columns(wanted).get("label")
    message = (
        tr("{path} has no column of labels called {name!r}. It has: {columns}.\nName it with --columns label=NAME")
        if name
        else tr("{path} has no column of labels. It has: {columns}.\nName it with --columns label=NAME")
    )
    return DataError(message.format(path=path, name=name, columns=found))


def read_labels(path: Path, columns: Columns) -> Labels:
    """Read the labels of a file, each with the name that the file gives it; all missing if it has no such column."""
    if columns.label is None:
        return labels.none(str(path), columns.num_rows)
    values = _values(path, columns.label)
    if _is_text(values.type):
        return labels.texts(str(path), values.to_pylist())
    # pandas turns whole numbers into floats when some are missing; not every writer makes nulls of its NaN.
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        # A safe cast: it refuses 1.5 instead of cutting it to 1.
        whole = pc.fill_null(pc.cast(values, pa.int64()), -1).to_numpy()
    except pa.ArrowInvalid as error:
        message = tr("{path}: labels must be whole numbers or names: {reason}.")
        raise DataError(message.format(path=path, reason=error)) from error
    if columns.class_names:
        return labels.listed(str(path), whole, columns.class_names)
    return labels.numbers(str(path), whole)


def read_splits(path: Path, columns: Columns, split_of: SplitRule) -> NDArray[np.object_] | None:
    """Read the split of each row, (N,); return None if no column says it.

    The cells of a column called split must be names of splits. A column called set, phase, usage or the like may be
    something else, and is ignored when no cell is the name of a split. Raises DataError for other cells,
    AmbiguousDataError for columns that contradict each other.
    """
    found: dict[str, NDArray[np.object_]] = {}
    for name in columns.splits:
        with damage_errors(path, *ARROW_ERRORS):
            cells = [cell or "" for cell in _values(path, name).to_pylist()]
        splits = np.array([split_of(cell) or "" for cell in cells], object)
        unknown = np.flatnonzero(splits == "")
        if not cells or (len(unknown) == len(cells) and lists.plain(name) not in ("split", "splits")):
            continue
        if len(unknown):
            row, cell = unknown[0], printable(cells[unknown[0]])[:80]
            raise DataError(
                tr(
                    "{path}: row {row} has {cell!r} in the column {column}, which is not the name of a split.\n"
                    "To leave such columns alone: --columns split=",
                    path=path,
                    row=row,
                    cell=cell,
                    column=printable(name),
                )
            )
        found[name] = splits
    # Two columns may say the same. When they do not, _only_one raises the error that names both.
    if any((splits != each).any() for splits in found.values() for each in found.values()):
        _only_one(path, "split", list(found))
    return next(iter(found.values()), None)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file for reading; raises DataError for what is not a regular file, and whenever Arrow cannot go on."""
    require_file(path)
    with damage_errors(path, OSError), path.open("rb") as start:
        is_pointer = start.read(len(_LFS_POINTER)) == _LFS_POINTER
    if is_pointer:  # Arrow would only say that the magic bytes are missing
        message = tr("{path} is a pointer of Git LFS instead of the file.\nFetch the file with: git lfs pull")
        raise DataError(message.format(path=path))
    with damage_errors(path, *ARROW_ERRORS), pq.ParquetFile(path) as file:
        yield file


def _values(path: Path, column: str) -> pa.ChunkedArray:
    with opened(path) as file:
        # of this column alone: the images stay on disk; without threads, see evaluation.parquet_file
        values = file.read(columns=[column], use_threads=False).column(0)
        # pandas' categories and repeated text come as a dictionary and indices into it.
        return pc.cast(values, values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _image_column(path: Path, schema: pa.Schema) -> str:
    # A single column of bytes is the image, whatever it is called; names decide among several (image, mask).
    encoded = [field.name for field in schema if _is_encoded(field.type)]
    if encoded:
        return _only_one(path, "image", [name for name in encoded if name.lower() in IMAGE_NAMES] or encoded)
    # The error is about the column that looks meant, such as paths instead of images, if there is one.
    for field in schema:
        if field.name.lower() in IMAGE_NAMES:
            raise DataError(_not_images(path, field))
    message = tr("{path} has no column of encoded images. It has: {columns}.")
    raise DataError(message.format(path=path, columns=_describe(schema)))


def _not_images(path: Path, field: pa.Field) -> str:
    message = tr("{path}: {column} must hold encoded images (PNG, JPEG, ...), as bytes; its type is {kind}.")
    return message.format(path=path, column=field.name, kind=str(field.type)[:80])


def _label_column(path: Path, schema: pa.Schema, names: dict[str, tuple[str, ...]]) -> str | None:
    """Choose by name; else the column that lists classes; else CIFAR-100's coarse label; else any usual name."""
    plain = [field.name for field in schema if _is_label(field.type)]
    known = [name for name in plain if name.lower() in LABEL_NAMES]
    # CIFAR-100 has fine_label and coarse_label. The fine one is among the known names, so the coarse one counts only in
    # a file that has nothing else.
    listed, coarse = [name for name in plain if name in names], [name for name in plain if name == "coarse_label"]
    usual = [name for name in plain if lists.plain(name) in lists.NAMES["label"]]
    candidates = known or listed or coarse or usual
    return _only_one(path, "label", candidates) if candidates else None


def _only_one(path: Path, role: str, candidates: Sequence[str]) -> str:
    if len(candidates) > 1:
        raise AmbiguousDataError(
            tr(
                "{path} has several columns that could be the {role}: {columns}.\n"
                "Choose one with data.columns, such as --columns {role}={first}",
                path=path,
                role=role,
                columns=some([*map(printable, candidates)]),
                first=candidates[0],
            )
        )
    return candidates[0]


def _require_column(path: Path, schema: pa.Schema, name: str) -> str:
    if schema.names.count(name) != 1:  # Arrow allows a name twice, and read_labels would take the first
        message = (
            tr("{path} has several columns called {name!r}. It has: {columns}.")
            if name in schema.names
            else tr("{path} has no column called {name!r}. It has: {columns}.")
        )
        raise DataError(message.format(path=path, name=name, columns=_describe(schema)))
    return name


def _describe(schema: pa.Schema) -> str:
    return some([printable(f"{field.name} ({field.type})")[:80] for field in schema], 12) or tr("no columns")


def _class_names(path: Path, schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Read the lists of class names, by column, from the metadata that Hugging Face's datasets writes."""
    # {"info": {"features": {"label": {"names": ["airplane", ...], "_type": "ClassLabel"}}}}
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError) as error:
        raise DataError(tr("{path}: its metadata cannot be read: {reason}.", path=path, reason=error)) from error
    for key in ("info", "features"):
        found = found.get(key) if isinstance(found, dict) else None
    lists = {}
    for column, feature in (found if isinstance(found, dict) else {}).items():
        names = feature.get("names") if isinstance(feature, dict) else None
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(tr("{path}: the class names in its metadata are not a list of strings.", path=path))
        lists[column] = tuple(names)
    return lists


def _is_encoded(kind: pa.DataType) -> bool:
    # datasets stores an image as a struct of bytes and path; others as plain bytes.
    if pa.types.is_struct(kind) and (place := kind.get_field_index("bytes")) >= 0:
        kind = kind.field(place).type
    return any(matches(kind) for matches in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(matches(kind) for matches in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_label(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    # null is the type of a column in which every label is missing.
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return _is_text(kind) or any(matches(kind) for matches in numbers)
