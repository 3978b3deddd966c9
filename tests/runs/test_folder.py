"""The run folder: made once, written whole, read back exactly, and never believed when it is damaged."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarlab.errors import CheckpointError, MachineError, RunInUseError, UsageError
from cifarlab.recipe.override import override
from cifarlab.recipe.toml import load_recipe
from cifarlab.runs.folder import Run
from cifarlab.runs.metrics import COLUMNS, Row


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path, "try")
    made.write_recipe(load_recipe("resnet18"))
    return made


def row(**values: float | int | None) -> dict[str, float | int | None]:
    return {**dict.fromkeys(COLUMNS, 0), **{key.replace("_of_", "/"): value for key, value in values.items()}}


# Making and opening


def test_create_counts_up_and_overwrites_nothing(tmp_path: Path) -> None:
    made = [Run.create(tmp_path / "runs", "try") for _ in range(3)]
    assert [each.name for each in made] == ["try", "try-2", "try-3"]
    (tmp_path / "runs" / "try-5").write_text("a file in the way")
    assert Run.create(tmp_path / "runs", "try").name == "try-4"
    assert Run.create(tmp_path / "runs", "try").name == "try-6"


def make(root: Path) -> str:
    return Run.create(root, "try").name


def test_processes_that_create_at_once_get_different_folders(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.map(make, [tmp_path] * 40, chunksize=1)
    assert len(set(made)) == 40
    assert set(made) == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/a", "-a", "x" * 65, "a\0", "a\n"])
def test_c10_a_run_is_never_made_outside_its_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        Run.create(tmp_path / "runs", name)
    assert not list(tmp_path.iterdir())


def test_c09_a_root_that_is_a_file_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("x")
    with pytest.raises(MachineError, match="runs"):
        Run.create(tmp_path / "runs", "try")


def test_open_finds_a_run(run: Run) -> None:
    assert Run.open(run.path) == Run.open(str(run.path)) == run


@pytest.mark.parametrize("name", ["absent", "", "x" * 300, "a\0b"])
def test_open_of_something_else_lists_the_runs_beside_it(run: Run, name: str) -> None:
    with pytest.raises(UsageError, match="not a run folder") as caught:
        Run.open(run.path.parent / name)
    assert "Runs in" in str(caught.value) or "There are no runs in" in str(caught.value)


def test_open_lists_at_most_eight_runs(tmp_path: Path) -> None:
    for _ in range(10):
        Run.create(tmp_path, "try").write_recipe(load_recipe("resnet18"))
    with pytest.raises(UsageError) as caught:
        Run.open(tmp_path / "absent")
    assert str(caught.value).count("try") == 8


def test_c09_the_places_in_a_run_lie_inside_it(run: Run) -> None:
    for path in (run.checkpoints, run.model_file, run.figures, run.predictions_file("val")):
        assert path.parent == run.path


# Writing and reading


def test_the_recipe_survives(run: Run) -> None:
    assert run.recipe == load_recipe("resnet18")


def test_the_manifest_is_added_to(run: Run) -> None:
    run.update_manifest(seed=3, versions={"torch": "x"})
    run.update_manifest(status="finished", seed=4)
    assert run.manifest == {"seed": 4, "versions": {"torch": "x"}, "status": "finished"}


def test_the_manifest_takes_no_number_that_json_lacks(run: Run) -> None:
    run.update_manifest(seed=3)
    with pytest.raises(ValueError, match="JSON"):
        run.update_manifest(loss=float("nan"))
    assert run.manifest == {"seed": 3}


numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.none()


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, numbers)), max_size=5))
def test_metrics_survive_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    made = Run(tmp_path_factory.getbasetemp() / "metrics")
    made.write_metrics([dict(each) for each in rows])
    assert made.metrics == rows


def test_metrics_keep_infinity_and_nan(run: Run) -> None:
    run.write_metrics([row(train_of_loss=float("inf"), val_of_loss=float("nan"))])
    (found,) = run.metrics
    assert found["train/loss"] == float("inf")
    assert found["val/loss"] != found["val/loss"]


def test_metrics_of_the_first_version_do_not_count_the_images_of_train(run: Run) -> None:
    names = [name for name in COLUMNS if name != "train/images"]
    (run.path / "metrics.csv").write_text(",".join(names) + "\n" + ",".join(["1.5"] * len(names)) + "\n")
    assert run.metrics == [dict.fromkeys(COLUMNS, 1.5) | {"train/images": None}]


def test_t30_metrics_cut_anywhere_are_refused_or_whole_rows(run: Run) -> None:
    rows = [row(epoch=1, val_of_loss=None), row(epoch=2, val_of_accuracy=0.25)]
    run.write_metrics(rows)
    path = run.path / "metrics.csv"
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            found = run.metrics
        except CheckpointError:
            continue
        assert content[:length].endswith(b"\n")
        assert found == rows[: len(found)]
    path.write_bytes(content)
    assert run.metrics == rows


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        ",".join(COLUMNS) + "\n1,2\n",
        ",".join(COLUMNS) + "\n" + ",".join(["x"] * len(COLUMNS)) + "\n",
        ",".join(COLUMNS) + "\n" + ",".join(["1"] * (len(COLUMNS) + 1)) + "\n",
        "\xff",
    ],
)
def test_metrics_of_another_shape_are_refused(run: Run, text: str) -> None:
    (run.path / "metrics.csv").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"metrics\.csv"):
        _ = run.metrics


def test_metrics_that_are_absent_are_said_to_be(run: Run) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        _ = run.metrics


def test_an_evaluation_survives(run: Run) -> None:
    assert run.evaluation("val") is None
    run.write_evaluation("val", {"accuracy": 0.5, "note": "ü"})
    assert run.evaluation("val") == {"accuracy": 0.5, "note": "ü"}
    assert run.evaluation("test") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"a": 1'])
def test_k15_a_damaged_json_file_is_a_checkpoint_error(run: Run, content: bytes) -> None:
    (run.path / "manifest.json").write_bytes(content)
    (run.path / "evaluation-val.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        _ = run.manifest
    with pytest.raises(CheckpointError, match=r"evaluation-val\.json"):
        run.evaluation("val")
    with pytest.raises(CheckpointError):
        run.update_manifest(seed=1)
    assert (run.path / "manifest.json").read_bytes() == content


def test_every_file_is_written_whole(run: Run) -> None:
    run.update_manifest(seed=1)
    run.write_metrics([])
    run.write_evaluation("val", {})
    run.open_test("end of training")
    expected = {"recipe.toml", "manifest.json", "metrics.csv", "evaluation-val.json", "test-ledger.jsonl"}
    assert {path.name for path in run.path.iterdir()} == expected


# The ledger


def test_the_ledger_counts_every_opening(run: Run) -> None:
    assert run.test_openings == []
    assert [run.open_test("end of training"), run.open_test("evaluate")] == [1, 2]
    assert [entry["reason"] for entry in run.test_openings] == ["end of training", "evaluate"]
    assert all(entry["time"].endswith("+00:00") for entry in run.test_openings)


@pytest.mark.parametrize("content", ["{", "3\n", "[]\n", '{"time": "x"}\n', '{"time": "x", "reason": "y"}\n{"ti'])
def test_a_damaged_ledger_is_refused_and_kept(run: Run, content: str) -> None:
    path = run.path / "test-ledger.jsonl"
    path.write_text(content)
    with pytest.raises(CheckpointError, match="ledger"):
        _ = run.test_openings
    with pytest.raises(CheckpointError, match="ledger"):
        run.open_test("again")
    assert path.read_text() == content


def test_a_reason_with_line_breaks_stays_one_line(run: Run) -> None:
    run.open_test("a\nb\u2028c")
    assert run.test_openings[0]["reason"] == "a\nb\u2028c"
    assert len((run.path / "test-ledger.jsonl").read_bytes().splitlines()) == 1
    assert json.loads((run.path / "test-ledger.jsonl").read_text())["reason"] == "a\nb\u2028c"


# The lock


def test_t23_a_run_has_one_writer(run: Run) -> None:
    with run.locked(), pytest.raises(RunInUseError), Run.open(run.path).locked():
        pass
    with run.locked():
        pass


def test_t02_locking_clears_what_a_killed_writer_left(run: Run) -> None:
    run.checkpoints.mkdir()
    (run.path / ".tmp-1-metrics.csv").write_text("half")
    (run.checkpoints / ".tmp-new").mkdir()
    with run.locked():
        assert {path.name for path in run.path.iterdir()} == {"recipe.toml", "checkpoints", ".lock"}
        assert not list(run.checkpoints.iterdir())


def test_a_group_knows_its_seeds(tmp_path: Path) -> None:
    group = Run.create(tmp_path, "group")
    assert group.seeds == []
    for name in ("seed-0", "seed-1", "seed-2"):
        (group.path / name).mkdir()
        (group.path / name / "recipe.toml").touch()
    (group.path / "seeds.json").write_text('{"runs": ["seed-0", "seed-1"]}')
    assert [run.path for run in group.seeds] == [group.path / "seed-0", group.path / "seed-1"]


@pytest.mark.parametrize(
    "text",
    ["[]", "[", "{}", '{"runs": []}', '{"runs": 3}', '{"runs": ["gone"]}', '{"runs": ["../other"]}', '{"runs": [3]}'],
)
def test_a_damaged_group_is_refused(tmp_path: Path, text: str) -> None:
    group = Run.create(tmp_path, "group")
    for path in (tmp_path / "other", group.path):
        path.mkdir(exist_ok=True)
        (path / "recipe.toml").touch()
    (group.path / "seeds.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"seeds\.json"):
        _ = group.seeds


def test_n19_data_is_read_as_it_was_understood_wherever_it_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pics").mkdir()
    run = Run.create(tmp_path / "runs", "r")
    recipe = override(load_recipe("quick"), "data.source", "pics")
    run.write_recipe(recipe)
    assert run.data == recipe.data
    settled = {"source": str(tmp_path / "pics"), "layout": "splits"}
    run.update_manifest(data={"understanding": {"settled": settled}})
    monkeypatch.chdir("/")
    assert run.data == recipe.data.model_copy(update=settled)
    (tmp_path / "pics").rename(tmp_path / "moved")
    assert run.data.source == str(tmp_path / "pics"), "gone: where it was"
    (tmp_path / "elsewhere" / "pics").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.data == recipe.data.model_copy(update={"layout": "splits"}), "moved: as it was given"
    for damaged in ({"layout": 7}, [1], 7):
        run.update_manifest(data={"understanding": {"settled": damaged}})
        with pytest.raises(CheckpointError, match="does not say how its data is read"):
            run.data  # noqa: B018


def test_a_run_that_never_began_leaves_no_folder_and_one_that_did_keeps_it(tmp_path: Path) -> None:
    recipe = load_recipe("resnet18")
    with pytest.raises(ZeroDivisionError), Run.new(tmp_path, "never", recipe):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), Run.new(tmp_path, "begun", recipe) as run:
        run.update_manifest(seed=1)
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_a_run_is_taken_where_its_folder_is(run: Run) -> None:
    assert Path(run) == run.path and Run.open(run) == run
