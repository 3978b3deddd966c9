"""What objects show of themselves: one line everywhere, and a small, self-contained piece of HTML in a notebook."""

from __future__ import annotations

import base64
import io
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cifarlab
from cifarlab import shown
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.explanation.files import Explained, explain_files
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier, Prediction, inference_runtime
from cifarlab.inference.model_file import untrained_card
from cifarlab.inference.pictures import FilePredictions
from cifarlab.models.registry import build_network
from cifarlab.recipe.schema import ModelSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.studies.compare.compare import compare

HOSTILE = "<script>alert('owl')</script> 🦉\x1b[31m\u202e"
NAMES = ("cat", "dog", HOSTILE)
VOID = {"img", "meta", "br", "rect", "line", "path", "circle"}

MakeRun = Callable[..., Run]


class Seen(HTMLParser):
    """What a browser would make of a piece of HTML; it fails for tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data.replace("\N{NO-BREAK SPACE}", " ") + " "


def see(thing: object) -> Seen:
    """The HTML of an object, checked for what holds for all: one part, nothing from outside, no script, no control."""
    html = thing._repr_html_()
    seen = Seen(html)
    assert seen.tags[0] == ("div", {"class": "cifarlab"})
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in seen.tags}
    for _, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "href" not in attributes
    assert "url(" not in html and "@import" not in html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", html)
    html.encode("utf-8")
    return seen


@pytest.fixture
def images() -> Images:
    random = np.random.default_rng(0)
    return Images(random.integers(0, 256, (60, 3, 8, 8), np.uint8), np.arange(60) % 3, NAMES, note="made up")


@pytest.fixture
def classifier() -> Classifier:
    spec = ModelSpec(name="simple-cnn")
    runtime = inference_runtime("cpu", kernels=False)
    return Classifier(build_network(spec, 3, 16), untrained_card(spec, NAMES, 16), runtime)


# One line


def test_the_lines_say_what_a_person_needs(make_run: MakeRun, images: Images, tmp_path: Path) -> None:
    run = make_run("first", range(30))
    evaluation = read_evaluation(run, "test")
    assert evaluation is not None and evaluation.num_images == 300
    line = f"{100 * evaluation.accuracy:.1f} % ({100 * evaluation.accuracy_interval[0]:.1f} to "
    line += f"{100 * evaluation.accuracy_interval[1]:.1f})"
    assert repr(run) == f"Run({str(run.path)!r}, test {line})"  # the made-up manifest has no status
    run.update_manifest(status="complete")
    assert repr(run) == f"Run({str(run.path)!r}, complete, test {line})"
    assert repr(evaluation) == f"Evaluation(test, 300 images, accuracy {line})"
    second = make_run("second", range(60))
    assert repr(compare([run.path, second.path])) == (
        "Comparison(test: 'first' 90.00 % (86.1 to 92.9), 'second' 80.00 % (75.1 to 84.1))"
    )
    assert repr(images) == f"Images(60 of 8 × 8 pixels, 3 classes: 'cat', 'dog', {HOSTILE!r})"
    assert repr(load_recipe("quick")) == "Recipe('quick', speednet on 'sample', 45 epochs, seed 0)"


def test_the_line_of_what_a_network_says(classifier: Classifier) -> None:
    assert repr(classifier) == "Classifier(simple-cnn, 3 classes, trained by 'untrained', on cpu)"
    prediction = Prediction("a\nb.png", "cat", 0.75, (("cat", 0.75), (HOSTILE, 0.25)))
    assert repr(prediction) == f"Prediction('a\\nb.png': 'cat' 75.0 %, {HOSTILE!r} 25.0 %)"


@pytest.mark.parametrize("thing", ["first", "<b>\n\x1b[31m"])
def test_every_line_is_one_line_without_control_characters(thing: str, images: Images, classifier: Classifier) -> None:
    prediction = Prediction(thing, HOSTILE, 1.0, ((HOSTILE, 1.0),))
    for each in (Run(Path(thing)), images, prediction, classifier, Explained([], [thing])):
        assert repr(each).isprintable() and len(repr(each)) < 300


@pytest.mark.parametrize(
    ("status", "word"),
    [("training", "not finished"), ("trained", "trained, not complete"), ("complete", "complete"), ("diverged",) * 2],
)
def test_the_line_of_a_run_says_how_far_it_came(make_run: MakeRun, status: str, word: str) -> None:
    run = make_run("try")
    run.update_manifest(status=status)
    assert repr(run).startswith(f"Run({str(run.path)!r}, {word}, test 100.0 % (")
    run.evaluation_file("test").unlink()
    assert repr(run) == f"Run({str(run.path)!r}, {word})"
    run.manifest_file.unlink()
    assert repr(run) == f"Run({str(run.path)!r}, not started)"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"accuracy": "high"}', '{"accuracy": 0.5}', "[" * 100_000])
def test_a_damaged_run_has_a_line_and_html_too(make_run: MakeRun, content: str) -> None:
    run = make_run("try")
    run.evaluation_file("test").write_text(content)
    assert repr(run) == f"Run({str(run.path)!r}, damaged)"
    assert run.evaluation_file("test").name in see(run).text
    run.manifest_file.write_text(content if content != '{"accuracy": 0.5}' else '{"status": 3}')
    assert "damaged" in repr(run)
    assert "evaluation-test.json" in see(run).text or "manifest.json" in see(run).text


def test_a_folder_that_is_not_a_run_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path / "nothing" / HOSTILE)
    assert repr(run).endswith("not a run folder)")
    assert "is not a run folder" in see(run).text


def test_the_line_of_a_study(make_group: MakeRun) -> None:
    group = make_group("try-seeds", [30, 60])
    assert repr(group) == f"Run({str(group.path)!r}, several seeds, 2 finished)"
    values = {"runs": ["seed-0", "seed-1"], "test_accuracy": {"mean": 0.85, "sd": 0.0707, "n": 2}}
    group.write_study("seeds.json", values)
    assert repr(group) == f"Run({str(group.path)!r}, several seeds, 2 finished, test 85.0 ± 7.1 %)"


# HTML


def test_a_run_shows_its_number_its_curves_and_its_report(make_run: MakeRun) -> None:
    run = make_run("try", range(30))
    seen = see(run)
    assert "90.0 %" in seen.text and "test accuracy on 300 images, 95 % interval 86.1 to 92.9 %" in seen.text
    labels = [attributes["aria-label"] for tag, attributes in seen.tags if tag == "svg" and "aria-label" in attributes]
    assert [label.partition(":")[0] for label in labels] == ["Accuracy", "Loss"]
    assert "none yet: cifarlab.report(run) writes it" in seen.text
    run.report_file.write_text("<p>")
    assert str(run.report_file) in see(run).text


def test_a_run_that_has_just_begun_shows_what_it_is(make_run: MakeRun) -> None:
    run = make_run("try")
    for path in (run.evaluation_file("test"), run.metrics_file):
        path.unlink()
    run.update_manifest(status="training")
    text = see(run).text
    assert "cifarlab.resume continues it" in text and "No split has been evaluated yet" in text
    run.manifest_file.unlink()
    assert "simple-cnn" in see(run).text


def test_a_group_shows_mean_deviation_and_each_seed(make_group: MakeRun) -> None:
    text = see(make_group("try-seeds", [30, 60])).text
    assert "85.0 % ± 7.1" in text and "over 2 seeds" in text
    assert "90.0 % (86.1 to 92.9)" in text and "80.0 % (75.1 to 84.1)" in text


def test_another_study_lists_its_runs(make_run: MakeRun, make_group: MakeRun) -> None:
    group = make_group("try", [30, 60])
    shutil.move(group.path / "seeds.json", group.path / "ablation.json")
    assert repr(group) == f"Run({str(group.path)!r}, an ablation)"
    assert "an ablation" in see(group).text and "seed-0, seed-1" in see(group).text


def test_an_evaluation_has_a_row_with_an_interval_for_each_class(make_run: MakeRun) -> None:
    evaluation = read_evaluation(make_run("try", range(30)), "test")
    assert evaluation is not None
    seen = see(evaluation)
    assert [tag for tag, _ in seen.tags].count("tr") == 1 + len(NAMES)
    for each in evaluation.per_class:
        assert each.recall_interval is not None and each.recall is not None
        low, high = each.recall_interval
        assert f"{100 * each.recall:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in seen.text
    assert "<script>alert('owl')</script>" in seen.text  # as text


def test_a_class_without_images_has_a_dash(make_run: MakeRun) -> None:
    evaluation = read_evaluation(make_run("try", num_images=2), "test")
    assert evaluation is not None and evaluation.per_class[2].recall is None
    assert "–" in see(evaluation).text


def pictures(seen: Seen) -> list[np.ndarray]:
    sources = [attributes["src"] for tag, attributes in seen.tags if tag == "img"]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))) for source in sources]


def test_images_show_some_of_each_class_exactly(images: Images) -> None:
    seen = see(images)
    shown_pixels = pictures(seen)
    assert len(shown_pixels) == 9  # three of each
    for number, found in enumerate(shown_pixels):
        of_class = images.pixels[images.labels == number // 3].transpose(0, 2, 3, 1)
        assert (of_class == found).all(axis=(1, 2, 3)).any()
    assert "60 images of 8 × 8 pixels" in seen.text and "made up" in seen.text


@pytest.mark.parametrize("num_classes", [1, 10, 11, 100])
def test_images_of_many_classes_show_one_row(num_classes: int) -> None:
    labels = np.arange(200) % num_classes
    made = Images(np.zeros((200, 3, 8, 8), np.uint8), labels, tuple(f"class {n}" for n in range(num_classes)))
    assert len(pictures(see(made))) == 10


def test_no_images_show_nothing_but_their_number() -> None:
    empty = Images(np.zeros((0, 3, 8, 8), np.uint8), np.zeros(0, np.int64), ("cat",))
    assert not pictures(see(empty)) and "0 images" in see(empty).text
    assert repr(empty) == "Images(0 of 8 × 8 pixels, 1 class: 'cat')"


def test_a_recipe_shows_what_matters_and_has_the_rest_at_hand() -> None:
    text = see(load_recipe("quick")).text
    assert "speednet" in text and "10 % of train for validation" in text and "[augmentation]" in text


def test_a_comparison_shows_conclusions_and_numbers(make_run: MakeRun) -> None:
    found = compare([make_run("first", range(30)).path, make_run("second", range(60)).path])
    text = see(found).text
    assert found.claim(found.pairs[0]).replace(" %", " %") in text
    assert "90.00 % (86.1 to 92.9)" in text and "80.00 % (75.1 to 84.1)" in text


def test_a_classifier_and_its_predictions_show_themselves(classifier: Classifier, images: Images) -> None:
    assert "simple-cnn" in see(classifier).text and "cat, dog" in see(classifier).text
    predictions = classifier.predict(list(images.pixels[:2]))
    seen = see(predictions[0])
    assert "image 0" in seen.text and f"{100 * predictions[0].probability:.1f} %" in seen.text
    text = see(FilePredictions(predictions, ["x.png: it is <b>damaged</b>"])).text
    assert "image 1" in text and "x.png: it is <b>damaged</b>" in text


def test_an_explanation_shows_the_image_and_its_maps(classifier: Classifier, images: Images, tmp_path: Path) -> None:
    Image.fromarray(images.pixels[0].transpose(1, 2, 0)).save(tmp_path / "a.png")
    explained = explain_files(classifier, [tmp_path / "a.png", tmp_path / "b.png"])
    seen = see(explained)
    assert len(pictures(seen)) == 1 + len(explained.explanations[0].maps)
    assert "what speaks for" in seen.text and "b.png" in seen.text
    assert repr(explained).startswith(f"Explained({str(tmp_path / 'a.png')!r} for ") and "1 not read" in repr(explained)


def test_a_path_that_is_not_utf8_can_be_sent(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("try")
    folder = tmp_path / "k\udcf6ter"
    shutil.copytree(run.path, folder)
    assert "ter" in see(Run(folder)).text


# How it is handed down


def test_the_style_stays_within_the_output() -> None:
    css = see_style(load_recipe("quick"))
    selectors = [each for rule in re.findall(r"([^{}]+){", css) for each in rule.split(",")]
    assert len(selectors) > 30 and all(each.strip().startswith(".cifarlab") for each in selectors)


def see_style(thing: object) -> str:
    return re.search(r"<style>(.*?)</style>", thing._repr_html_(), re.DOTALL)[1]


def test_every_class_of_a_chart_has_a_style(make_run: MakeRun, classifier: Classifier, images: Images) -> None:
    """A line without a stroke cannot be seen, and a path without `fill: none` is a black area."""
    run = make_run("try")
    for thing in (run, classifier.predict([images.pixels[0]])[0]):
        css = see_style(thing)
        for tag, attributes in Seen(thing._repr_html_()).tags:
            if tag in ("line", "path", "rect", "circle"):
                assert any(f".{name}" in css for name in attributes.get("class", "row").split()), attributes


def test_importing_the_package_hands_the_drawing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown.drawn_by is cifarlab._draw
    monkeypatch.setattr(shown, "drawn_by", None)
    assert load_recipe("quick")._repr_html_() is None  # a notebook then shows the line


def test_what_has_no_drawing_is_a_fault() -> None:
    class New(shown.Shown):
        pass

    with pytest.raises(TypeError, match="New has no drawing"):
        New()._repr_html_()


@pytest.mark.parametrize("kind", shown.Shown.__subclasses__())
def test_everything_below_drawing_that_shows_itself_is_drawn(kind: type) -> None:
    source = Path(sys.modules["cifarlab.drawing.notebook"].__file__ or "").read_text("utf-8")
    assert f"case {kind.__name__}():" in source
