"""Small parquet files as Hugging Face's datasets and pandas write them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

random = np.random.default_rng(0)


def make_picture(height: int = 32, width: int = 32) -> np.ndarray:
    return random.integers(0, 256, (height, width, 3), np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, kind, **options)
    return target.getvalue()


def table(
    contents: Sequence[bytes | None], labels: Sequence[object], names: object = None, image="img", label="label", **more
) -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([content and {"bytes": content, "path": None} for content in contents], kind)
    whole = all(value is None or isinstance(value, int) for value in labels)
    columns = {image: images, label: pa.array(labels, pa.int64() if whole else None)}
    features = {label: {"names": names, "_type": "ClassLabel"}} if names is not None else {}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table({**columns, **more}).replace_schema_metadata(metadata)


def write_table(path: Path, *arguments, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(*arguments, **options), path)
    return path


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """A picture that no other test shares: uint8 (height, width, 3)."""
    return make_picture


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Bytes of a picture: encode(array, "PNG")."""
    return encoded


@pytest.fixture
def write() -> Callable[..., Path]:
    """Write a file: write(path, encoded images, labels, class names, image=, label=, further columns)."""
    return write_table
