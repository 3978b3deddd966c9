"""The page as a whole: all its parts, nothing from outside, every name as text, and what is left of a damaged run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cifarlab
from cifarlab.errors import CheckpointError
from cifarlab.evaluation import predictions
from cifarlab.images.archives.official import CIFAR10_NAMES
from cifarlab.images.images import Images
from cifarlab.pages.report import write as module
from cifarlab.pages.report.write import write_report
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.section import ReferenceSpec
from cifarlab.runs.folder import Run

FIGURES = ("confusion_matrix.png", "curves.png", "mistakes.png", "per_class.png", "predictions.png", "reliability.png")

SECTIONS = [
    "Result",
    "What to try next",
    "Learning curves",
    "Confusion matrix",
    "Per-class results",
    "Predictions",
    "Mistakes and close calls",
    "Calibration",
    "Explanations",
    "Recipe",
    "Reproduce this run",
]

HOSTILE = (
    "<script>alert(1)</script>",
    "\"quotes\" & 'more' <b>",
    "cat 🐱",
    "x" * 300,
    "{{ 7 * 7 }}",
    "猫\u202eevil\x1b[31m",
)


def test_every_part_is_there(make_run, read) -> None:
    run = make_run()
    page = read(write_report(run))
    assert page.headings == SECTIONS
    assert sorted(path.name for path in run.figures.iterdir()) == sorted(FIGURES)
    for path in run.figures.iterdir():
        with Image.open(path) as image:
            image.load()
    accuracy = run.evaluation("test")["accuracy"]
    for text in (
        f"{100 * accuracy:.1f} %",
        "test accuracy on 300 images",
        "100 images of train",
        "once: ",
        "SHA-256: train aaaaaaaaaaaaaaaa…",
        "Reported by the source 68.0 %",
        "12,345 parameters",
        "early stopping",
        "best, epoch 2",
        "cifarlab train simple-cnn --set 'name=a b'",
        f"Git commit {'f' * 40}, with uncommitted changes",
        "Before temperature",
        "After temperature: calibration error",
    ):
        assert text in page.text, text


def test_no_figure_repeats_the_title_of_its_section(make_run, read) -> None:
    path = write_report(make_run())
    captions = re.findall("<figcaption>(.*?)</figcaption>", path.read_text("utf-8"))
    assert len(captions) > 6 and not set(captions) & set(read(path).headings)


def test_nothing_comes_from_outside_and_it_stays_small(make_run, read) -> None:
    path = write_report(make_run())
    page = read(path)
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        if tag in ("link", "base", "iframe", "object", "embed"):
            assert (tag, attributes["href"]) == ("link", "data:,")
    text = path.read_text("utf-8")
    assert "@import" not in text and "url(" not in text
    assert path.stat().st_size < 5e6


def test_every_picture_and_chart_is_described(make_run, read) -> None:
    page = read(write_report(make_run()))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    charts = [attributes for tag, attributes in page.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(pictures) > 100 and all(attributes["alt"] for attributes in pictures)
    assert len(charts) == 7 and all(len(attributes["aria-label"]) > 20 for attributes in charts)


def test_names_are_text_whatever_is_in_them(make_run, read) -> None:
    page = read(write_report(make_run(HOSTILE)))
    assert page.count("script") == 2 and page.count("b") == 0
    assert not [attributes for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for name in HOSTILE[:5]:
        assert name in page.text
    assert "49" not in page.headings and "猫\\u202eevil\\x1b[31m" in page.text


def test_a_hostile_recipe_and_manifest_are_text(make_run, recipe: Recipe, read) -> None:
    run = make_run()
    reference = recipe.reference.model_copy(update={"title": "<i>t</i>", "url": "javascript:alert(1)"})
    run.write_recipe(recipe.model_copy(update={"description": "<u>d</u>", "reference": reference}))
    run.update_manifest(command=["c", "<script>alert(2)</script>", "\ud800"], ending="</svg><script>x</script>")
    page = read(write_report(run))
    assert page.count("script") == 2 and page.count("i") == page.count("u") == 0
    assert not any(attributes.get("href", "").startswith("javascript") for _, attributes in page.tags)
    assert "<i>t</i>" in page.text and "<u>d</u>" in page.text


def test_a_link_to_the_source_is_a_link(make_run, recipe: Recipe, read) -> None:
    run = make_run()
    reference = recipe.reference.model_copy(update={"url": "https://example.org/?a=1&b=2"})
    run.write_recipe(recipe.model_copy(update={"reference": reference}))
    assert ("a", "https://example.org/?a=1&b=2") in [(t, a.get("href")) for t, a in read(write_report(run)).tags]


def test_a_second_report_is_the_same(make_run) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_a_run_of_one_class_without_mistakes(make_run, read) -> None:
    run = make_run(("only",), 5, 1.0)
    page = read(write_report(run))
    assert "There are no mistakes." in page.text and "No temperature was fitted" in page.text
    assert not (run.figures / "mistakes.png").exists()


@pytest.mark.usefixtures("without_figures")
def test_a_hundred_classes(make_run) -> None:
    path = write_report(make_run(tuple(f"class {number}" for number in range(100)), 1000))
    assert path.stat().st_size < 5e6


def test_a_run_that_only_val_judged(make_run, recipe: Recipe, tmp_path: Path, read, make_images, judge_made_up) -> None:
    run = Run.create(tmp_path, "only-val")
    run.write_recipe(recipe)
    judge_made_up(run, "val", *make_images(("cat", "dog"), 50))
    run.update_manifest(status="complete")
    run.write_metrics([])
    page = read(write_report(run))
    assert "validation accuracy on 50 images" in page.text and "Learning curves" not in page.headings


def test_a_run_that_nobody_judged_says_how_to(tmp_path: Path, recipe: Recipe, read) -> None:
    run = Run.create(tmp_path, "new")
    run.write_recipe(recipe)
    run.update_manifest(status="training")
    run.write_metrics([])
    page = read(write_report(run))
    assert "No split has been evaluated yet" in page.text and "has not ended" in page.text


@pytest.mark.usefixtures("without_figures")
def test_pictures_that_have_files_are_shown_with_their_names(make_run, read) -> None:
    run = make_run(num_images=40)
    assert "file" not in {attributes.get("class") for _, attributes in read(write_report(run)).tags}
    stored = predictions.read(run.predictions_file("test"))
    names = [f"folder/photo-{number}.jpg" for number in range(40)]
    predictions.write(run.predictions_file("test"), stored.labels, stored.logits, names)
    page = read(write_report(run))
    files = [attributes for tag, attributes in page.tags if tag == "span" and attributes.get("class") == "file"]
    assert len(files) >= 40 and all(f"photo-{number}.jpg" in page.text for number in range(40))


# Cautions


def test_other_pixels_and_repeated_openings_are_pointed_out(make_run, read) -> None:
    run = make_run()
    run.open_test("again")
    run.update_manifest(data={**run.manifest["data"], "original": False, "skipped": 3})
    page = read(write_report(run))
    assert "not the published ones" in page.text and "opened 2 times" in page.text
    assert "3 training images could not be read" in page.text


def test_n16_what_is_questionable_about_the_data_has_a_section(make_run, read) -> None:
    run, text = make_run(), "18 of 18 test images are also in train: <b>.png = c.png."
    assert "Data quality" not in read(write_report(run)).headings  # of a run that did not look
    warnings = [{"kind": "copies across splits", "text": text, "names": [], "counts": {}}]
    run.update_manifest(data={**run.manifest["data"], "warnings": warnings, "test_compared": True})
    page = read(write_report(run))
    assert "Data quality" in page.headings and text in page.text
    assert "training images, validation images and test images were checked pixel by pixel" in page.text
    run.update_manifest(data={**run.manifest["data"], "warnings": [], "test_compared": False})
    page = read(write_report(run))
    assert "No image has a copy" in page.text and "The test images were not checked" in page.text


def test_n17_unequal_classes_have_the_balanced_accuracy_beside_the_accuracy(
    tmp_path: Path, recipe: Recipe, read, judge_made_up
) -> None:
    run = Run.create(tmp_path, "unequal")
    run.write_recipe(recipe)
    labels = np.repeat(np.arange(2), (30, 10))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    images = Images(pixels, labels.astype(np.int64), ("ok", "defect", "other"))
    judge_made_up(run, "test", images, np.eye(3, dtype=np.float32)[np.repeat([0, 1, 0], (30, 5, 5))])
    run.update_manifest(status="complete")
    run.write_metrics([])
    page = read(write_report(run))
    assert "Balanced accuracy 75.0 % (95 % interval 60.7 to 88.2), the mean over classes; 75.0 %" in page.text
    assert "other – – – 0" in page.text and "50.0 % (23.7 to 76.3)" in page.text


def test_n24_of_many_classes_the_page_shows_the_best_and_the_worst(make_run, read) -> None:
    page = read(write_report(make_run(tuple(f"class {number}" for number in range(60)), 600)))
    assert "Shown are the 20 best and the 20 worst of 60 classes; all are in evaluation-test.csv." in page.text


def test_n35_the_page_says_where_validation_comes_from(make_run, read) -> None:
    run = make_run()
    data = run.manifest["data"]
    sentences = {
        "source": "the data set's own validation split, 100 images, selected the epoch",
        "held out": "100 images of train, stratified by class (seed 0), were held out to select the epoch",
    }
    for val_from, text in sentences.items():
        run.update_manifest(data={**data, "val_from": val_from})
        assert text in read(write_report(run)).text


def test_n18_other_images_that_were_evaluated_are_not_openings_of_the_test_split(make_run, read) -> None:
    run = make_run()
    run.open_test("look", "/data/new")
    text = read(write_report(run)).text
    assert "Test split opened once" in text and "opened 2 times" not in text


# Damage

LOST = {
    "manifest.json": {"Data", "cifarlab train simple-cnn --set"},
    "metrics.csv": {"Loss from"},
    "recipe.toml": {"The complete recipe"},
    "test-ledger.jsonl": {"once: "},
    "evaluation-test.json": {"test accuracy on"},
    "predictions-test.parquet": {"Before temperature"},
    "examples-test.parquet": {"Most confident mistakes"},
    "details-test.parquet": {"This map fails its test"},
}


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time, and other tests look at it."""
    monkeypatch.setattr(module, "write_figures", lambda *_: None)


def cut(path: Path) -> None:
    """In the middle of the file and of a line, where a recipe is not complete by chance."""
    content = path.read_bytes()
    start = content.rfind(b"\n", 0, len(content) // 2)
    path.write_bytes(content[: start + 3])


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff\x00nonsense {[" * 20)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (file, damage)
        for file in LOST
        for damage in (cut, scramble, replace_by_folder, empty, Path.unlink)
        # no damage: the test split is sealed, or the network has not looked closer at its images
        if (file != "test-ledger.jsonl" or damage not in (empty, Path.unlink))
        and (file != "details-test.parquet" or damage != Path.unlink)
    ],
)
def test_damage_is_named_and_the_rest_is_shown(make_run, file: str, damage, read) -> None:
    run = make_run(num_images=40)
    damage(run.path / file)
    with pytest.raises(CheckpointError, match=file.replace(".", r"\.")) as caught:
        write_report(run)
    assert caught.value.exit_code == 4 and len(str(caught.value).splitlines()) <= 6
    page = read(run.path / "report.html")
    assert file in page.text, "the page itself says what is missing"
    assert {"Result", "Reproduce this run"} <= set(page.headings)
    if file != "evaluation-test.json":
        assert "test accuracy on 40 images" in page.text
    kept = [text for other, texts in LOST.items() if other != file for text in texts]
    lost = 1 + 6 * (file == "evaluation-test.json") + 2 * (file == "manifest.json")
    lost += file in ("examples-test.parquet", "predictions-test.parquet")  # without which no image can be chosen
    said = page.text + run.report_file.read_text("utf-8")
    assert sum(text in said for text in kept) >= len(kept) - lost


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("manifest.json", ("data",), "none"),
        ("manifest.json", ("data", "num_train"), "many"),
        ("manifest.json", ("best_epoch",), 1.5),
        ("manifest.json", ("versions",), [1]),
        ("manifest.json", ("command",), {"a": 1}),
        ("evaluation-test.json", ("accuracy",), 0.1),
        ("evaluation-test.json", ("accuracy",), "high"),
        ("evaluation-test.json", ("class_names",), ["a"]),
        ("evaluation-test.json", ("confusion_matrix",), [[1]]),
        ("evaluation-test.json", ("num_images",), 41),
        ("evaluation-test.json", ("most_confused", 0, "label"), "nobody"),
        ("evaluation-test.json", ("per_class",), []),
    ],
)
def test_edited_values_are_not_believed(make_run, file: str, path: tuple, value: object, read) -> None:
    run = make_run(num_images=40)
    values = json.loads((run.path / file).read_text())
    target = values
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    (run.path / file).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=file):
        write_report(run)
    assert file in read(run.path / "report.html").text


def test_tables_of_another_run_do_not_fit(make_run) -> None:
    run, other = make_run(num_images=40), make_run(num_images=50)
    for name in ("predictions-test.parquet", "examples-test.parquet"):
        (run.path / name).write_bytes((other.path / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"predictions-test.parquet does not fit"):
        write_report(run)


def test_a_cut_figure_is_left_out(make_run, read) -> None:
    run = make_run(num_images=40)
    write_report(run)
    picture = (run.figures / "curves.png").read_bytes()
    (run.figures / "feature_maps.png").write_bytes(picture)
    (run.figures / "grad_cam.png").write_bytes(picture[: len(picture) // 2])
    with pytest.raises(CheckpointError, match=r"grad_cam\.png"):
        write_report(run)
    page = read(run.path / "report.html")
    assert "Feature maps" in page.text and any("Feature maps" in a.get("alt", "") for _, a in page.tags)


# What it loads


def test_a_report_loads_no_torch(make_run) -> None:
    run = make_run(tuple(f"class {number}" for number in range(10)), 10_000)
    program = (
        "import sys; from cifarlab.cli.main import run; code = run(['report', sys.argv[1]]); "
        "print(code, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run.path)],
        env={**os.environ, "PYTHONPATH": str(Path(cifarlab.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    path, names = done.stdout.splitlines()
    assert path.startswith(str(run.path / "report.html")) and names.startswith("0 ")
    assert not {"torch", "torchvision", "timm", "sklearn", "tensorboard"} & set(names.split())


SHIPPED = "the source reports on CIFAR-10"


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("original", "tested", "source", "reason"),
    [
        (True, True, "cifar10", ""),
        (True, True, "sample", "the sample is a small part of those images"),
        (False, True, "cifar10", "these are not the published pixels"),
        (True, False, "cifar10", "these are not the published pixels"),
        (None, True, "pics", "these are other images"),
        (True, None, "cifar10", "these are other images"),
    ],
)
def test_n63_a_published_figure_is_compared_or_said_to_be_no_comparison(
    make_run, recipe: Recipe, original: bool | None, tested: bool | None, source: str, reason: str
) -> None:
    run = make_run()
    reference = ReferenceSpec(title="A paper", reported_accuracy=0.5)
    data = recipe.data.model_copy(update={"source": source})
    run.write_recipe(recipe.model_copy(update={"reference": reference, "data": data}))
    run.update_data_facts(original=original)
    run.write_evaluation("test", {**run.evaluation("test"), "original": tested})
    page = write_report(run).read_text("utf-8")
    assert ("points above" in page or "points below" in page) == (not reason)
    assert ("this run, test" in page) == (not reason)
    assert f"not comparable: {reason}" in page if reason else "not comparable" not in page
    assert ("published accuracies cannot be compared" in page) == (False in (original, tested))


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("names", "reason"), [(CIFAR10_NAMES, ""), (CIFAR10_NAMES[:9], SHIPPED)])
def test_figures_of_shipped_recipes_are_about_cifar10(make_run, names: tuple[str, ...], reason: str) -> None:
    page = write_report(make_run(names)).read_text("utf-8")
    assert ("points above" in page or "points below" in page) == (not reason)
    assert f"not comparable: {reason}" in page if reason else "not comparable" not in page


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("source", "name"),
    [("cifar10", "CIFAR-10"), ("sample", "a sample of CIFAR-10"), ("/data/my <photos>/", "my <photos>"), ("..", "..")],
)
def test_the_title_has_the_name_of_the_data_set(make_run, recipe: Recipe, read, source: str, name: str) -> None:
    run = make_run(num_images=40)
    run.write_recipe(recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})}))
    assert f"simple-cnn on {name}" in read(write_report(run)).text
