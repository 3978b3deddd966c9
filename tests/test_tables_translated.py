"""What results are shown with is in the language that is spoken, down to the last word: see `pseudo_language`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pseudo_language import bracketed, pseudo_language, seen, untranslated
from rich.cells import cell_len
from torch import nn

from cifarlab.bench.kernels import KERNELS, TORCH, KernelTable, KernelTiming
from cifarlab.bench.time_to_accuracy import TimeToAccuracy, Trained
from cifarlab.bench.timing import Benchmark, Timing
from cifarlab.cli import ablate as ablate_command
from cifarlab.cli import main
from cifarlab.cli.tables import print_benchmark, print_kernels, print_time_to_accuracy
from cifarlab.drawing.notebook import to_html
from cifarlab.evaluation.statistics import Interval
from cifarlab.evaluation.stored import read_evaluation
from cifarlab.explanation.feature_maps import first_filters
from cifarlab.explanation.files import Explained
from cifarlab.explanation.image import explain_image
from cifarlab.explanation.page import explanation_page
from cifarlab.images.describe import aligned, describe, to_text
from cifarlab.images.images import Images
from cifarlab.inference.classifier import Classifier
from cifarlab.inference.model_file import save_model, untrained_card
from cifarlab.inference.pictures import predict_files
from cifarlab.kernels.accelerate import choose_runtime
from cifarlab.language import speak
from cifarlab.models.model import Model
from cifarlab.models.registry import MODELS
from cifarlab.pages.comparison import comparison_page
from cifarlab.recipe.schema import ModelSpec, RuntimeSpec
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.studies.ablate import Ablation, Variant, Worth
from cifarlab.studies.compare.compare import Comparison, compare
from cifarlab.studies.compare.export import to_markdown
from cifarlab.studies.lr_find import read_range_test

MakeRun = Callable[..., Run]

NAMES = ("red", "green", "blue")
MACHINE = {
    "device_name": "chip",
    "device": "cpu",
    "precision": "fp32",
    "memory_format": "channels_last",
    "compile": True,
    "threads": 2,
    "cifarlab": "0.1",
    "torch": "2",
    "onednn": "3.13",
    "python": "3",
}
MACHINE_DATA = ("chip", "cpu", "fp32", "channels_last", "cifarlab", "torch", "Python")


@pytest.fixture(autouse=True)
def _pseudo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(main, "speak_as_the_environment_says", lambda: None)
    monkeypatch.setenv("COLUMNS", "500")  # or brackets would be divided between lines
    with pseudo_language():
        yield


def printed(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main.run([str(word) for word in words]) == code
    return capsys.readouterr().out


def test_words_outside_of_a_catalogue_are_found() -> None:
    assert bracketed("{n:,} images of {name!r}") == "{n:,}⟦ images of ⟧{name!r}"
    assert untranslated("⟦a word⟧ 3.5 % ⟦and⟧ Another cat", "cat") == ["Another"]
    assert seen('<p title="t">a<script>no</script><b>c</b></p>').split() == ["t", "a", "c"]


# Comparisons


@pytest.fixture
def comparison(make_run: MakeRun) -> Comparison:
    """Two runs with pictures of what they get wrong."""
    names = {"names": NAMES, "pictures": True}
    other = {"optimizer": {"lr": 0.2, "nesterov": True}, "training": {"max_minutes": 3.0}}
    runs = [make_run("aa", range(30), **names), make_run("bb", range(20, 60), values=other, **names)]
    return compare([run.path for run in runs])


COMPARED = ("aa", "bb", *NAMES, "optimizer", "training", "lr", "nesterov", "max_minutes", "McNemar", "Welch", "Holm")


def test_the_page_of_a_comparison(comparison: Comparison) -> None:
    assert untranslated(seen(comparison_page(comparison)), *COMPARED) == []


def test_the_page_of_groups(make_run: MakeRun, make_group: MakeRun) -> None:
    groups = [make_group("aa", [30, 33, 31]), make_group("bb", [80, 82, 84]), make_group("cc", [31, 30, 33])]
    (groups[0].path / "seeds.json").write_text('{"runs": ["seed-0", "seed-1", "seed-2"], "diverged": {"seed-3": "x"}}')
    single = make_run("dd", range(10))
    found = compare([run.path for run in (*groups, single)])
    page = seen(comparison_page(found))
    data = ("script", "alert", "owl", "ow", "cat", "dog", "cc", "dd", "seed-", *COMPARED)
    assert untranslated(page, *data) == []
    assert untranslated("\n".join(map(found.conclusion, found.pairs)), *data) == []


def test_a_comparison_in_terminal_markdown_and_notebook(
    comparison: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, "compare", *(entry.path for entry in comparison.entries))
    assert untranslated(text, *COMPARED) == []
    assert untranslated(to_markdown(comparison), *COMPARED) == []
    assert untranslated(seen(comparison._repr_html_()), *COMPARED) == []


def test_json_stays_untranslated(comparison: Comparison) -> None:
    assert "⟦" not in str(comparison.to_dict())


# Studies and benchmarks


def test_what_an_ablation_and_a_range_test_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = Interval(-0.5, 0.5)
    found = Ablation(Run(tmp_path), "McNemar")
    found.variants = [
        Variant("complete", (0.5,), 100, 3.0, 10.0, False, ()),
        Variant("averaging", (0.5,), 100, 2.0, 10.0, True, ()),
    ]
    found.worths = [
        Worth("averaging", 0.0, half, 1.0, 0.1, half, 4),
        Worth("schedule", 0.1, half, 0.5, None, None, 0),
    ]
    data = (str(tmp_path), "averaging", "schedule", "figures/ablation.png", "--seeds", "Holm")
    for variants in (found.variants, [Variant("complete", (0.5, 0.6), 100, 3.0, 10.0, False, ())]):
        found.variants = variants
        ablate_command._print(found)
        assert untranslated(capsys.readouterr().out, *data) == []
    lrs = [10.0 ** (place / 10 - 6) for place in range(50)]
    for losses in (
        [2.0 - place / 50 for place in range(50)],
        [2.0] * 50,
        [abs(place - 25) + 1.0 for place in range(50)],
    ):
        assert untranslated(read_range_test(lrs, losses).reason) == []


def test_tables_of_benchmarks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timings = {"training": Timing((40.0, 60.0), "images/s"), "load": Timing((1.0, 2.0), "ms")}
    settings = {"recipe": "quick", "batch_size": 4, "steps": 2}
    print_benchmark(Benchmark("quick on noise", settings, timings, MACHINE))
    images = Timing((40, 60), "images/s")
    rows = (KernelTiming("quick", "training", "noise", "bf16", {KERNELS: images, TORCH: images}),)
    print_kernels(KernelTable(rows, "avx2", {"training, float32": ["norms"], "prediction": []}, MACHINE))
    for accuracies in ((0.9,), (0.9, 0.8)):
        seeds = tuple(
            Trained("seed-1", 1, 30.0, 20.0 if value > 0.85 else None, value, value, value, None)
            for value in accuracies
        )
        found = TimeToAccuracy(Run(tmp_path), 0.85, "val", "mirror", seeds, 100, 60.0, MACHINE)
        print_time_to_accuracy(found)
    data = (str(tmp_path), "quick", "bf16", "avx2", "float32", "norms", "mirror", "ms", *MACHINE_DATA)
    assert untranslated(capsys.readouterr().out, *data, tmp_path.name) == []


# Models, predictions and explanations


def colours() -> nn.Sequential:
    """Each channel's mean is the logit of its class."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.dirac_(model[0].weight)
    return model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(MODELS, "colours", Model(lambda spec, num_classes, size: colours(), source="here"))
    card = untrained_card(ModelSpec(name="colours"), NAMES, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    path = tmp_path / "run" / "model.safetensors"
    save_model(path, colours().state_dict(), card)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    image = Image.new("RGB", (16, 16))
    image.paste("red", (0, 0, 8, 16))  # the right half stays black
    image.save(path)
    return path


def test_what_predict_and_explain_print(model: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data = str(picture.parent), ("Grad-CAM", "HiResCAM", *NAMES)
    text = printed(capsys, "predict", model, picture, "--top", 3, "--device", "cpu")
    assert untranslated(text, str(picture), *NAMES) == []
    text = printed(capsys, "explain", model, picture, "--class", "green", "--out", picture.parent / "o")
    explained, _, files = text.partition("⟦Written:⟧")
    assert untranslated(explained, str(picture), *data) == []
    assert all(line.strip().startswith(folder) for line in files.splitlines() if line)


def test_the_page_of_explanations(model: Path, picture: Path) -> None:
    classifier = Classifier.load(
        model, runtime=choose_runtime(RuntimeSpec(device="cpu", precision="fp32", kernels="off"))
    )
    found = [
        explain_image(classifier, "a.png", classifier.decode(picture), class_name=name) for name in ("red", "green")
    ]
    page = explanation_page("m", found, first_filters(classifier), 4)
    assert untranslated(seen(page), "a.png", "Grad-CAM", "HiResCAM", *NAMES) == []
    cell = Explained(found * 3, ["b.png: x"])._repr_html_()
    assert untranslated(seen(cell), "a.png", "b.png", "Grad-CAM", "HiResCAM", *NAMES) == []


def test_a_network_without_maps() -> None:
    card = untrained_card(ModelSpec(name="made-up"), ("aa", "bb"), 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    classifier = Classifier(network, card, choose_runtime(RuntimeSpec(device="cpu", precision="fp32", kernels="off")))
    found = explain_image(classifier, "x.png", np.zeros((3, 8, 8), np.uint8))
    assert untranslated(seen(explanation_page("m", [found], None, 4)), "x.png", "aa", "bb") == []


def test_networks_and_their_layers(capsys: pytest.CaptureFixture[str]) -> None:
    names = (*MODELS, "torchvision:<name>", "timm:<name>", "He et al., 2015", "Szegedy et al., 2014")
    assert untranslated(printed(capsys, "models", "--image-size", 16), *names) == []
    layers = ("features", "hidden", "relu", "fc", "Conv", "MaxPool", "ReLU", "Linear")
    assert untranslated(printed(capsys, "models", "simple-cnn"), *layers) == []


def test_columns_of_chinese_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    speak("zh")
    lines = printed(capsys, "models", "simple-cnn").splitlines()
    assert lines[0].startswith("层") and len({cell_len(line) for line in lines}) == 1
    head, *rows = aligned([["类别", "张数"], ["猫", "1,000"], ["automobile", "2"]])
    assert [cell_len(line) for line in (head, *rows)] == [17, 17, 17]


# Data


def test_data_that_is_here_and_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("cifar100", "cifar10", "sample", "cifarlab data fetch", "train", "test")
    assert (
        untranslated(
            printed(capsys, "data", "list", "--data-dir", tmp_path),
            *names,
        )
        == []
    )
    images = {split: _photos(seed) for seed, split in enumerate(("train", "test"))}
    card = describe(images)
    fingerprints = [each["fingerprint"][:16] for each in card["splits"].values()]
    assert untranslated(to_text("photos", card), "photos", "train", "test", *NAMES, *fingerprints) == []


def _photos(seed: int) -> Images:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 3, 8, 8), np.uint8)
    return Images(pixels, np.arange(60) % 3, NAMES, original=bool(seed))


# Notebooks


def test_what_notebooks_show(
    make_run: MakeRun, make_group: MakeRun, model: Path, picture: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("quick")
    html = seen(to_html(recipe))
    text = html.partition("format = ")[0].replace(recipe.description, "")
    assert untranslated(text, "quick", "speednet", "sample", recipe.optimizer.name, "lr", recipe.schedule.name) == []
    images = Images(np.zeros((30, 3, 8, 8), np.uint8), np.arange(30) % 3, NAMES, note="n", skipped=("x",))
    assert untranslated(seen(to_html(images)), *NAMES) == []
    run = make_run("aa", range(30), names=NAMES)
    evaluation = read_evaluation(run, "test")
    assert evaluation is not None
    data = (str(tmp_path), "aa", "bb", *NAMES, "simple-cnn", "cifar10", "cifarlab.report(run)", "seed-")
    for shown in (evaluation, run, make_group("bb", [10, 20])):
        assert untranslated(seen(to_html(shown)), *data) == []
    classifier = Classifier.load(
        model, runtime=choose_runtime(RuntimeSpec(device="cpu", precision="fp32", kernels="off"))
    )
    predictions = predict_files(classifier, [picture], top=3)
    for cell in (classifier._repr_html_(), predictions._repr_html_(), predictions.predictions[0]._repr_html_()):
        assert untranslated(seen(cell), str(picture), *NAMES, "colours", "untrained", "cpu", "fp") == []
