"""Make the bundled sample from the official CIFAR-10: parquet with each image's place in its split as `index`.

    python scripts/make_sample.py FOLDER    # with data_batch_1 to 5 and test_batch, or the archive

Each image is stored as lossless WebP, which takes 1.8 KB where PNG takes 2.25 KB. Prints the fingerprints
to record in src/cifarlab/images/sample.py. Takes about two minutes.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.images import Images
from cifarlab.images.sources import load_images
from cifarlab.images.tables.parquet import read_parquet

TARGET = Path(__file__).parents[1] / "src" / "cifarlab" / "images" / "sample_files"
NUM_PER_CLASS = {"train": 300, "test": 100}
BATCH, OF_BATCH = 10_000, 1017
"""The sample is chosen from the first 1,017 images of each official batch of 10,000."""


def main(folder: Path) -> None:
    """Write train.parquet and test.parquet."""
    TARGET.mkdir(exist_ok=True)
    for split in NUM_PER_CLASS:
        source = load_images(folder, split)
        if not source.original:
            sys.exit(f"{folder} does not hold the published pixels of CIFAR-10: {source.note}.")
        rows = rows_of(source.labels, NUM_PER_CLASS[split])
        write(source, rows, TARGET / f"{split}.parquet")
        images = read_parquet(TARGET / f"{split}.parquet", split)
        assert np.array_equal(images.pixels, source.pixels[rows])
        print(split, images.counts.tolist(), images.fingerprint)


def rows_of(labels: NDArray[np.int64], per_class: int) -> NDArray[np.int64]:
    """Return where in a split the images of the sample are: of each class the first ones, in order."""
    rows = np.arange(len(labels))
    rows = rows[rows % BATCH < OF_BATCH]
    return np.sort(np.concatenate([rows[labels[rows] == label][:per_class] for label in range(len(CIFAR10_NAMES))]))


def write(source: Images, rows: NDArray[np.int64], path: Path) -> None:
    """Write some images, losslessly encoded."""
    encoded = [{"bytes": to_webp(source.pixels[row]), "path": None} for row in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "img": {"_type": "Image"},
        "label": {"names": list(CIFAR10_NAMES), "_type": "ClassLabel"},
        "index": {"dtype": "int64", "_type": "Value"},
    }
    columns = {"img": pa.array(encoded, kind), "label": pa.array(source.labels[rows]), "index": pa.array(rows)}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, compression="none", use_dictionary=False)


def to_webp(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image (3, H, W) losslessly, as small as it goes."""
    target = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(target, "WEBP", lossless=True, quality=100, method=6, exact=True)
    return target.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
