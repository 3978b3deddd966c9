"""One page over several seeds, and one for each."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest

from cifarlab.errors import CheckpointError
from cifarlab.pages.report.write import write_report
from cifarlab.recipe.schema import Recipe
from cifarlab.runs.folder import Run


@pytest.fixture
def group(tmp_path: Path, make_run, recipe: Recipe) -> Run:
    group = Run.create(tmp_path, "simple-cnn-seeds")
    group.write_recipe(recipe)
    for seed, num_images in enumerate((40, 60)):
        shutil.move(make_run(num_images=num_images).path, group.path / f"seed-{seed}")
    (group.path / "seeds.json").write_text(json.dumps({"runs": ["seed-0", "seed-1"]}))
    return group


def test_mean_deviation_and_every_seed(group: Run, read) -> None:
    page = read(write_report(group))
    runs = [Run(group.path / f"seed-{seed}") for seed in (0, 1)]
    accuracies = [100 * run.evaluation("test")["accuracy"] for run in runs]
    assert f"{statistics.fmean(accuracies):.2f} %" in page.text
    assert f"{statistics.stdev(accuracies):.2f} points" in page.text
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "report" in attributes["href"]]
    assert links == ["seed-0/report.html", "seed-1/report.html"]
    assert all((group.path / link).is_file() for link in links)


def test_n39_every_seed_has_intervals_and_n16_the_data_is_spoken_of_once(group: Run, read) -> None:
    for seed in (0, 1):
        run = Run(group.path / f"seed-{seed}")
        warnings = [{"kind": "imbalance", "text": "ok has 40 training images, defect 2."}]
        run.update_manifest(data={**run.manifest["data"], "warnings": warnings})
    page = read(write_report(group))
    assert page.text.count("70.00 % (60.42 to 78.11)") == 2  # 70 of 100 validation images
    assert page.headings.count("Data quality") == 1 and page.text.count("ok has 40 training images") == 1


def test_a_damaged_member_is_named_and_the_rest_is_shown(group: Run, read) -> None:
    (group.path / "seed-1" / "metrics.csv").write_text("")
    with pytest.raises(CheckpointError, match=r"seed-1/metrics\.csv"):
        write_report(group)
    page = read(group.path / "report.html")
    assert "mean over 2 seeds" in page.text and "seed-1/metrics.csv" in page.text


@pytest.mark.parametrize("content", ["", "[]", '{"runs": 3}', '{"runs": []}', '{"runs": ["seed-7"]}', '{"runs": [""]}'])
def test_a_list_of_runs_that_cannot_be_believed(group: Run, content: str) -> None:
    (group.path / "seeds.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"seeds\.json"):
        write_report(group)


def test_c10_no_run_outside_the_folder_is_read(group: Run, make_run) -> None:
    shutil.move(make_run(num_images=40).path, group.path.parent / "outside")
    (group.path / "seeds.json").write_text('{"runs": ["../outside"]}')
    with pytest.raises(CheckpointError, match="outside"):
        write_report(group)
