"""The sample that ships in the package: original CIFAR-10 pixels, to try everything without a download.

From the first 1,017 images of each official batch it has the first 300 of each class of train, 3,000 in all, and up to
100 of each class of test, 972 in all (airplane 100, automobile 93, bird 100, cat 100, deer 92, dog 87, frog 100, horse
100, ship 100, truck 100). They are in the official order and losslessly compressed; `scripts/make_sample.py` makes the
files.
"""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path

from cifarlab.errors import DataError
from cifarlab.images.images import Images
from cifarlab.images.source import Source, Understanding
from cifarlab.images.tables.parquet import read_parquet
from cifarlab.language import tr, translatable

# of what the files hold, so that a damaged or replaced file is noticed before it is trained on
FINGERPRINTS = {
    "train": "ede95331a090cf48f5bd1737c9106990c71b30440bcb1b848aaa528ff4568fe5",
    "test": "e2df9111ba59ecaf12e83296525fe8f2f0ee162f73dca4074a98645bdab08256",
}


def open_sample(cache_dir: Path | None = None) -> Source:
    """The sample as a source, without a look at its files."""
    understanding = Understanding("sample", translatable("The sample ships with cifarlab."), ("train", "test"))
    return Source(Path("sample"), understanding, partial(load_sample, cache_dir=cache_dir))


def load_sample(split: str, cache_dir: Path | None = None) -> Images:
    """Load train or test, decoded or from the cache; raises DataError when the installed files are damaged."""
    # as_file: a package may be imported from a zip, and parquet needs a path
    with resources.as_file(resources.files("cifarlab.images") / "sample_files" / f"{split}.parquet") as path:
        images = read_parquet(path, split, cache_dir=cache_dir)
    if images.fingerprint != FINGERPRINTS[split]:
        raise DataError(tr("The bundled sample is damaged. Install cifarlab again."))
    note = translatable("the published pixels, bundled")
    return Images(images.pixels, images.labels, images.class_names, True, note)
