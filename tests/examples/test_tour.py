"""The tour is stored without outputs, and runs from the first cell to the last: each object shows itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import cifarlab

FILE = Path(__file__).parents[2] / "examples" / "tour.ipynb"


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}, "no version of the machine it was written on"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Every output of the notebook, run in an empty folder with one thread."""
    folder = tmp_path_factory.mktemp("tour")
    changes = {
        "PYTHONPATH": str(Path(cifarlab.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    notebook = nbformat.read(FILE, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **changes})
    assert {path.name for path in (folder / "runs").iterdir()} == {"quick", "plain"}
    yield [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def shown(outputs: list[Any]) -> dict[str, str]:
    """The HTML of each object, by the name of its class."""
    results = [output.data for output in outputs if output.output_type == "execute_result"]
    return {data["text/plain"].partition("(")[0]: data.get("text/html", "") for data in results}


def test_nothing_fails_and_nothing_is_printed_as_an_error(outputs: list[Any]) -> None:
    assert {output.output_type for output in outputs} == {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}


def test_curves_stay_below_the_cell_that_trained_and_bars_do_not(outputs: list[Any]) -> None:
    places = [output.data["text/html"] for output in outputs if output.output_type == "display_data"]
    curves = [html for html in places if "<svg" in html]
    assert len(curves) == 2 and all(">Accuracy<" in html and ">Loss<" in html for html in curves)
    assert {html for html in places if "<svg" not in html} == {""}


def test_the_training_says_what_the_command_says(outputs: list[Any]) -> None:
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.findall(r"^epoch (\d)/4 ", text, re.MULTILINE) == ["1", "2", "3", "4"] * 2
    assert "test split opened for the 1st time" in text and "Writing the report" in text
    assert re.search(r"^Run\('runs/quick', complete, test \d+\.\d % \(\d+\.\d to \d+\.\d\)\)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Recipe", "speednet"),
        ("Images", "3,000 images of 32 × 32 pixels"),
        ("Run", "runs/quick/report.html"),
        ("Evaluation", "automobile"),
        ("Comparison", " points ("),
        ("Classifier", "speednet"),
        ("Prediction", "picture.png"),
        ("Explained", "what speaks for"),
    ],
)
def test_each_object_shows_itself_as_a_line_and_as_html(outputs: list[Any], kind: str, words: str) -> None:
    html = shown(outputs)[kind]
    assert html.startswith('<div class="cifarlab">') and words in html


def test_the_network_has_learned_something(outputs: list[Any]) -> None:
    """An accuracy of 10 % would be guessing; the interval of the test accuracy has to lie above it."""
    low = re.search(r"95 % interval ([\d.]+) to", shown(outputs)["Evaluation"].replace("\N{NO-BREAK SPACE}", " "))
    assert low is not None and float(low[1]) > 15
