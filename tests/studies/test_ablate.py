from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifarlab.cli import main
from cifarlab.drawing.charts.description import BarChart
from cifarlab.errors import DivergedError, RecipeError, UsageError
from cifarlab.evaluation import predictions
from cifarlab.evaluation.statistics import corrected_confidence, holm, mcnemar, paired_interval, welch
from cifarlab.machine.contention import Usage
from cifarlab.recipe.override import override
from cifarlab.recipe.parts import parts_of
from cifarlab.recipe.schema import Recipe
from cifarlab.recipe.toml import load_recipe, recipe_from, to_toml
from cifarlab.runs.folder import COLUMNS, Run
from cifarlab.studies import ablate as module
from cifarlab.studies.ablate import ablate

NUM_IMAGES = 200


def recipe(**sections: Any) -> Recipe:
    base = {
        "name": "r",
        "model": {"name": "simple-cnn"},
        "augmentation": {"flip": "random", "cutout": 8, "crop_padding": 4, "crop_fill": "reflect"},
        "averaging": {"name": "ema"},
    }
    return recipe_from({**base, **sections})


# Training them


class Lab:
    """Stands in for training: a run is wrong at as many validation images as is told for its name."""

    def __init__(self, wrong: dict[str, int]) -> None:
        self.wrong = wrong
        self.slowness: dict[str, float] = {}
        self.num_epochs = 4
        self.trained: list[Recipe] = []

    def train(self, recipe: Recipe, *, out: Path, data_dir: Path | None = None) -> Run:
        self.trained.append(recipe)
        if self.wrong[recipe.name] < 0:
            raise DivergedError("The loss became nan.\nMore.")
        run = Run.create(out, recipe.name)
        run.write_recipe(recipe)
        run.update_manifest(elapsed_seconds=10.0, runtime={"device": "cpu", "threads": 1})
        # the first epoch is a hundred times as slow, and those after it become a little faster
        slowness = self.slowness.get(recipe.name, 1.0)
        seconds = [slowness * (100 if epoch == 0 else 1 - epoch / 100) for epoch in range(self.num_epochs)]
        empty = dict.fromkeys(COLUMNS)
        run.write_metrics([empty | {"epoch": n, "images_per_second": 1000 / each} for n, each in enumerate(seconds, 1)])
        return run

    def train_seeds(self, recipe: Recipe, num_seeds: int, *, out: Path, data_dir: Path | None = None) -> Run:
        group = Run.create(out, f"{recipe.name}-seeds")
        group.write_recipe(recipe)
        for seed in range(num_seeds):
            self.wrong[f"seed-{seed}"] = self.wrong[recipe.name] + seed
            values = recipe.model_dump() | {"name": f"seed-{seed}"}
            self.train(recipe_from(values), out=group.path)
        names = [f"seed-{seed}" for seed in range(num_seeds)]
        (group.path / "seeds.json").write_text(json.dumps({"runs": names}))
        return group

    def judge(self, run: Run, split: str, *, reason: str, data_dir: Path | None = None) -> None:
        assert split == "val"
        labels = np.zeros(NUM_IMAGES, np.int64)
        predicted = np.arange(NUM_IMAGES) < self.wrong[run.recipe.name]
        predictions.write(run.predictions_file("val"), labels, np.eye(2, dtype=np.float32)[predicted.astype(int)])


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    found = Lab({"complete": 20, "without-averaging": 50, "without-augmentation.cutout": 21})
    for name in ("train", "train_seeds", "judge"):
        monkeypatch.setattr(module, name, getattr(found, name))
    monkeypatch.setattr(module, "read", lambda: None)  # what else this machine does
    return found


def test_parts_are_worth_what_their_absence_costs(lab: Lab, tmp_path: Path) -> None:
    found = ablate(recipe(), ["averaging", "augmentation.cutout"], out=tmp_path)
    averaging, cutout = found.worths
    assert (averaging.part, cutout.part) == ("averaging", "augmentation.cutout")
    assert averaging.difference == pytest.approx(30 / 200) and cutout.difference == pytest.approx(1 / 200)
    adjusted = holm([mcnemar(30, 0), mcnemar(1, 0)])
    assert [averaging.p_value, cutout.p_value] == adjusted
    assert averaging.interval == paired_interval(30, 0, 200, corrected_confidence(mcnemar(30, 0), adjusted[0]))
    assert cutout.interval == paired_interval(1, 0, 200, corrected_confidence(mcnemar(1, 0), adjusted[1]))


def test_times_are_those_of_the_same_epochs_after_the_first(lab: Lab, tmp_path: Path) -> None:
    lab.slowness = {"complete": 1.0, "without-averaging": 0.8}
    (worth,) = ablate(recipe(), ["averaging"], out=tmp_path).worths
    assert (worth.share_of_time, worth.num_epochs) == (pytest.approx(0.2), 3)
    assert worth.time_interval == pytest.approx((0.2, 0.2))


def test_a_single_epoch_after_the_first_says_nothing_about_times(lab: Lab, tmp_path: Path) -> None:
    lab.num_epochs = 2
    (worth,) = ablate(recipe(), ["averaging"], out=tmp_path).worths
    assert (worth.share_of_time, worth.time_interval, worth.num_epochs) == (None, None, 1)


def test_times_beside_other_programs_say_nothing(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([0, 0, 0, 1000])  # the second training waits, while others compute
    monkeypatch.setattr(module, "read", lambda: Usage(waited=(now := next(moments)), own=0.0, all=now))
    file = tmp_path / "r.toml"
    file.write_text(to_toml(recipe()))
    assert main.run(["ablate", str(file), "--drop", "averaging", "--out", str(tmp_path)]) == 0
    assert "Other programs held the cores (averaging)" in capsys.readouterr().out
    stored = json.loads((tmp_path / "r-ablation" / "ablation.json").read_text())
    assert [each["disturbed"] for each in stored["variants"]] == [False, True]
    assert stored["worths"][0]["share_of_time"] is None


# What can be told


def test_what_cannot_be_told_is_said(lab: Lab, tmp_path: Path) -> None:
    lab.wrong |= {"without-averaging": 21, "without-augmentation.cutout": 50}
    found = ablate(recipe(), ["averaging", "augmentation.cutout"], out=tmp_path)
    assert found.conclusions[0].startswith("Nothing can be told about averaging from one seed each: the interval")
    assert found.to_dict()["conclusions"] == found.conclusions
    lab.wrong["without-augmentation.cutout"] = 20
    found = ablate(recipe(), ["averaging", "augmentation.cutout"], out=tmp_path)
    assert found.conclusions[0].startswith("Nothing can be told about any of the parts from one seed each: their")


def test_what_two_seeds_cannot_tell_is_said_with_more_seeds(lab: Lab, tmp_path: Path) -> None:
    lab.wrong["without-averaging"] = 21
    (sentence,) = ablate(recipe(), ["averaging"], seeds=2, out=tmp_path).conclusions
    assert "from 2 seeds each" in sentence and sentence.endswith("--seeds 4.")


def test_nothing_is_said_about_what_is_certain(lab: Lab, tmp_path: Path) -> None:
    assert ablate(recipe(), ["averaging"], seeds=3, out=tmp_path).conclusions == []


# Without --drop


def test_the_command_lists_the_parts_and_trains_nothing(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main.run(["ablate", "speed", "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^augmentation\.cutout +12$", output, re.MULTILINE)
    assert "cifarlab ablate speed --drop optimizer.weight_decay,training.label_smoothing" in output
    assert not lab.trained and not list(tmp_path.iterdir())
    assert main.run(["ablate", "speed", "--set", "augmentation.cutout=0", "--json"]) == 0
    names = [part["name"] for part in json.loads(capsys.readouterr().out)["parts"]]
    assert names == parts_of(override(load_recipe("speed"), "augmentation.cutout", "0"))


def test_a_recipe_without_parts_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["ablate", "basic-cnn"]) == 0
    assert "no parts that can be dropped" in capsys.readouterr().out


def test_the_test_split_stays_sealed(lab: Lab, tmp_path: Path) -> None:
    ablate(recipe(), ["averaging"], out=tmp_path)
    assert [each.name for each in lab.trained] == ["complete", "without-averaging"]
    assert not any(each.evaluation.test for each in lab.trained)


def test_several_seeds_are_compared_over_seeds(lab: Lab, tmp_path: Path) -> None:
    found = ablate(recipe(), ["averaging"], seeds=3, out=tmp_path)
    (worth,) = found.worths
    wanted = welch([0.9, 0.895, 0.89], [0.75, 0.745, 0.74])
    assert found.method == "Welch" and worth.interval == pytest.approx(wanted.interval)
    assert worth.p_value == pytest.approx(wanted.p_value)
    assert found.variants[0].runs == ("complete-seeds/seed-0", "complete-seeds/seed-1", "complete-seeds/seed-2")


def test_n34_the_chart_is_coloured_by_what_the_table_says(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 images to none, and 7 to none of two parts: p is 0.06 and 0.03."""
    lab.wrong |= {"without-averaging": 25, "without-augmentation.cutout": 27}
    drawn: list[BarChart] = []
    monkeypatch.setattr(module, "write_png", lambda charts, path: drawn.extend(charts))
    found = ablate(recipe(), ["averaging", "augmentation.cutout"], out=tmp_path)
    assert [each.p_value for each in found.worths] == [0.0625, 0.03125]
    assert [bar.is_certain for bar in drawn[-1].bars] == [False, True]


def test_n36_a_variant_of_which_a_seed_diverges_is_listed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_seeds = lab.train_seeds

    def diverge_once(recipe: Recipe, num_seeds: int, **options: Any) -> Run:
        group = train_seeds(recipe, num_seeds, **options)
        if recipe.name == "without-averaging":
            group.write_study(
                "seeds.json", {**group.group, "seeds": [0, 1, 2], "diverged": {"seed-2": "The loss became nan."}}
            )
        return group

    monkeypatch.setattr(module, "train_seeds", diverge_once)
    found = ablate(recipe(), ["averaging", "augmentation.cutout"], seeds=3, out=tmp_path)
    assert found.failed == {
        "averaging": "1 of 3 seeds diverged. seed-2: The loss became nan.\n"
        f"Everything is in {found.run.path / 'without-averaging-seeds'}."
    }
    assert [each.part for each in found.worths] == ["augmentation.cutout"]


def test_n36_a_last_variant_that_diverges_is_in_the_table_too(lab: Lab, tmp_path: Path) -> None:
    lab.wrong["without-averaging"] = -1
    found = ablate(recipe(), ["averaging"], out=tmp_path)
    assert json.loads((found.run.path / "ablation.json").read_text())["failed"] == found.failed != {}


def test_table_and_figure_are_left(lab: Lab, tmp_path: Path) -> None:
    found = ablate(recipe(), ["averaging"], out=tmp_path)
    assert found.run.path == tmp_path / "r-ablation"
    assert json.loads((found.run.path / "ablation.json").read_text()) == json.loads(json.dumps(found.to_dict()))
    with Image.open(found.run.figures / "ablation.png") as figure:
        assert figure.size[0] > 800


def test_a_variant_that_diverges_is_listed_and_the_rest_is_kept(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.wrong["without-augmentation.cutout"] = -1
    file = tmp_path / "r.toml"
    file.write_text(to_toml(recipe()))
    assert main.run(["ablate", str(file), "--drop", "augmentation.cutout,averaging", "--out", str(tmp_path)]) == 8
    output = capsys.readouterr()
    assert "without augmentation.cutout: The loss became nan." in output.err
    assert "+15.00 points" in output.out and "luck in training" in output.out
    lab.wrong["complete"] = -1
    with pytest.raises(DivergedError):
        ablate(recipe(), ["averaging"], out=tmp_path)


def test_mistakes_are_found_before_anything_is_trained(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        ablate(recipe(), ["averaging", "augmentation.hue"], out=tmp_path)
    with pytest.raises(RecipeError, match=r"set validation\.size"):
        ablate(recipe(validation={"size": 0}), ["averaging"], out=tmp_path)
    with pytest.raises(UsageError, match=r"of r these: augmentation, averaging"):
        ablate(recipe(), [], out=tmp_path)
    assert not lab.trained and not list(tmp_path.iterdir())


def test_real_trainings_are_judged_on_the_same_validation_images(tmp_path: Path) -> None:
    values = {
        "data": {"source": "sample"},
        "training": {"epochs": 0.05},
        "runtime": {"device": "cpu", "precision": "fp32", "threads": 1, "tensorboard": False},
    }
    found = ablate(recipe(**values), ["augmentation"], out=tmp_path)
    runs = [Run.open(found.run.path / name) for variant in found.variants for name in variant.runs]
    assert [run.name for run in runs] == ["complete", "without-augmentation"]
    first, second = (predictions.read(run.predictions_file("val")) for run in runs)
    assert np.array_equal(first.labels, second.labels) and len(first.labels) == 300
    assert found.variants[0].accuracies == (float(np.mean(first.predictions == first.labels)),)
    assert not any(run.test_openings for run in runs)
