"""Images written in each format that is read come back: the same pixels, labels and names, and where it was CIFAR-10,
recognised as that.

With the bundled sample always; with all of CIFAR-10's test images where CIFARLAB_DATA names a folder with them.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from cifarlab.images.images import Images
from cifarlab.images.sample import load_sample
from cifarlab.images.sources import data_spec, load_images, open_source
from cifarlab.images.words import FORMATS as PICTURE_FORMATS


def png(pixels: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(target, "PNG", compress_level=1)
    return target.getvalue()


def write_parquet(images: Images, folder: Path) -> Path:
    encoded = [{"bytes": png(pixels), "path": None} for pixels in images.pixels]
    table = pa.table({"img": encoded, "label": images.labels})
    features = {"label": {"names": list(images.class_names), "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / "test-00000-of-00001.parquet")
    return folder


def write_parquet_with_text(images: Images, folder: Path) -> Path:
    names = np.array(images.class_names)[images.labels]
    pq.write_table(pa.table({"image": [png(each) for each in images.pixels], "label": names}), folder / "test.parquet")
    return folder / "test.parquet"


def write_folder(images: Images, folder: Path) -> Path:
    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        file = folder / "test" / images.class_names[label] / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(pixels))
    return folder


EVERY_FORMAT: dict[str, dict[str, object]] = {
    "PNG": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "PPM": {},
    "WEBP": {"lossless": True},
    "JPEG2000": {},
    "QOI": {},
    "PCX": {},
    "TGA": {},
}


def write_every_format(images: Images, folder: Path) -> Path:
    """Every lossless format in turn, each under its first ending."""
    kinds = itertools.cycle(EVERY_FORMAT)
    for number, (pixels, label, kind) in enumerate(zip(images.pixels, images.labels, kinds, strict=False)):
        file = folder / "test" / images.class_names[label] / f"{number:05}{PICTURE_FORMATS[kind][0].upper()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(file, kind, **EVERY_FORMAT[kind])
    return folder


def write_pictures(images: Images, folder: Path) -> list[tuple[str, str]]:
    """Files named by numbers in a folder; (name, class) of each, in the order of the images."""
    folder.mkdir(parents=True)
    names = [f"{number}.png" for number in range(1, len(images) + 1)]
    for name, pixels in zip(names, images.pixels, strict=True):
        (folder / name).write_bytes(png(pixels))
    return list(zip(names, np.array(images.class_names)[images.labels].tolist(), strict=True))


def write_list(images: Images, folder: Path) -> Path:
    rows = [f"img/{name};{label};test" for name, label in write_pictures(images, folder / "img")]
    (folder / "list.csv").write_text("\r\n".join(["File Name;Class;Split", *rows]), "utf-16")
    return folder / "list.csv"


def write_metadata(images: Images, folder: Path) -> Path:
    rows = write_pictures(images, folder / "test")
    (folder / "test" / "metadata.csv").write_text("\n".join(["file_name,label", *map(",".join, rows)]))
    return folder


def write_json_lines(images: Images, folder: Path) -> Path:
    rows = [{"file_name": f"test/{name}", "label": label} for name, label in write_pictures(images, folder / "test")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def write_kaggle(images: Images, folder: Path) -> Path:
    """As in Kaggle's CIFAR-10, where only train has classes."""
    rows = [f"{name.removesuffix('.png')},{label}" for name, label in write_pictures(images, folder / "train")]
    (folder / "trainLabels.csv").write_text("\n".join(["id,label", *rows]))
    write_pictures(images.subset(np.arange(5)), folder / "test")
    (folder / "sampleSubmission.csv").write_text("id,label\n" + "".join(f"{number},cat\n" for number in range(1, 6)))
    return folder


def channels_last(images: Images) -> np.ndarray:
    return images.pixels.transpose(0, 2, 3, 1)


def write_npz(images: Images, folder: Path) -> Path:
    np.savez(folder / "a.npz", x_test=channels_last(images), y_test=images.labels[:, None])
    return folder / "a.npz"


def write_fractions(images: Images, folder: Path) -> Path:
    np.savez(folder / "a.npz", test_images=(images.pixels / 255).astype(np.float32), test_labels=images.labels)
    return folder / "a.npz"


def write_npy(images: Images, folder: Path) -> Path:
    np.save(folder / "x_test.npy", channels_last(images))
    np.save(folder / "y_test.npy", images.labels)
    return folder


def write_corruption(images: Images, folder: Path) -> Path:
    """As in CIFAR-10-C, with a corruption that changes nothing."""
    np.save(folder / "identity.npy", channels_last(images))
    np.save(folder / "labels.npy", images.labels)
    return folder / "identity.npy"


def write_idx(images: Images, folder: Path) -> Path:
    for name, array in {"images-idx4": channels_last(images), "labels-idx1": images.labels.astype(np.uint8)}.items():
        start = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(start + array.tobytes(), 1))
    return folder


def write_mat(images: Images, folder: Path) -> Path:
    savemat(folder / "test_32x32.mat", {"X": images.pixels.transpose(2, 3, 1, 0), "y": images.labels[:, None]})
    return folder


def write_zip(images: Images, folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder / "a"), "zip", write_folder(images, folder / "pictures")))


def write_tar(images: Images, folder: Path) -> Path:
    """The folder of the data set inside another, as archives often have it."""
    write_folder(images, folder / "pictures" / "cifar10")
    return Path(shutil.make_archive(str(folder / "a"), "gztar", folder / "pictures"))


Write = Callable[[Images, Path], Path]
WITH_NAMES: dict[str, Write] = {"parquet": write_parquet, "parquet with text": write_parquet_with_text}
WITH_NUMBERS: dict[str, Write] = {
    "npz": write_npz,
    "npz of fractions": write_fractions,
    "npy": write_npy,
    "corruption": write_corruption,
    "idx": write_idx,
    "mat": write_mat,
}
IN_ANOTHER_ORDER: dict[str, Write] = {
    "folder": write_folder,
    "folder of every format": write_every_format,
    "zip": write_zip,
    "tar": write_tar,
    "list": write_list,
    "metadata": write_metadata,
    "JSON lines": write_json_lines,
    "Kaggle": write_kaggle,
}
FORMATS = WITH_NAMES | WITH_NUMBERS | IN_ANOTHER_ORDER


def read_back(form: str, images: Images, folder: Path) -> Images:
    """Write images as the one split of a data set, and read it."""
    folder.mkdir()
    path = FORMATS[form](images, folder)
    class_names = ",".join(images.class_names) if form in WITH_NUMBERS else ""
    source = open_source(data_spec(path, class_names=class_names))
    assert source.splits == ("train" if form == "Kaggle" else "test",)
    return source.load(source.splits[0])


def as_set(images: Images) -> list[tuple[bytes, str]]:
    return sorted(
        (pixels.tobytes(), images.class_names[label])
        for pixels, label in zip(images.pixels, images.labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("form", FORMATS)
def test_the_sample_comes_back(form: str, tmp_path: Path) -> None:
    sample = load_sample("test")
    images = read_back(form, sample, tmp_path / "data")
    assert as_set(images) == as_set(sample) and images.class_names == sample.class_names
    if form not in IN_ANOTHER_ORDER:
        assert images.fingerprint == sample.fingerprint


@pytest.mark.parametrize("form", FORMATS)
def test_n25_cifar10_is_recognised_in_every_format(form: str, real_data: Path, tmp_path: Path) -> None:
    published = load_images("cifar10", "test", data_dir=real_data)
    if published.original is not True:
        pytest.skip("the cifar10 of CIFARLAB_DATA has other pixels than the published ones")
    images = read_back(form, published, tmp_path / "data")
    assert images.original is True and "the published pixels" in images.note
    if form not in IN_ANOTHER_ORDER:
        assert images.fingerprint == published.fingerprint
