from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifarlab.errors import CheckpointError, CifarlabError, UsageError
from cifarlab.evaluation.statistics import holm, mcnemar, paired_interval, smallest_difference, welch, wilson
from cifarlab.runs.folder import Run
from cifarlab.studies.compare.compare import compare

MakeRun = Callable[..., Run]


def test_two_runs_on_the_same_images(make_run: MakeRun) -> None:
    """a is wrong at 0 to 59, b at 40 to 69: 40 images are right in b alone, 10 in a alone, 20 in neither."""
    a, b = make_run("a", range(60)), make_run("b", range(40, 70))
    found = compare([a.path, b.path])
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.method) == ("a", "b", "McNemar")
    assert (pair.only_first, pair.only_second) == (10, 40)
    assert pair.difference == pytest.approx(240 / 300 - 270 / 300)
    assert pair.p_value == pair.adjusted_p_value == mcnemar(10, 40)
    assert pair.interval == paired_interval(10, 40, 300)
    assert pair.smallest_difference == smallest_difference(50 / 300, 300)
    assert set(pair.first_wins) == set(range(60, 70)) and set(pair.second_wins) == set(range(40))
    assert pair.is_different
    assert found.conclusion(pair).startswith(
        "On these 300 test images b is better than a by 10.00 points (95 % interval"
    )


def test_classes_are_compared_with_a_correction(make_run: MakeRun) -> None:
    """Labels are 0, 1, 2, 0, 1, 2, ...: a is wrong at 8 cats and b at nothing else."""
    found = compare([make_run("a", range(0, 24, 3)).path, make_run("b").path])
    cat, dog, owl = found.pairs[0].per_class
    assert (cat.class_name, cat.first, cat.second) == ("cat", 0.92, 1.0)
    assert cat.difference == pytest.approx(-0.08)
    assert [each.p_value for each in (cat, dog, owl)] == holm([mcnemar(0, 8), 1.0, 1.0])


def test_a_small_difference_is_not_claimed(make_run: MakeRun) -> None:
    found = compare([make_run("a", range(30)).path, make_run("b", range(1, 31)).path])
    (pair,) = found.pairs
    assert not pair.is_different and pair.difference == 0
    smallest = 100 * smallest_difference(2 / 300, 300)
    assert "no difference between a and b is shown: 0.00 points" in found.conclusion(pair)
    assert f"only one of about {smallest:.2f} points or more" in found.conclusion(pair)


def test_many_pairs_are_corrected_for_their_number(make_run: MakeRun) -> None:
    runs = [make_run("a", range(12)), make_run("b", range(4)), make_run("c")]
    found = compare([run.path for run in runs])
    p_values = [mcnemar(0, 8), mcnemar(0, 12), mcnemar(0, 4)]
    assert [pair.p_value for pair in found.pairs] == p_values
    assert [pair.adjusted_p_value for pair in found.pairs] == holm(p_values)
    assert "corrected for 3 pairs" in found.conclusion(found.pairs[0])


def test_n34_an_interval_never_contradicts_the_corrected_p_value(make_run: MakeRun) -> None:
    """6, 7, 8, ... wrong images against none, pairs by the dozen: alone all would be a difference."""
    runs = [make_run(f"run-{number}", range(number, 2 * number)) for number in (0, 6, 7, 8, 9, 12)]
    found = compare([run.path for run in runs])
    assert {pair.is_different for pair in found.pairs} == {True, False}
    for pair in found.pairs:
        assert pair.interval is not None and pair.p_value is not None
        assert pair.is_different == (not pair.interval.low <= 0 <= pair.interval.high)
    assert any(pair.p_value is not None and pair.p_value < 0.05 and not pair.is_different for pair in found.pairs)


def test_n34_neither_does_one_over_seeds(make_group: MakeRun) -> None:
    wrong = ([30, 33, 27], [36, 39, 33], [42, 45, 39], [90, 80, 100])
    found = compare([make_group(f"group-{number}", each).path for number, each in enumerate(wrong)])
    assert {pair.is_different for pair in found.pairs} == {True, False}
    for pair in found.pairs:
        assert pair.interval is not None
        assert pair.is_different == (not pair.interval.low <= 0 <= pair.interval.high)


def test_n36_seeds_that_diverged_are_mentioned(make_run: MakeRun, make_group: MakeRun) -> None:
    group = make_group("a", [30, 33])
    path = group.path / "seeds.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": {"seed-2": "The loss became nan."}}))
    found = compare([group.path, make_group("b", [60, 66]).path])
    assert found.conclusion(found.pairs[0]).endswith(" 1 seed of a diverged and did not count.")


def test_seeds_are_compared_over_seeds(make_group: MakeRun) -> None:
    a, b = make_group("a", [30, 33, 27]), make_group("b", [60, 66, 54, 63])
    found = compare([a.path, b.path])
    (pair,) = found.pairs
    wanted = welch([0.9, 0.89, 0.91], [0.8, 0.78, 0.82, 0.79])
    assert pair.method == "Welch" and pair.only_first is None
    assert (pair.difference, pair.p_value) == pytest.approx((wanted.difference, wanted.p_value))
    assert pair.interval == pytest.approx(wanted.interval)
    assert found.conclusion(pair).startswith("Over 3 and 4 seeds a is better than b by 10.25 points")
    accuracy = found.numbers(found.entries[0])["accuracy"]
    assert accuracy is not None and accuracy.num_seeds == 3 and accuracy.interval is None
    assert (accuracy.value, accuracy.sd) == pytest.approx((0.9, 0.01))
    assert set(pair.first_wins) == set(range(27, 66)) and set(pair.first_wins[:21]) == set(range(33, 54))
    assert found.differences == {"seeds": ["0, 1, 2", "0, 1, 2, 3"]}


def test_a_run_and_a_group_are_not_tested(make_run: MakeRun, make_group: MakeRun) -> None:
    found = compare([make_group("a", [30, 33]).path, make_run("b", range(100)).path])
    (pair,) = found.pairs
    assert pair.p_value is None and pair.interval is None and not pair.is_different
    assert found.conclusion(pair).startswith("Nothing can be concluded about a and b: b was trained once")


def test_a_group_of_one_finished_seed_counts_as_a_run(make_run: MakeRun, make_group: MakeRun) -> None:
    found = compare([make_group("a", [30]).path, make_run("b", range(100)).path])
    assert found.pairs[0].method == "McNemar"


def test_numbers_and_differences(make_run: MakeRun) -> None:
    a = make_run("a", range(30), values={"optimizer": {"lr": 0.2}})
    b = make_run("b", values={"augmentation": {"cutout": 8}, "training": {"seed": 3, "class_weights": [1.0, 2.0, 3.0]}})
    found = compare([a.path, b.path])
    numbers = found.numbers(found.entries[0])
    values = {key: measure.value for key, measure in numbers.items() if measure is not None}
    assert values == pytest.approx(
        {
            "num_parameters": 1000,
            "epochs": 3,
            "seconds": 12.5,
            "images_per_second": 200,
            "train_accuracy": 0.6,  # of the best epoch, the second
            "val_accuracy": 0.8,
            "accuracy": 0.9,
            "calibration_error": abs(0.9 - 1 / (1 + 2 * np.exp(-5))),
        }
    )
    intervals = {key: measure.interval for key, measure in numbers.items() if measure is not None and measure.interval}
    assert intervals == {
        "train_accuracy": wilson(54, 90),
        "val_accuracy": wilson(8, 10),
        "accuracy": wilson(270, 300),
    }
    assert found.differences == {
        "augmentation.cutout": ["0", "8"],
        "optimizer.lr": ["0.2", "0.1"],
        "training.class_weights": ["none", "1.0, 2.0, 3.0"],
        "seeds": ["0", "3"],
    }


def test_n39_the_train_accuracy_has_the_interval_of_the_images_that_were_counted(make_run: MakeRun) -> None:
    runs = [make_run(name, range(30)) for name in ("short", "long")]
    first = {**runs[0].metrics[0], "val/accuracy": 0.8, "train/accuracy": 0.5, "train/images": 128}
    runs[0].write_metrics([first])
    runs[0].update_manifest(best_epoch=1)
    found = compare([run.path for run in runs])
    measure = found.numbers(found.entries[0])["train_accuracy"]
    assert measure is not None and measure.interval == wilson(64, 128)


def test_json_holds_everything(make_run: MakeRun) -> None:
    values = compare([make_run("a", range(60)).path, make_run("b").path]).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == json.loads(json.dumps(values))
    assert values["num_images"] == 300 and [run["name"] for run in values["runs"]] == ["a", "b"]
    (pair,) = values["pairs"]
    assert pair["is_different"] and len(pair["second_wins"]) == 16 and pair["conclusion"].endswith(".")


def test_runs_are_told_apart_by_their_folders(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("same", root=tmp_path / part) for part in ("one", "two")]
    assert [entry.label for entry in compare([run.path for run in runs]).entries] == ["one/same", "two/same"]


# What cannot be compared


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": {"train_fingerprint": "xyz", "num_train": 80}}, "were trained on different images.*90.*80"),
        ({"data": {"val_fingerprint": "xyz"}}, "were validated on different images"),
        (
            {"data": {"train_fingerprint": "x"}, "values": {"validation": {"size": 0.2}}},
            r"trained on different.*validation\.size = 0\.1 and 0\.2",
        ),
    ],
)
def test_other_training_images_are_refused(make_run: MakeRun, change: dict[str, object], reason: str) -> None:
    a, b = make_run("a"), make_run("b", **change)
    with pytest.raises(UsageError, match=rf"(?s){reason}"):
        compare([a.path, b.path])


def test_other_test_images_and_classes_are_refused(make_run: MakeRun) -> None:
    a = make_run("a")
    other = make_run("b", image_seed=1)
    with pytest.raises(UsageError, match="were evaluated on different test images"):
        compare([a.path, other.path])
    classes = make_run("c", names=("cat", "owl"))
    with pytest.raises(UsageError, match=r"(?s)know different classes.*3 classes \(cat, dog.* and 2 classes"):
        compare([a.path, classes.path])


def test_seeds_of_a_group_on_different_images_are_refused(make_run: MakeRun, make_group: MakeRun) -> None:
    group = make_group("a", [3, 4])
    Run(group.path / "seed-1").update_manifest(
        data={**Run(group.path / "seed-1").manifest["data"], "num_val": 3, "val_fingerprint": "x"}
    )
    with pytest.raises(UsageError, match=r"seed-0 and .*seed-1 were validated"):
        compare([group.path, make_run("b").path])


def test_too_few_and_the_same_run_are_refused(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    a = make_run("a")
    with pytest.raises(UsageError, match="at least two"):
        compare([a.path])
    monkeypatch.chdir(a.path.parent)
    with pytest.raises(UsageError, match="given twice"):
        compare([a.path, "a"])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("manifest.json", _cut),
        ("manifest.json", lambda path: path.write_text('{"num_steps": 3}')),
        ("evaluation-test.json", _cut),
        ("evaluation-test.json", lambda path: path.write_text('{"accuracy": 2}')),
        ("evaluation-test.json", Path.unlink),
        ("predictions-test.parquet", _cut),
        ("predictions-test.parquet", Path.unlink),
        ("metrics.csv", _cut),
        ("recipe.toml", lambda path: path.write_text("name = 3")),
    ],
)
def test_a_damaged_folder_is_named(make_run: MakeRun, name: str, damage: Callable[[Path], object]) -> None:
    a, b = make_run("a"), make_run("b")
    damage(b.path / name)
    with pytest.raises(CifarlabError, match=r"/b\b") as caught:
        compare([a.path, b.path])
    assert name in str(caught.value) or "was not evaluated on the test split" in str(caught.value)


def test_an_unfinished_run_is_refused(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b")
    (b.path / "manifest.json").write_text('{"status": "training"}')
    with pytest.raises(UsageError, match="has not finished training"):
        compare([a.path, b.path])


@pytest.mark.parametrize("text", ["{}", '{"runs": []}', '{"runs": ["../a"]}', '{"runs": 3}', "[", '{"runs": ["gone"]}'])
def test_a_damaged_group_is_refused(make_run: MakeRun, make_group: MakeRun, text: str) -> None:
    group = make_group("g", [3, 4])
    (group.path / "seeds.json").write_text(text)
    with pytest.raises((CheckpointError, UsageError), match="g"):
        compare([group.path, make_run("a").path])


def test_predictions_must_be_those_of_the_evaluation(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b")
    short = make_run("short", num_images=30)
    b.predictions_file("test").write_bytes(short.predictions_file("test").read_bytes())
    with pytest.raises(CheckpointError, match=r"predictions-test\.parquet does not fit evaluation-test\.json"):
        compare([a.path, b.path])


@pytest.mark.parametrize("names", [("only",), ("a", "b")])
def test_s39_few_images_and_classes_are_finite(make_run: MakeRun, names: tuple[str, ...]) -> None:
    a, b = make_run("a", num_images=1, names=names), make_run("b", {0}, num_images=1, names=names)
    found = compare([a.path, b.path])
    json.dumps(found.to_dict(), allow_nan=False)
    assert not found.pairs[0].is_different


def test_the_front_has_the_runs_that_are_worth_their_time(make_run: MakeRun) -> None:
    def run(name: str, num_wrong: int, seconds: float) -> Path:
        made = make_run(name, range(num_wrong))
        made.update_manifest(elapsed_seconds=seconds)
        return made.path

    paths = [run("slow", 5, 100.0), run("fast", 30, 10.0), run("worse", 40, 50.0), run("middle", 20, 50.0)]
    assert [entry.label for entry in compare(paths).front] == ["fast", "middle", "slow"]


def test_settings_stand_by_section(make_run: MakeRun) -> None:
    first, second = make_run("a"), make_run("b", values={"optimizer": {"lr": 0.2}})
    assert compare([first.path, second.path]).settings["[optimizer]"]["lr"][1] == "0.2"
