"""Reports speak the language of the reader: every word on a page and in a figure, whatever the run was trained in.

A made-up language puts each word of every message into brackets; what then stands outside of them is data, or a text
that somebody has forgotten to mark.
"""

from __future__ import annotations

import gettext
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from cifarlab import language
from cifarlab.drawing import grid
from cifarlab.drawing import page as page_module
from cifarlab.drawing.charts import png
from cifarlab.drawing.page import SCRIPTS
from cifarlab.drawing.wording import short
from cifarlab.evaluation import predictions
from cifarlab.evaluation.guessing import guessing
from cifarlab.evaluation.report_text import summary
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.images.images import Images
from cifarlab.images.losses import cropped, white
from cifarlab.images.quality import inspect, left_out
from cifarlab.images.sentences import SENTENCES
from cifarlab.images.source import BESIDE, Understanding
from cifarlab.language import speak
from cifarlab.pages.report import figures
from cifarlab.pages.report.write import write_report
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run

FIELD = re.compile(r"({\w+[^{}]*})")
DATA = (
    *("cat", "dog", "owl", "ship", "frog", "deer", "thing", "x", "made up", "again", "folder-", "photo.png"),
    *("simple-cnn-seeds", "simple-cnn", "seed-", "sample", "mirror", "early", "Grad-CAM", "CIFAR-10", "F1", "UTC"),
    *("cifarlab", "a processor", "bf16", "channels_last", "torch", "cifar10", "test/", ".png", "people.npy"),
)
"""Names, values of recipes and manifests, and words that are the same in every language."""


def bracketed(message: str) -> str:
    """Put everything of a message but its {fields} into brackets."""
    parts = FIELD.split(message)
    return "".join(part if FIELD.fullmatch(part) or not part.strip() else f"⟦{part}⟧" for part in parts)


class Bracketing(gettext.NullTranslations):
    """Translations into the made-up language."""

    def gettext(self, message: str) -> str:
        return bracketed(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return bracketed(msgid1 if n == 1 else msgid2)


def speak_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_spoken", [Bracketing()])


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    speak("en")


def unmarked(texts: list[str], recipe: Recipe) -> set[str]:
    """The words outside of brackets that are no data."""
    reference = (recipe.reference.title, recipe.reference.differences) if recipe.reference else ()
    known = "|".join(re.escape(text) for text in (recipe.description, *reference, *DATA))
    # nor fields that a script fills in, commands and hashes
    data = re.compile(rf"{{\w+}}|cifarlab (evaluate|data verify|train) .*|([a-f])\2{{9,}}|(?<![a-z])({known})")
    bare = [data.sub(" ", re.sub(r"⟦[^⟧]*⟧", " ", text)) for text in texts]
    return {word for text in bare for word in re.findall(r"[^\W\d_]+", text)}


def texts_of(path: Path, read) -> list[str]:
    """What a reader of a page sees, hears and may be told by its script, without code to be copied."""
    html = re.sub("<pre.*?</pre>", "", path.read_text("utf-8"), flags=re.DOTALL)
    page = type(read(path))(html)
    attributes = [found[name] for _, found in page.tags for name in ("title", "alt", "aria-label") if name in found]
    return [*page.pieces, *attributes, *told_by_script(html)]


def told_by_script(html: str) -> Iterator[str]:
    for values in re.findall('<script type="application/json" id="cell-images">(.*?)</script>', html):
        known = json.loads(values)
        yield from known["words"].values()
        for image in known["images"]:
            yield from (each["title"] for each in (image, *image.get("neighbours", ())))
            yield from (image["heat"][name] for name in ("method", "verdict") if "heat" in image)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are drawn into PNG files from here on."""

    def write_png(charts, path: Path) -> None:
        found.extend(text.get_text() for text in png.draw(charts).findobj(Text))

    def shorten(text: str, width: int, font_size: int) -> str:
        found.append(text)
        return text

    found: list[str] = []
    monkeypatch.setattr(figures, "write_png", write_png)
    monkeypatch.setattr(grid, "_shorten", shorten)
    return found


def people(run: Run, path: Path) -> Path:
    """Human labels: everybody finds the label, except for every fourth image."""
    labels = predictions.read(run.predictions_file("test")).labels
    counts = 9 * np.eye(6, dtype=np.int64)[labels]
    counts[::4] += np.eye(6, dtype=np.int64)[(labels[::4] + 1) % 6]
    np.save(path, counts)
    return path


def questionable() -> list[dict]:
    """A warning of every kind."""
    random, names = np.random.default_rng(0), ("cat", "dog", "owl", "ship")

    def make(labels: list[int], **options) -> Images:
        pixels = random.integers(0, 256, (len(labels), 3, 4, 4), dtype=np.uint8)
        return Images(pixels, np.array(labels, np.int64), names, **options)

    train = make([0] * 30 + [1] * 6, skipped=("photo.png: made up",), warnings=("made up",))
    train.pixels[:, 0], train.pixels[30:33], train.pixels[5] = 0, train.pixels[:3], train.pixels[4]
    val, test = make([0, 1]), make([0, 1, 1], names=("test/0.png", "test/1.png", "test/2.png"))
    test.pixels[:2], test.pixels[2] = train.pixels[[0, 31]], train.pixels[0]
    only = Images(train.pixels[:1], train.labels[:1], names)
    found = [
        *left_out(Understanding("folder", "", ("train",), left_out={BESIDE: [f"folder-{n}" for n in range(7)]})),
        *inspect({"train": train, "val": val, "test": test}),
        *inspect({"train": train}, weighted=True),
        *inspect({"train": only}),
    ]
    assert {warning.kind for warning in found} == set(SENTENCES)
    return [warning.to_dict() for warning in found]


STATES: dict[str, dict] = {
    "as it is": {},
    "cautious": {"status": "diverged", "ending": "diverged", "chosen_by_val_accuracy": 0.69},
    "interrupted": {"status": "training", "ending": "time limit", "machine": {"system": "x", "cores": 2}},
}


@pytest.mark.parametrize("state", STATES)
def test_every_word_of_a_report_is_a_message(
    make_run, recipe: Recipe, read, drawn, tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings, run = questionable(), make_run()
    data = {**run.manifest["data"], "warnings": warnings, "test_compared": state == "cautious"}
    data |= {"original": False, "skipped": 3} if state == "cautious" else {}
    run.update_manifest(**STATES[state], data=data)
    speak_in_brackets(monkeypatch)
    if state == "interrupted":
        run.open_test("again")
        run.write_recipe(recipe.set("data.source=sample", "training.start_size=16", "training.hard_share=0.5"))
    else:
        drawn.extend(texts_of(write_report(run, humans=people(run, tmp_path / "people.npy")), read))
    drawn.extend(texts_of(write_report(run), read))
    assert len(drawn) > 500 and unmarked(drawn, recipe) == set()


def test_every_word_of_a_page_over_seeds_is_a_message(
    tmp_path: Path, make_run, recipe: Recipe, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_in_brackets(monkeypatch)
    group = Run.create(tmp_path, "simple-cnn-seeds")
    group.write_recipe(recipe)
    for seed, temperature in enumerate((1.0, 1.5)):
        shutil.move(make_run(num_images=60, temperature=temperature).path, group.path / f"seed-{seed}")
    (group.path / "seeds.json").write_text(
        json.dumps({"runs": ["seed-0", "seed-1"], "diverged": {"seed-2": "made up"}})
    )
    path = write_report(group)
    assert unmarked([*texts_of(path, read), *texts_of(group.path / "seed-0" / "report.html", read)], recipe) == set()


def test_every_word_of_a_report_without_a_result_is_a_message(
    tmp_path: Path, recipe: Recipe, read, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_in_brackets(monkeypatch)
    run = Run.create(tmp_path, "simple-cnn")
    run.write_recipe(recipe)
    run.write_metrics([])
    run.update_manifest(data={"num_train": 5, "warnings": []}, status="training")
    assert unmarked(texts_of(write_report(run), read), recipe) == set()


def test_every_word_of_a_summary_is_a_message(make_run, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    speak_in_brackets(monkeypatch)
    run = make_run(tuple(f"thing {number}" for number in range(50)))
    evaluation = read_evaluation(run, "test")
    assert evaluation is not None
    texts = [summary(evaluation), guessing(0.1, {"cat": 9, "dog": 8}, "val") or ""]
    assert unmarked(texts, recipe) == set()


def test_a_run_is_reported_in_chinese_and_again_in_english(make_run, read) -> None:
    run = make_run()
    english = write_report(run).read_bytes()
    speak("zh")
    page = read(write_report(run))
    assert dict(page.tags)["html"] == {"lang": "zh-CN"}
    assert page.headings[:3] == ["结果", "下一步可以尝试", "学习曲线"]
    assert "早停" in page.text and "训练结束" in page.text and "第 2 轮" in page.text
    speak("en")
    assert write_report(run).read_bytes() == english


def test_warnings_are_said_in_the_language_of_the_reader(make_run, read) -> None:
    run = make_run()
    speak("zh")  # the language of the training
    warnings = questionable()
    speak("en")
    run.update_manifest(data={**run.manifest["data"], "warnings": warnings})
    page = read(write_report(run))
    assert all(
        " ".join(warning["text"].split()) in page.text and not re.search("[一-龟]", warning["text"])
        for warning in warnings
    )
    speak("zh")
    page = read(write_report(run))
    assert "cat 有 30 张训练图像，dog 只有 6 张" in page.text
    assert not any(warning["text"] in page.text for warning in warnings if warning["kind"] != "decoding")


def test_what_decoding_said_is_retold(make_run, read) -> None:
    run = make_run(num_images=40)
    lost = [*white(4080, 4000), *cropped(Counter({(20, 60): 1}), "crop")]
    images = Images(np.zeros((1, 3, 4, 4), np.uint8), np.zeros(1, np.int64), ("cat",), warnings=tuple(lost))
    warnings = [warning.to_dict() for warning in inspect({"test": images}) if warning.kind == "decoding"]
    note = "official structure, but checksums other than the published ones"
    run.update_manifest(data={**run.manifest["data"], "original": False, "note": note, "warnings": warnings})
    english = read(write_report(run)).text
    speak("zh")
    chinese = read(write_report(run)).text
    assert len(lost) == 2 and all(text in english and text not in chinese for text in lost)
    assert f"({note})" in english


@pytest.mark.parametrize("facts", [{}, {"name": []}, {"name": "cat", "more": 1}, {"nam": "cat"}])
def test_warnings_of_older_versions_and_damaged_ones_are_shown_as_they_are(make_run, read, facts: dict) -> None:
    run, text = make_run(num_images=40), "All training images are of one class, {cat}."
    warnings = [{"kind": "one class", "text": text, "facts": facts}, {"kind": "of a later version", "text": "New."}]
    run.update_manifest(data={**run.manifest["data"], "warnings": warnings})
    speak("zh")
    page = read(write_report(run))
    assert text in page.text and "New." in page.text


def test_words_in_a_picture_are_stored_in_english_and_shown_in_the_language_of_the_reader(
    tmp_path: Path, drawn
) -> None:
    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    lines = ["cat 90 %\nis dog", "deletion 0.25\nrandom 0.31"]
    speak("zh")
    picture = grid.render_grid(pixels, lines, 2, scale=1, row_labels=["image"])
    assert drawn == ["cat 90 %", "应为 dog", "删除 0.25", "随机 0.31", "图像"]
    found = grid.description(picture)
    assert found is not None and (found.captions, found.row_labels) == (lines, ["image"])
    assert [grid.said(line) for line in ("channel 3", "channel three", "deletion 30 %", "is it")] == [
        "通道 3",
        "channel three",
        "deletion 30 %",
        "应为 it",
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_say_nothing_of_their_own(script: str) -> None:
    code = Path(page_module.__file__).with_name(script).read_text("utf-8")
    texts = re.findall(r"\b(?:textContent|ariaLabel|title|alt)(?::| =) ([\"`].*)", code)
    assert [text for text in texts if not text.startswith('""')] == []
    literals = re.findall(r'"[^"\n]*"|`[^`\n]*`', code)
    assert len(literals) > 10 and not [text for text in literals if re.search(r"[a-z] [a-z]+ [a-z]", text)]


def test_names_of_wide_letters_are_cut_to_the_room_of_narrow_ones() -> None:
    assert [short(name) for name in ("猫" * 9, "猫" * 10, "x" * 19)] == ["猫" * 9, "猫" * 8 + "…", "x" * 17 + "…"]
