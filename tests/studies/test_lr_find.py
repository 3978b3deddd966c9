from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from PIL import Image

from cifarlab.batches.loader import Batch
from cifarlab.cli import main
from cifarlab.errors import UsageError
from cifarlab.language import speak
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import recipe_from
from cifarlab.studies.lr_find import lr_find, read_range_test, smooth, write_range_test
from cifarlab.training.step import Outcome, Step


def recipe() -> Recipe:
    values = {
        "name": "r",
        "model": {"name": "simple-cnn"},
        "data": {"source": "sample"},
        "training": {"batch_size": 16},
        "runtime": {"device": "cpu", "precision": "fp32", "threads": 1},
    }
    return recipe_from(values)


def rates(number: int = 101) -> list[float]:
    """From 1e-6 to 1e4, ten to a decade."""
    return [10 ** (-6 + place / 10) for place in range(number)]


def test_smoothing_keeps_a_constant_and_follows_slowly() -> None:
    assert smooth([3.0] * 5) == pytest.approx([3.0] * 5)
    assert smooth([0.0, 1.0]) == pytest.approx([0.0, 0.1 / 0.19])


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested() -> None:
    """A slide from 2 to 1 between 1e-3 and 1e-1, flat before, and a steep rise after."""
    lrs = rates(71)
    losses = [2.0 - min(max((math.log10(lr) + 3) / 2, 0), 1) + max(0, 5 * math.log10(lr / 0.1)) for lr in lrs]
    found = read_range_test(lrs, losses)
    assert found.suggestion == found.lowest / 10
    assert 0.1 <= found.lowest <= 0.2  # the average lags behind the batches
    assert 1e-3 < found.steepest <= 0.1
    assert "rises beyond" in found.reason


def test_a_loss_that_falls_to_the_end_asks_for_a_larger_range() -> None:
    lrs = rates(50)
    found = read_range_test(lrs, [2.0 - place / 50 for place in range(50)])
    assert found.lowest == lrs[-1] and found.suggestion == lrs[-1] / 10 and "--end" in found.reason


def test_the_stored_reason_is_english_whatever_is_spoken() -> None:
    found = read_range_test(rates(50), [2.0 - place / 50 for place in range(50)])
    speak("zh")
    try:
        assert found.to_dict()["reason"].startswith("The loss still falls") and "损失仍在下降" in found.reason
    finally:
        speak("en")
    assert found.to_dict()["reason"] == found.reason


def test_a_loss_that_does_not_fall_gives_no_suggestion() -> None:
    found = read_range_test(rates(50), [2.0 + 0.01 * (place % 3) for place in range(50)])
    assert found.suggestion is None and "nothing can be suggested" in found.reason


def test_n38_a_flat_curve_names_no_rate_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_range_test(rates(50), [2.0 + 0.01 * (place % 3) for place in range(50)]).steepest is None
    words = ["lr-find", "simple-cnn", "--data", "sample", "--steps", "12", "--out", str(tmp_path)]
    words += ["--start", "1e-12", "--end", "1e-11", "--set", "training.batch_size=16"]
    assert main.run(words) == 0
    said = capsys.readouterr().out
    assert "nothing can be suggested" in said and "falls fastest" not in said and "Suggested" not in said


def test_n38_images_grow_as_they_do_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int | None] = []
    make = Step.__call__

    def step(self: Step, number: int, batch: Batch, size: int | None = None) -> Outcome:
        sizes.append(size)
        return make(self, number, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    changes = ["model.name=speednet", "model.width=0.125", "training.batch_size=540", "training.epochs=2"]
    growing = ["training.start_size=20", "training.full_size_from=80 %"]
    lr_find(recipe().set(*changes, *growing), start=1e-5, end=1e-4, steps=12)
    assert sizes == [20, 20, 20, 24, 24, 24, 28, 28, 32, 32, 32, 32]


def test_n38_hard_images_are_chosen_as_they_are_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    make = Step.__call__

    def step(self: Step, number: int, batch: Batch, size: int | None = None) -> Outcome:
        seen.append(set(batch.indices.tolist()))
        return make(self, number, batch, size)

    monkeypatch.setattr(Step, "__call__", step)
    changes = ["training.batch_size=540", "training.epochs=3", "training.hard_share=0.5", "training.hard_from=1 epochs"]
    lr_find(recipe().set(*changes), start=1e-5, end=1e-4, steps=15)
    assert len(set[int]().union(*seen[:5])) == 2700
    assert len(set[int]().union(*seen[5:10])) <= 1350


def test_rates_rise_by_equal_factors_and_the_test_repeats_itself() -> None:
    first, second = (lr_find(recipe(), start=1e-5, end=1e-2, steps=10) for _ in range(2))
    assert first == second
    assert first.lrs[0] == 1e-5 and first.lrs[-1] == pytest.approx(1e-2)
    factors = [high / low for low, high in zip(first.lrs, first.lrs[1:], strict=False)]
    assert factors == pytest.approx([factors[0]] * 9)
    assert first.losses[0] == pytest.approx(math.log(10), rel=0.2)


def test_a_loss_that_explodes_ends_the_test() -> None:
    values = recipe().model_dump() | {"optimizer": {"name": "sgd", "momentum": 0.9}}
    found = lr_find(recipe_from(values), start=1e-4, end=1e6, steps=60)
    assert len(found.lrs) < 60 and all(math.isfinite(loss) for loss in found.losses)


@pytest.mark.parametrize(("start", "end", "steps"), [(0, 1, 50), (1, 1, 50), (1e-3, math.inf, 50), (1e-3, 1, 9)])
def test_impossible_ranges_are_refused(start: float, end: float, steps: int) -> None:
    with pytest.raises(UsageError, match="range test needs"):
        lr_find(recipe(), start=start, end=end, steps=steps)


def test_too_few_finite_losses_are_refused() -> None:
    with pytest.raises(UsageError, match="after 3 steps"):
        read_range_test(rates(3), [2.0, 2.0, 2.0])


def test_table_figure_and_recipe_are_left(tmp_path: Path) -> None:
    lrs = rates(20)
    found = read_range_test(lrs, [2.0 - place / 20 for place in range(20)])
    run = write_range_test(found, recipe(), tmp_path)
    assert run.name == "r-lr-find" and run.recipe == recipe()
    with (run.path / "lr-find.csv").open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["lr", "loss", "smoothed"] and len(table) == 21
    assert json.loads((run.path / "lr-find.json").read_text())["suggestion"] == found.suggestion
    with Image.open(run.figures / "lr-find.png") as figure:
        assert figure.size[0] > 800


def test_the_command_suggests_and_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lr-find", "simple-cnn", "--data", "sample", "--steps", "15", "--out", str(tmp_path)]
    words += ["--set", "training.batch_size=16", "--set", "runtime.threads=1", "--json"]
    assert main.run(words) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["lrs"]) == len(values["losses"]) <= 15 and Path(values["run"], "lr-find.csv").exists()


def test_a_terminal_shows_the_curve_and_a_pipe_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_range_test(rates(50), [2.0 - place / 50 for place in range(50)])
    run = write_range_test(found, recipe(), tmp_path)
    monkeypatch.setattr("cifarlab.api.lr_find", lambda *_, **__: (found, run))
    assert main.run(["lr-find", "simple-cnn"]) == 0
    piped = capsys.readouterr().out
    assert "•" not in piped and "Suggested" in piped
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    assert main.run(["lr-find", "simple-cnn"]) == 0
    shown = capsys.readouterr().out
    chart = shown.removesuffix(piped).splitlines()
    assert shown.endswith(piped) and len(chart) > 12 and max(map(len, chart)) <= 60
    assert any("•" in line for line in chart) and "suggested: " in shown
