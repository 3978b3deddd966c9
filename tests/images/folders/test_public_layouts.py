"""Public data sets as they unpack, in small: read right, or refused with the reason and the way round.

Only folders and names are imitated. The layouts are those of the archives that their authors or Kaggle publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from cifarlab.errors import DataError
from cifarlab.images import sources
from cifarlab.images.source import BESIDE, EMPTY, UNLABELLED, Source
from cifarlab.images.sources import data_spec, open_source


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "cache_dir", lambda: tmp_path / "cache")


def write(root: Path, pictures: Mapping[str, int], texts: Mapping[str, str] | None = None) -> Path:
    """pictures: pattern of a name, with * for a number -> how many there are."""
    for pattern, count in pictures.items():
        for number in range(count):
            path = root / pattern.replace("*", str(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, len(pattern), 0)).save(path)
    for name, text in (texts or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def read(root: Path, **options: object) -> Source:
    return open_source(data_spec(root, **options))


def each(template: str, **choices: tuple[str, ...]) -> list[str]:
    """The template with every combination of choices."""
    names = [template]
    for key, values in choices.items():
        names = [name.replace(f"<{key}>", value) for name in names for value in values]
    return names


def counts(root: Path, **options: object) -> dict[str, dict[str, int]]:
    return {split: dict(found) for split, found in read(root, **options).understanding.counts.items()}


LAND = ("buildings", "forest", "sea")
WORDNET = ("n01440764", "n02102040")


def test_intel_image_classification(tmp_path: Path) -> None:
    names = each("seg_<split>/seg_<split>/<class>/*.jpg", split=("train", "test"), **{"class": LAND})
    root = write(tmp_path / "intel", {**dict.fromkeys(names, 3), "seg_pred/seg_pred/*.jpg": 4})
    assert counts(root) == {split: dict.fromkeys(LAND, 3) for split in ("train", "test")}
    assert read(root).understanding.left_out == {BESIDE: ["seg_pred"]}


def test_chest_x_ray_with_a_copy_of_itself(tmp_path: Path) -> None:
    classes = {"class": ("NORMAL", "PNEUMONIA")}
    names = each(
        "chest_xray/<copy><split>/<class>/*.jpeg", copy=("", "chest_xray/"), split=("train", "val", "test"), **classes
    )
    texts = {"chest_xray/__MACOSX/train/NORMAL/._1.jpeg": "", "chest_xray/train/.DS_Store": ""}
    root = write(tmp_path / "chest", dict.fromkeys(names, 2), texts)
    assert counts(root) == {split: {"NORMAL": 2, "PNEUMONIA": 2} for split in ("train", "val", "test")}
    assert read(root).understanding.left_out[BESIDE] == ["chest_xray/chest_xray"]


def test_fruits_360(tmp_path: Path) -> None:
    fruits = ("Apple Braeburn", "Banana")
    names = each("fruits-360/<split>/<class>/*_100.jpg", split=("Training", "Test"), **{"class": fruits})
    more = {"fruits-360/test-multiple_fruits/*.jpg": 3}
    root = write(tmp_path / "fruits", {**dict.fromkeys(names, 2), **more}, {"fruits-360/papers/x.pdf": ""})
    assert counts(root) == {split: dict.fromkeys(fruits, 2) for split in ("train", "test")}


def test_imagenette(tmp_path: Path) -> None:
    names = each("imagenette2-160/<split>/<class>/<class>_*.JPEG", split=("train", "val"), **{"class": WORDNET})
    noisy = {"imagenette2-160/noisy_imagenette.csv": "path,noisy_labels_0,is_valid\ntrain/x.JPEG,n0,False\n"}
    root = write(tmp_path / "imagenette", dict.fromkeys(names, 2), noisy)
    assert counts(root) == {split: dict.fromkeys(WORDNET, 2) for split in ("train", "val")}


def test_imagenet_has_labels_for_train_alone(tmp_path: Path) -> None:
    data = "ILSVRC/Data/CLS-LOC"
    names = dict.fromkeys(each(f"{data}/train/<class>/<class>_*.JPEG", **{"class": WORDNET}), 2)
    unlabelled = {f"{data}/val/ILSVRC2012_val_*.JPEG": 3, f"{data}/test/ILSVRC2012_test_*.JPEG": 3}
    root = write(tmp_path / "imagenet", names | unlabelled, {"ILSVRC/Annotations/CLS-LOC/val/1.xml": ""})
    assert counts(root) == {"train": dict.fromkeys(WORDNET, 2)}
    assert len(read(root).understanding.left_out[UNLABELLED]) == 6


def test_tiny_imagenet(tmp_path: Path) -> None:
    top = "tiny-imagenet-200"
    names = dict.fromkeys(each(f"{top}/train/<class>/images/<class>_*.JPEG", **{"class": WORDNET}), 2)
    names |= {f"{top}/val/images/val_*.JPEG": 4, f"{top}/test/images/test_*.JPEG": 4}
    labels = "".join(f"val_{number}.JPEG\t{WORDNET[number % 2]}\t0\t0\t7\t7\n" for number in range(4))
    root = write(tmp_path / "tiny", names, {f"{top}/val/val_annotations.txt": labels})
    assert counts(root) == {split: dict.fromkeys(WORDNET, 2) for split in ("train", "val")}


def test_food_101(tmp_path: Path) -> None:
    names = dict.fromkeys(each("food-101/images/<class>/*.jpg", **{"class": ("apple_pie", "baklava")}), 3)
    texts = {"train": "apple_pie/0\napple_pie/1\nbaklava/0\nbaklava/1\n", "test": "apple_pie/2\nbaklava/2\n"}
    root = write(tmp_path / "food", names, {f"food-101/meta/{split}.txt": text for split, text in texts.items()})
    assert counts(root) == {"train": {"apple_pie": 2, "baklava": 2}, "test": {"apple_pie": 1, "baklava": 1}}


def test_asl_alphabet(tmp_path: Path) -> None:
    names = dict.fromkeys(each("asl_alphabet_train/asl_alphabet_train/<class>/*.jpg", **{"class": ("A", "B")}), 2)
    root = write(tmp_path / "asl", {**names, "asl_alphabet_test/asl_alphabet_test/*_test.jpg": 2})
    assert counts(root) == {"train": {"A": 2, "B": 2}}
    assert len(read(root).understanding.left_out[UNLABELLED]) == 2


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        ("Images/<class>/<class>_*.jpg", ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")),  # Stanford Dogs
        ("caltech-101/101_ObjectCategories/<class>/image_*.jpg", ("BACKGROUND_Google", "Faces", "accordion")),
        ("256_ObjectCategories/<class>/001_*.jpg", ("001.ak47", "002.american-flag")),  # Caltech-256
        ("EuroSAT/2750/<class>/<class>_*.jpg", ("AnnualCrop", "Forest", "SeaLake")),
        ("UCMerced_LandUse/Images/<class>/<class>*.tif", ("agricultural", "airplane")),
        ("PetImages/<class>/*.jpg", ("Cat", "Dog")),
        ("dtd/images/<class>/<class>_*.jpg", ("banded", "dotted")),
        ("Garbage classification/Garbage classification/<class>/<class>*.jpg", ("glass", "paper")),
    ],
    ids=["dogs", "caltech-101", "caltech-256", "eurosat", "uc-merced", "cats-vs-dogs", "dtd", "garbage"],
)
def test_class_folders_with_annotations_and_lists_beside_them(
    tmp_path: Path, pattern: str, classes: tuple[str, ...]
) -> None:
    texts = {f"Annotation/{classes[0]}/1": "<xml/>", "lists/file_list.mat": "", "README.txt": "", "labels/a.txt": ""}
    root = write(tmp_path / "set", dict.fromkeys(each(pattern, **{"class": classes}), 5), texts)
    assert counts(root) == {"train": dict.fromkeys(classes, 4), "test": dict.fromkeys(classes, 1)}
    assert read(root).understanding.left_out[EMPTY] == ["Annotation", "labels", "lists"]


@pytest.mark.parametrize(
    ("patterns", "reason", "way"),
    [
        # Oxford-IIIT Pet, Pascal VOC, Flowers-102 and HAM10000 have no class folders at all
        (("images/Abyssinian_*.jpg", "annotations/trimaps/Abyssinian_*.png"), "do not sound like classes", "CSV"),
        (("VOC2012/JPEGImages/*.jpg", "VOC2012/SegmentationClass/*.png"), "do not sound like classes", "CSV"),
        (("jpg/image_*.jpg",), "pictures right inside jpg/, and no class folders", "CSV"),
        (("HAM10000_images_part_1/a*.jpg", "HAM10000_images_part_2/b*.jpg"), "do not sound like classes", "CSV"),
        (("train/cat.*.jpg", "train/dog.*.jpg", "test1/*.jpg"), "right inside test1/, train/", "CSV"),
        # YOLO's pictures for detection
        (("train/images/*.jpg", "valid/images/*.jpg"), "right inside train/images/", "CSV"),
    ],
    ids=["pets", "voc", "flowers-102", "ham10000", "dogs-vs-cats", "yolo"],
)
def test_pictures_without_class_folders(tmp_path: Path, patterns: tuple[str, ...], reason: str, way: str) -> None:
    root = write(tmp_path / "set", dict.fromkeys(patterns, 3))
    with pytest.raises(DataError, match=reason) as caught:
        read(root)
    assert way in str(caught.value)


def test_plant_village_in_three_versions(tmp_path: Path) -> None:
    plants = ("Apple___Apple_scab", "Corn___healthy")
    names = each(
        "plantvillage/<version>/<class>/*.jpg", version=("color", "grayscale", "segmented"), **{"class": plants}
    )
    root = write(tmp_path / "plants", dict.fromkeys(names, 5))
    with pytest.raises(DataError, match=r"color/, grayscale/, segmented/ hold folders of the same names") as caught:
        read(root)
    assert f"give one folder: {root}/plantvillage/color" in str(caught.value)
    assert counts(root / "plantvillage" / "color")["train"] == dict.fromkeys(plants, 4)


def test_sun397_in_folders_by_letter(tmp_path: Path) -> None:
    scenes = ("a/abbey", "a/airport_terminal", "b/bakery/shop")
    root = write(tmp_path / "sun", dict.fromkeys(each("SUN397/<class>/sun_*.jpg", **{"class": scenes}), 5))
    with pytest.raises(DataError, match=r"a/, b/ hold folders with pictures in them(.|\n)*--layout leaves"):
        read(root)
    assert counts(root, layout="leaves")["train"] == dict.fromkeys(scenes, 4)


def test_malaria_with_a_copy_of_itself(tmp_path: Path) -> None:
    classes = ("Parasitized", "Uninfected")
    names = each("cell_images/<copy><class>/*.png", copy=("", "cell_images/"), **{"class": classes})
    root = write(tmp_path / "malaria", dict.fromkeys(names, 5))
    with pytest.raises(DataError, match="If it is a copy, remove it or give it alone") as caught:
        read(root)
    assert f"{root}/cell_images/cell_images." in str(caught.value)
    assert counts(root / "cell_images" / "cell_images")["train"] == dict.fromkeys(classes, 4)


def test_rock_paper_scissors_under_unusual_names(tmp_path: Path) -> None:
    hands = ("paper", "rock", "scissors")
    names = dict.fromkeys(each("<split>/<class>/*.png", split=("rps", "rps-test-set"), **{"class": hands}), 2)
    root = write(tmp_path / "rps", {**names, "rps-validation/*.png": 3})
    with pytest.raises(DataError, match='--split-names "train=rps"'):
        read(root)
    assert counts(root, split_names="train=rps") == {split: dict.fromkeys(hands, 2) for split in ("train", "test")}


def test_blood_cells_with_a_second_test_set(tmp_path: Path) -> None:
    cells = ("EOSINOPHIL", "MONOCYTE")
    pattern = "dataset2-master/dataset2-master/images/<split>/<class>/*.jpeg"
    names = each(pattern, split=("TRAIN", "TEST", "TEST_SIMPLE"), **{"class": cells})
    root = write(tmp_path / "cells", dict.fromkeys(names, 2))
    with pytest.raises(DataError, match=r"TEST_SIMPLE/ holds folders of the same names(.|\n)*--layout splits"):
        read(root)
    assert counts(root, layout="splits") == {split: dict.fromkeys(cells, 2) for split in ("train", "test")}
    swapped = counts(root, split_names="test=TEST_SIMPLE,val=TEST")
    assert swapped == {split: dict.fromkeys(cells, 2) for split in ("train", "val", "test")}
