from __future__ import annotations

import errno
import io
import json
import os
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifarlab.errors import DataError, MachineError, UsageError
from cifarlab.images import pictures, sources
from cifarlab.images.archives import cifar
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.sample import load_sample
from cifarlab.images.source import Source, Understanding
from cifarlab.images.sources import data_spec, load_images

REAL = Path(os.environ.get("CIFARLAB_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_real_data = pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no CIFAR-10 in $CIFARLAB_DATA")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch) -> Path:
    """No test sees the user's cache or data."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(sources, "cache_dir", lambda: cache)
    monkeypatch.delenv("CIFARLAB_DATA", raising=False)
    return cache


def find(source, data_dir: Path | None = None) -> Source | None:
    return sources.find(data_spec(source), data_dir)


def splits(source, data_dir: Path | None = None) -> tuple[str, ...]:
    found = find(source, data_dir)
    return () if found is None else found.splits


def parquet(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(target, "PNG")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array([{"bytes": target.getvalue()}] * 2, kind), "label": [0, 1]})
    features = {"label": {"names": list(CIFAR10_NAMES)}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for name in names:
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_the_sample_needs_no_download_and_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert splits("sample") == ("train", "test")
    decoded = load_images("sample", "test")
    monkeypatch.setattr(pictures, "_decode", None)
    kept = load_images("sample", "test")
    assert len(kept) == 972 and kept.fingerprint == decoded.fingerprint and kept.original


def test_places_are_searched_in_order(tmp_path: Path, own_cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path / "variable"))
    assert find("cifar10") is None
    folders = [own_cache, tmp_path / "variable", tmp_path / "argument"]
    (tmp_path / "argument").mkdir()
    for folder in folders:
        parquet(folder / "cifar10", "train", "test")
        assert find("cifar10", data_dir=tmp_path / "argument").path == folder / "cifar10"


@pytest.mark.parametrize("kind", ["cifar10", "cifar10_binary", "cifar100", "cifar100_binary"])
def test_a_data_set_is_found_in_every_format(kind: str, request, tmp_path: Path) -> None:
    official = request.getfixturevalue(kind)
    name, folder, file = official.layout.dataset, official.layout.folder, official.layout.archive.name
    for place in ("a", "b/" + name, "c", "d/" + name, "e"):
        (tmp_path / place).mkdir(parents=True)
    expected = {
        "a": ("archive", official.archive(tmp_path / "a" / file)),
        "b": ("archive", official.archive(tmp_path / "b" / name / file)),
        "c": ("extracted", official.extracted(tmp_path / "c" / folder)),
        "d": ("extracted", official.extracted(tmp_path / "d" / name / folder)),
        "e": ("extracted", official.extracted(tmp_path / "e" / name)),
    }
    for place, (form, path) in expected.items():
        found = find(name, data_dir=tmp_path / place)
        assert (found.kind, found.path) == (form, path)
        assert splits(name, data_dir=tmp_path / place) == ("train", "test")
        assert (find(path).kind, find(path).path) == (form, path)


def test_original_pixels_win_over_parquet(cifar10, tmp_path: Path) -> None:
    parquet(tmp_path / "cifar10", "train")
    cifar10.archive(tmp_path / "cifar10" / "cifar-10-python.tar.gz")
    assert find("cifar10", data_dir=tmp_path).kind == "archive"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_image_folders_and_csv_are_told_apart(tmp_path: Path) -> None:
    picture(tmp_path / "cifar10/train/cat/1.png")
    (tmp_path / "list.csv").write_text("image,label\ncifar10/train/cat/1.png,cat\n")
    assert find("cifar10", data_dir=tmp_path).kind == "folder"
    assert find(str(tmp_path / "list.csv")).kind == "csv"


def test_readers_get_every_option(tmp_path: Path, own_cache: Path, monkeypatch) -> None:
    calls = []
    source = Source(tmp_path / "x.csv", Understanding("csv", "", ("train",)), load_sample)
    monkeypatch.setitem(sources.FILES, ".csv", lambda *arguments: calls.append(arguments) or source)
    (tmp_path / "x.csv").touch()
    spec = data_spec(tmp_path / "x.csv", image_size=48, skip_bad=True, layout="classes", fit="pad")
    assert sources.open_source(spec).understanding.settled == {"source": str(tmp_path / "x.csv")}
    assert calls == [(tmp_path / "x.csv", spec, own_cache)]
    load_images(tmp_path / "x.csv", image_size=40, skip_bad=True)
    assert (calls[1][1].image_size, calls[1][1].skip_bad) == (40, True)


def test_n23_class_names_are_for_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "train/cat/1.png")
    for source in ("sample", tmp_path):
        with pytest.raises(DataError, match="names its classes itself"):
            sources.open_source(data_spec(source, class_names="frog"))


def test_decoded_images_are_kept(tmp_path: Path, own_cache: Path, monkeypatch) -> None:
    path = parquet(tmp_path / "p", "train", "validation", "test")
    assert splits(path) == ("train", "val", "test")
    assert (load_images(path, "val").pixels == 7).all()
    monkeypatch.setattr("cifarlab.images.pictures.decode_with_origin", None)
    assert (load_images(path, "val").pixels == 7).all()
    assert len(list(own_cache.glob("decoded/*.u8"))) == 1


def test_an_archive_is_read_through_the_cache(cifar10, tmp_path: Path, monkeypatch) -> None:
    path = cifar10.archive(tmp_path / "a.tar.gz")
    read = cifar.read_archive
    monkeypatch.setattr(cifar, "read_archive", lambda path, split: read(path, split, [cifar10.layout]))
    first = load_images(path)
    monkeypatch.setattr(cifar, "read_archive", None)
    second = load_images(path)
    assert np.array_equal(second.pixels, cifar10.pixels["train"])
    assert first.original is second.original is True and first.fingerprint == second.fingerprint


def test_what_is_nowhere_is_downloaded_into_the_cache(cifar10, own_cache: Path, monkeypatch) -> None:
    def fetch(archive, folder):
        folder.mkdir(parents=True)
        return cifar10.archive(folder / archive.name)

    monkeypatch.setattr(sources, "download", fetch)
    read = cifar.read_archive
    monkeypatch.setattr(cifar, "read_archive", lambda path, split: read(path, split, [cifar10.layout]))
    assert find("cifar10") is None
    assert not own_cache.exists(), "looking for it downloads nothing"
    assert np.array_equal(load_images("cifar10", "test").pixels, cifar10.pixels["test"])
    assert find("cifar10").path == own_cache / "cifar-10-python.tar.gz"


def test_d24_a_read_only_cache_with_data_works(tmp_path: Path, monkeypatch) -> None:
    parquet(tmp_path / "cifar10", "train", "test")
    _refuse_to_write(monkeypatch)
    assert len(load_images("cifar10", data_dir=tmp_path)) == 2


def test_d25_a_read_only_cache_without_data(own_cache: Path, monkeypatch) -> None:
    _refuse_to_write(monkeypatch)
    with pytest.raises(MachineError) as caught:
        load_images("cifar10")
    assert str(own_cache) in str(caught.value) and "CIFARLAB_DATA" in str(caught.value)


def _refuse_to_write(monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)


def test_names_and_splits_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown data set 'cifar1O'\. Did you mean cifar10"):
        load_images("cifar1O")
    with pytest.raises(UsageError, match=r"Unknown split 'trian'\. Did you mean train"):
        load_images("sample", "trian")
    with pytest.raises(UsageError, match=r"sample has no val split; it has train, test"):
        load_images("sample", "val")
    with pytest.raises(DataError, match="There is no data at"):
        load_images(tmp_path / "absent")
    with pytest.raises(DataError, match="does not exist"):
        load_images("cifar10", data_dir=tmp_path / "absent")


@pytest.mark.parametrize(
    "path", ["x" * 5000, "a" * 300, "a\0b", "/dev/zero", "/dev/null", "", "~nobody-has-this-name/x"]
)
def test_n27_paths_that_cannot_be_data(path: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, UsageError)) as caught:
        find(path)
    assert caught.value.exit_code in (2, 3) and len(str(caught.value)) < 400


def test_n27_what_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        listener.bind("socket.parquet")
        for name in ("pipe.csv", "socket.parquet"):
            with pytest.raises(DataError, match="is neither a file nor a folder"):
                find(tmp_path / name)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="cannot be looked at: Too many levels"):
        find(tmp_path / "loop")


def test_n27_a_folder_without_permission(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(sources.os, "access", lambda path, mode: False)  # root may list everything
    with pytest.raises(DataError, match=r"Cannot list .*data: permission denied"):
        find(tmp_path / "data")


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "~nobody-has-this-name"])
def test_n27_data_folders_that_cannot_be(path: str, monkeypatch, caplog) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find("cifar10", Path(path))
    if "\0" not in path:
        monkeypatch.setenv("CIFARLAB_DATA", path)
        assert find("cifar10") is None and "is not a folder" in caplog.text


def test_a_data_set_inside_folders_that_only_wrap_it_is_found_in_every_format(tmp_path: Path) -> None:
    parquet(tmp_path / "a" / "archive" / "unpacked", "train", "test")
    found = find(tmp_path / "a")
    assert found.kind == "parquet"
    picture(tmp_path / "b" / "photos" / "img" / "1.png")
    (tmp_path / "b" / "photos" / "list.csv").write_text("image,label,split\nimg/1.png,cat,train\n")
    found = find(tmp_path / "b")
    assert found.kind == "csv" and found.understanding.settled["source"] == str(tmp_path / "b" / "photos")


def test_n19_a_relative_path_is_settled_as_an_absolute_one(tmp_path: Path, monkeypatch) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png"):
        picture(tmp_path / "pics" / name)
    monkeypatch.chdir(tmp_path)
    settled = find("pics").understanding.settled
    assert settled == {
        "source": str(tmp_path / "pics"),
        "layout": "splits",
        "split_names": "train=train,val=",
    }


def test_what_is_left_out_is_said_when_images_are_loaded(tmp_path: Path, caplog) -> None:
    for name in ("train/cat/1.png", "train/dog/1.png", "train/cover.png"):
        picture(tmp_path / name)
    load_images(tmp_path)
    assert "Left out: pictures in no class folder: 1 (train/cover.png)." in caplog.text


def test_what_is_no_data(tmp_path: Path, caplog) -> None:
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "cifar10").mkdir()
    for path in (tmp_path / "notes.txt", tmp_path / "cifar10"):
        with pytest.raises(DataError, match="cifarlab cannot read"):
            find(path)
    assert find("cifar10", data_dir=tmp_path) is None
    assert "looking elsewhere" in caplog.text


def test_a_variable_that_points_nowhere_is_said(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("CIFARLAB_DATA", str(tmp_path / "absent"))
    assert find("cifar10") is None
    assert "CIFARLAB_DATA is set to" in caplog.text


def test_an_image_folder_is_not_taken_for_cifar100(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "test/cat/1.png", "meta/1.png"):
        picture(tmp_path / name)
    assert find(tmp_path).kind == "folder"


@needs_real_data
def test_the_real_data_has_the_published_mean_and_std() -> None:
    images = load_images("cifar10", data_dir=REAL)
    mean, std = images.mean_and_std()
    # The pixels may have gone through JPEG, which takes a little off the deviation.
    assert np.allclose(mean, (0.4914, 0.4822, 0.4465), atol=0.003)
    assert np.allclose(std, (0.2470, 0.2435, 0.2616), atol=0.003)
    assert len(images) == 50_000 and images.counts.tolist() == [5000] * 10
    assert images.class_names == CIFAR10_NAMES


@needs_real_data
def test_the_sample_has_the_pixels_of_the_real_data() -> None:
    sample, real = load_images("sample", "test"), load_images("cifar10", "test", data_dir=REAL)
    path = Path(sources.__file__).with_name("sample_files") / "test.parquet"
    index = pq.read_table(path)["index"].to_numpy()
    assert np.array_equal(real.labels[index], sample.labels)
    error = real.pixels[index].astype(float) - sample.pixels
    mean_square = max((error**2).mean(), 1e-9)
    assert 10 * np.log10(255**2 / mean_square) > 29, "30.5 dB if the real data went through JPEG"
