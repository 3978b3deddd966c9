"""What folders mean: what is told from names and contents, what options say, what is settled for later readings."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cifarlab.errors import AmbiguousDataError, DataError, RecipeError, UsageError
from cifarlab.images.folders.read import open_folder
from cifarlab.images.source import BESIDE, EMPTY, LOOSE, OURS, SYSTEM, UNLABELLED, Source
from cifarlab.images.sources import data_spec


def write(root: Path, **folders: int) -> Path:
    """Pictures by folder, whose name is written with __ for /."""
    for folder, count in folders.items():
        for index in range(count):
            draw(root / folder.replace("__", "/") / f"{index}.png")
    return root


def draw(path: Path) -> None:
    """A picture of its own: copies would stay on one side of a drawn split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (2, 2), hashlib.sha256(bytes(path)).digest()[:12]).save(path, "PNG")


def read(root: Path, **options: object) -> Source:
    return open_folder(root, data_spec(root, **options), root.parent / "cache")


def counts(root: Path, **options: object) -> dict[str, dict[str, int]]:
    return {split: dict(found) for split, found in read(root, **options).understanding.counts.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_n01_training_and_testing_are_splits(root: Path) -> None:
    write(root, training__0=3, training__1=2, Testing__0=1, Testing__1=1)
    assert counts(root) == {"train": {"0": 3, "1": 2}, "test": {"0": 1, "1": 1}}
    assert (
        read(root).understanding.rule == "The splits are training/ and Testing/, the folders in them are the classes."
    )


def test_n01_words_that_the_names_of_splits_share(root: Path) -> None:
    write(root, flowers_train__daisy=2, flowers_train__rose=2, flowers_validation__daisy=1, flowers_validation__rose=1)
    assert read(root).splits == ("train", "val")


def test_n02_wrapping_folders_are_entered_and_change_nothing(root: Path, tmp_path: Path) -> None:
    write(root, daisy=5, rose=5)
    shutil.copytree(root, tmp_path / "wrapped" / "archive" / "flower_photos")
    draw(tmp_path / "wrapped" / "cover.png")
    plain, wrapped = read(root), read(tmp_path / "wrapped")
    assert wrapped.understanding.left_out == {LOOSE: ["cover.png"]}
    assert wrapped.understanding.rule.startswith("The folders in archive/flower_photos/ are the classes")
    for split in ("train", "test"):
        assert wrapped.load(split).names == plain.load(split).names, "the same pictures are drawn"
        assert wrapped.load(split).fingerprint == plain.load(split).fingerprint


def test_n02_folders_of_annotations_are_not_classes(root: Path) -> None:
    write(root, images__cat=5, images__dog=5)
    (root / "annotations" / "cat").mkdir(parents=True)
    (root / "annotations" / "cat" / "1.xml").write_text("<xml/>")
    assert set(counts(root)["train"]) == {"cat", "dog"}
    assert read(root).understanding.left_out[EMPTY] == ["annotations"]


def test_n02_pictures_one_folder_deeper_in_all_classes(root: Path) -> None:
    write(root, train__cat__images=2, train__dog__images=3, test__cat=1, test__dog=1)
    assert counts(root) == {"train": {"cat": 2, "dog": 3}, "test": {"cat": 1, "dog": 1}}


@pytest.mark.parametrize("layout", ["classes", "splits"])
def test_n02_pictures_deeper_in_some_classes_are_settled_by_an_option(root: Path, layout: str) -> None:
    top = "train__" if layout == "splits" else ""
    write(root, **{f"{top}cat__persian": 2, f"{top}cat": 3, f"{top}dog": 5})
    with pytest.raises(
        AmbiguousDataError, match=rf"cat/ holds folders with pictures in them \(persian/\)(.|\n)*{layout}"
    ):
        read(root)
    assert sum(found["cat"] for found in counts(root, layout=layout).values()) == 5
    leaves = counts(root, layout="leaves")
    assert set(leaves["train"]) == {"cat", "cat/persian", "dog"}


def test_n05_runs_are_never_data(root: Path) -> None:
    write(root, cat=5, dog=5)
    before = counts(root)
    write(root, runs__quick__figures=2, runs__x_seeds=1, runs__x_seeds__seed_0__figures=1, explanations=3)
    for run in ("quick", "x_seeds", "x_seeds/seed_0"):
        (root / "runs" / run / "recipe.toml").write_text("")
    (root / "explanations" / "explanations.html").write_text("")
    assert counts(root) == before
    assert read(root).understanding.left_out == {OURS: ["explanations", "runs/quick", "runs/x_seeds"]}
    with pytest.raises(DataError, match=r"No pictures in .*runs \(left out, written by cifarlab: 2\)"):
        read(root / "runs")


def test_n06_litter_of_systems_is_left_out_and_said(root: Path) -> None:
    write(root, cat=3, dog=3)
    for name in ("cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/1.png", "@eaDir/1.png"):
        draw(root / name)
    (root / "lost+found").mkdir()
    (root / "labels").mkdir()
    assert counts(root) == {"train": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}}
    found = read(root).understanding.left_out
    assert found == {SYSTEM: ["$RECYCLE.BIN", "@eaDir", "cat/@eaDir", "lost+found"], EMPTY: ["labels"]}


def test_n07_a_class_called_train_is_known_by_what_lies_inside(root: Path) -> None:
    write(root, bus=5, car=5, plane=5, train=5)
    assert counts(root)["train"] == dict.fromkeys(("bus", "car", "plane", "train"), 4)
    for name in ("bus", "car", "plane", "train"):
        (root / name).rename(root / "images")
        (root / name).mkdir()
        (root / "images").rename(root / name / "images")
    assert counts(root)["train"] == dict.fromkeys(("bus", "car", "plane", "train"), 4)


def test_n07_a_folder_called_train_that_holds_folders_beside_classes(root: Path) -> None:
    write(root, bus=5, train__electric=5, train__steam=5)
    with pytest.raises(AmbiguousDataError, match="train/ may be splits, or classes, like bus/") as caught:
        read(root)
    assert "--layout splits or --layout classes" in str(caught.value)
    assert counts(root, layout="splits") == {"train": {"electric": 5, "steam": 5}}
    assert read(root, layout="splits").understanding.left_out == {BESIDE: ["bus"]}
    assert counts(root, layout="classes")["train"] == {"bus": 4, "train": 8}


@pytest.mark.parametrize("name", ["test", "val", "dev", "training", "Testing"])
def test_n07_a_folder_called_like_another_split_may_hold_unlabelled_pictures(root: Path, name: str) -> None:
    write(root, cat=5, dog=5, **{name: 5})
    with pytest.raises(AmbiguousDataError, match="--layout splits or --layout classes"):
        read(root)
    assert set(counts(root, layout="classes")["train"]) == {"cat", "dog", name}


def test_n08_look_alikes_across_splits(root: Path) -> None:
    write(root, train__Cat=2, train__dog=2, test__cat=1, test__dog=1)
    with pytest.raises(AmbiguousDataError, match="look alike: 'Cat' and 'cat'"):
        read(root)


def test_n08_names_that_are_shown_alike(root: Path) -> None:
    for name in ("a\nb", "a\\nb"):
        draw(root / name / "1.png")
    with pytest.raises(AmbiguousDataError, match="look alike"):
        read(root)


def test_class_folders_that_hold_splits(root: Path) -> None:
    write(root, cat__train=3, cat__test=1, dog__train=2, dog__test=2)
    assert counts(root) == {"train": {"cat": 3, "dog": 2}, "test": {"cat": 1, "dog": 2}}
    assert read(root).understanding.settled["layout"] == "class-first"
    write(root, owl=3)
    with pytest.raises(AmbiguousDataError, match="--layout class-first"):
        read(root)
    assert read(root, layout="class-first").understanding.left_out == {BESIDE: ["owl"]}


def test_a_split_without_class_folders_is_left_out_but_for_train(root: Path) -> None:
    write(root, train__cat=2, train__dog=2, test=3)
    assert counts(root) == {"train": {"cat": 2, "dog": 2}}
    assert read(root).understanding.left_out == {UNLABELLED: ["test/0.png", "test/1.png", "test/2.png"]}
    shutil.rmtree(root)
    write(root, train=3, test__cat=2, test__dog=2)
    with pytest.raises(AmbiguousDataError, match="train/, test/ may be splits, or classes"):
        read(root)


def test_splits_are_named_by_an_option(root: Path) -> None:
    write(root, learn__cat=2, learn__dog=2, check__cat=1, check__dog=1)
    with pytest.raises(AmbiguousDataError, match="--split-names"):
        read(root)
    named = {"train": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}}
    assert counts(root, split_names="train=learn,test=check") == named
    wrapped = root.rename(root.with_name("inner"))
    outer = root / "photos"
    outer.mkdir(parents=True)
    wrapped.rename(outer / "inner")
    assert counts(root, split_names="train=learn,test=check") == named
    assert counts(root, split_names="train=photos/inner/learn,test=photos/inner/check/") == named
    assert counts(root, split_names="train=learn,test=") == {"train": named["train"]}
    for same in ("train=photos,test=photos", "train=photos/inner,test=photos/inner/check"):
        with pytest.raises(DataError, match="train and test would have pictures in common"):
            read(root, split_names=same)
    with pytest.raises(DataError, match=r"has no folder lern with pictures to be its train split\.\nIt has: "):
        read(root, split_names="train=lern")
    with pytest.raises(RecipeError, match="train=NAME"):
        read(root, split_names="learn")


def test_a_split_that_is_not_wanted(root: Path) -> None:
    write(root, train__cat=2, train__dog=2, val__cat=1, val__dog=1, test__cat=1, test__dog=1)
    assert read(root, split_names="val=").splits == ("train", "test")
    assert read(root, split_names="val=").understanding.left_out == {BESIDE: ["val"]}


def test_an_option_that_fits_nothing(root: Path) -> None:
    write(root, cat=2, dog=2)
    with pytest.raises(DataError, match=r"no folder that is called like a split. It has: cat/, dog/"):
        read(root, layout="splits")
    with pytest.raises(UsageError, match="leave one of them out"):
        read(root, layout="classes", split_names="train=cat")
    with pytest.raises(DataError, match="no class folders with splits in them"):
        read(root, layout="class-first")


@pytest.mark.parametrize(
    ("folders", "later"),
    [
        ("train__cat train__dog test__cat test__dog", "val__cat val__dog dev__cat training_set__cat holdout__dog"),
        ("photos__seg_train__seg_train__cat photos__seg_train__seg_train__dog", "photos__val__cat train__cat seg__dog"),
        ("photos__cat photos__dog", "train__cat val__cat more"),
        ("cat__train dog__train", "cat__val dog__crops"),
        ("cat__Train cat__val dog__Train", "cat__dev"),
    ],
)
def test_what_was_settled_stays_when_folders_appear_later(root: Path, folders: str, later: str) -> None:
    first = read(write(root, **dict.fromkeys(folders.split(), 5)))
    images = {split: first.load(split) for split in first.splits}
    write(root, **dict.fromkeys(later.split(), 2))
    settled = first.understanding.settled
    again = open_folder(Path(settled["source"]), data_spec(**settled), root.parent / "cache")
    assert again.splits == first.splits and again.understanding.counts == first.understanding.counts
    assert all(again.load(split).fingerprint == images[split].fingerprint for split in images)


def test_a_test_split_may_come_later(root: Path) -> None:
    write(root, train__cat=3, train__dog=3)
    settled = read(root).understanding.settled
    assert settled["split_names"] == "train=train,val="
    write(root, test__cat=1, test__dog=1)
    assert open_folder(root, data_spec(**settled), root.parent / "cache").splits == ("train", "test")


def test_names_with_commas_are_settled(root: Path) -> None:
    for name in ("train, clean", 'train "a"'):
        write(root, **{f"{name}__cat": 2, f"{name}__dog": 1})
    settled = read(root, split_names='"train=train, clean","test=train ""a"""').understanding.settled
    assert open_folder(root, data_spec(**settled), root.parent / "cache").splits == ("train", "test")


def test_n01_a_word_that_is_shared_is_only_left_out_where_no_name_is_a_split_by_itself(root: Path) -> None:
    """Without "train", which both names have, nothing would be left of train and only "small" of the other."""
    write(root, train__cat=2, train__dog=2, small_train__cat=1, small_train__dog=1)
    with pytest.raises(AmbiguousDataError, match=r"train/ may be splits, or classes, like small_train/"):
        read(root)
    assert counts(root, split_names="train=train,test=small_train") == {
        "train": {"cat": 2, "dog": 2},
        "test": {"cat": 1, "dog": 1},
    }


def test_n02_classes_of_which_some_have_folders_inside_are_not_guessed(root: Path) -> None:
    write(root, cat=2, dog=2, bird__white=1, bird__grey=1)
    with pytest.raises(AmbiguousDataError, match=r"can be read in two ways: .*bird.* holds folders with pictures"):
        read(root)
