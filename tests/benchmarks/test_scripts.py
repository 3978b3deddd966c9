"""The other benchmarks, as far as they need no long training."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import accuracy
import recipe_parts
import resnet18
import time_to_accuracy
from cifarlab.images.sources import load_images
from cifarlab.recipe.toml import load_recipe
from plain_script import PlainImages, Speeds, plain_step
from time_to_accuracy import PORT, Result

ROOT = Path(__file__).parents[2]


def test_the_ratio_of_the_times_is_that_of_the_medians() -> None:
    results = [
        Result("speed", 1, 10.0, 0.93, "mirror", 0.94, 3000.0),
        Result(PORT, 1, 30.0, 0.931, "mirror+shifts", 0.941, 1000.0),
    ]
    last = time_to_accuracy.table(results).splitlines()[-1]
    assert last == "median: the port takes 3.00 times as long; images/s 3.00 times the port's"
    assert "median" not in time_to_accuracy.table(results[:1])


def test_a_shortened_recipe_takes_the_steps_that_were_asked_for() -> None:
    recipe = time_to_accuracy.shortened(load_recipe("quick"), 3)
    assert recipe.training.epochs * 2700 / recipe.training.batch_size == pytest.approx(3, rel=0.05)
    assert not recipe.evaluation.test


def test_both_sides_train_alike() -> None:
    recipe, script = resnet18.ours("resnet34", "sample", "cpu"), resnet18.plain("resnet34", "cpu")
    assert recipe.model.name == script.model
    assert recipe.training.batch_size == script.batch_size
    assert (recipe.augmentation.crop_padding, recipe.augmentation.flip) == (4, "random")


def test_the_plain_script_sees_one_image_at_a_time() -> None:
    images = load_images("sample", "test")
    image, label = PlainImages(images, ())[3]
    assert tuple(image.shape) == (3, 32, 32)
    assert label == images.labels[3]


def test_the_ratios_of_all_sides_are_those_of_ours_to_them() -> None:
    speeds = Speeds({"plain": [1.0, 2.0], "plain, bf16": [4.0, 4.0], "cifarlab": [8.0, 16.0]})
    _, plain, bf16, ours = speeds.text().splitlines()
    assert plain.split() == ["plain", "2", "8.00", "(8.00", "to", "8.00)"]
    assert bf16.split()[3] == "2.83"  # the geometric mean of 2 and 4
    assert ours.split() == ["cifarlab", "12"]
    assert "to" not in Speeds({"plain": [1.0], "cifarlab": [8.0]}).text()


def test_the_bf16_side_is_the_plain_script_with_two_lines_more() -> None:
    images, script = load_images("sample", "test"), resnet18.plain("basic-cnn", "cpu")
    seen: list[torch.dtype] = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(super().forward(x).dtype)
            return super().forward(x)

    net = nn.Sequential(nn.Flatten(), Watched(3072, images.num_classes))
    for bf16 in (False, True):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        batch = torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)
        loss = plain_step(replace(script, bf16=bf16), net, optimizer, *batch)
        assert loss == pytest.approx(math.log(10), rel=0.2)
    assert seen == [torch.float32, torch.bfloat16]


def test_make_bench_runs_what_is_there() -> None:
    claims = re.search(r"^CLAIMS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert claims is not None
    for name in claims[1].split():
        text = (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8")
        assert "--peers" not in text
        assert f"({name}.py)" in (ROOT / "benchmarks" / "README.md").read_text("utf-8")


def test_readme_and_docs_show_what_is_stored() -> None:
    for path, text in accuracy.pages(accuracy.RESULTS).items():
        assert (ROOT / path).read_text("utf-8") == text, f"{path} is stale: make results"


def test_a_table_has_the_mean_of_all_seeds_and_a_single_run_its_interval() -> None:
    row = {"recipe": "speed", "data": "cifar10", "images": 49_500, "epochs": 12, "tta": "mirror+shifts"}
    seeds = {
        f"speed-{1000 + i}": row
        | {"seconds": 150.0 + i, "accuracy": 0.93, "tta_accuracy": 0.94 + i / 500, "interval": []}
        for i in range(3)
    }
    simple = row | {"seconds": 59.6, "accuracy": 0.7, "tta_accuracy": None, "interval": [0.69, 0.71], "epochs": 8}
    table = accuracy.readme_table(seeds | {"simple-cnn": simple, "simple-cnn-early-stopping": simple}, accuracy.ENGLISH)
    _, _, speed, single = table.splitlines()
    assert speed == (
        "| `speed` | 49,500 | 12 | 2 min 31 s | 93.00 ± 0.00 % (n = 3) | six: 94.20 ± 0.20 % (n = 3) | – |"
    )
    disturbed = accuracy.readme_table({"simple-cnn": simple | {"seconds": None}}, accuracy.ENGLISH)
    assert disturbed == table.replace(speed + "\n", "").replace("1 min 0 s", "–")
    assert "| 1 min 0 s | 70.0 % (69.0 to 71.0) | – | 68 % after 20 epochs |" in single


def test_the_package_knows_the_mean_over_seeds_and_the_time_of_one_machine() -> None:
    first = json.loads((accuracy.RESULTS / "quick-1000.json").read_text("utf-8"))
    other = first["machine"] | {"device_name": "another chip", "threads": 1}
    rows = [
        first | {"accuracy": 0.7, "tta_accuracy": 0.72, "seconds": None},
        first | {"accuracy": 0.8, "tta_accuracy": 0.82, "seconds": 40.0, "machine": other},
        first | {"accuracy": 0.9, "tta_accuracy": 0.92, "seconds": 20.0},
    ]
    found = accuracy.measured_of(rows)
    assert (found.accuracy, found.sd, found.tta_accuracy) == pytest.approx((0.8, 0.1, 0.82))
    assert (found.num_seeds, found.interval) == (3, None)
    assert (found.seconds, found.machine) == (40.0, "another chip, 1 thread")
    single = accuracy.measured_of(rows[:1])
    assert single.interval == first["interval"] and single.sd is None and single.seconds is None


def test_a_name_stands_for_its_seeds_and_for_nothing_else_that_begins_so() -> None:
    names = accuracy.planned("fashion-mnist")
    assert [name for name in names if accuracy.is_of(name, "quick")] == [f"quick-{seed}" for seed in range(1000, 1005)]
    assert [name for name in names if accuracy.is_of(name, "simple-cnn")] == ["simple-cnn"]
    assert sum(accuracy.is_of(name, "quick-fashion-mnist") for name in names) == accuracy.FASHION_SEEDS


def test_each_classic_is_measured_once_and_no_longer_than_its_authors_trained() -> None:
    for name, recipe in accuracy.planned("fashion-mnist").items():
        assert name.startswith(recipe.name) and recipe.evaluation.test
        assert recipe.training.epochs <= load_recipe(recipe.name).training.epochs


def test_what_is_claimed_is_measured_from_seeds_that_chose_nothing() -> None:
    chosen_with = recipe_parts.FIRST_SEED, recipe_parts.FIRST_SEED + 100
    for recipe in accuracy.planned("fashion-mnist").values():
        assert recipe.training.seed == 0 or not chosen_with[0] <= recipe.training.seed < chosen_with[1]
