"""The page in a browser: charts render, nothing is loaded from outside, only its own script runs, it fits a phone.

Chromium opens a page of ours that shows the report in a frame of a given width and writes down what it finds there.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from cifarlab.drawing.page import Section, page
from cifarlab.pages.report.write import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe style="border:0"></iframe><pre></pre>
<script>
const frame = document.querySelector("iframe");
const [file, width] = decodeURIComponent(location.hash.slice(1)).split(",");
frame.style.width = width + "px"; frame.style.height = "900px";
frame.onload = () => {
  const inner = frame.contentDocument, view = frame.contentWindow;
  const charts = [...inner.querySelectorAll("svg[role=img], svg[role=group]")];
  const cell = inner.querySelector("svg g.tip, svg g.band");
  if (cell) {
    const {x, y, width, height} = cell.getBoundingClientRect();
    const middle = {bubbles: true, clientX: x + width / 2, clientY: y + height / 2};
    cell.dispatchEvent(new view.PointerEvent("pointermove", middle));
  }
  const tip = inner.querySelector("#tip");
  const said = tip && !tip.hidden ? tip.textContent : "";
  const cells = inner.querySelector("#cell-images") ? exploreCells(inner, view) : null;
  document.querySelector("pre").textContent = JSON.stringify({
    overflow: inner.documentElement.scrollWidth - view.innerWidth,
    charts: charts.map(chart => Math.min(chart.getBBox().width, chart.getBBox().height)),
    fills: [...new Set([...inner.querySelectorAll("svg .bar")].map(bar => view.getComputedStyle(bar).fill))],
    broken: [...inner.images].filter(image => !image.naturalWidth).length,
    images: inner.images.length,
    fetched: view.performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    tip: said,
    cells,
    evil: String(view.evil),
  });
};
frame.src = file;

function exploreCells(inner, view) {  // by keyboard as far as the matrix goes, then by pointer
  const press = key => inner.activeElement.dispatchEvent(new view.KeyboardEvent("keydown", {key, bubbles: true}));
  const panel = inner.querySelector("#cell-panel"), before = panel.textContent;
  const stops = [...inner.querySelectorAll("[data-cell][tabindex='0']")];
  const place = () => inner.activeElement.dataset.cell;
  stops[0].focus();
  const path = [place()];
  for (const key of ["Down", "Right", "Up", "Left", "Left"]) { press("Arrow" + key); path.push(place()); }
  const isMistake = cell => new Set(cell.dataset.cell.split(",")).size === 2;
  const chosen = [...inner.querySelectorAll("[data-cell]")].find(isMistake);  // the first one in the reading order
  chosen.focus();
  press("Enter");
  const title = panel.querySelector("h3").textContent, thumbnails = panel.querySelectorAll("button img").length;
  const shares = [...panel.querySelectorAll(".thumbnails span")].map(span => parseFloat(span.textContent));
  const details = [...panel.querySelectorAll(".thumbnails button")].map(button => {
    button.click();
    const found = panel.querySelector(".detail-view"), count = what => found.querySelectorAll(what).length;
    return {text: found.textContent, maps: count("canvas"), bars: count(".shares li"),
            neighbours: count(".thumbnails li")};
  });
  const markup = panel.querySelectorAll("script, b b, svg").length;
  const broken = [...panel.querySelectorAll("img")].filter(image => !image.src.startsWith("data:")).length;
  panel.querySelector(":scope > button").click();
  return {stops: stops.length, path, chosen: chosen.dataset.cell, title, thumbnails, shares, details, markup, broken,
          restored: panel.textContent === before, focus: place()};
}
</script>"""


class Served:
    """A folder on the loopback interface, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        handler = functools.partial(_Handler, self.asked, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *arguments: Any, directory: str) -> None:
        self.asked = asked
        super().__init__(*arguments, directory=directory)

    def log_message(self, format: str, *arguments: Any) -> None:
        self.asked.append(self.path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "probe.html").write_text(PROBE)
    served = Served(tmp_path)
    thread = threading.Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


Look = Callable[..., tuple[dict[str, Any], list[str]]]


def browse(address: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Open a page; its document afterwards is on stdout, and what its console said on stderr."""
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom", address,
        ],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def look(served: Served, tmp_path: Path) -> Look:
    """Open a file at a width; gives what was found and what the console said."""

    def look(file: str, width: int = 1200) -> tuple[dict[str, Any], list[str]]:
        done = browse(f"{served.address}/probe.html#{file},{width}", tmp_path)
        found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
        assert found and found[1], done.stderr[-2000:]
        return json.loads(unescape(found[1])), re.findall(r":CONSOLE.*?\] (.*)", done.stderr)

    return look


@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_renders_alone_and_fits(make_run, look: Look, served: Served, tmp_path: Path, width: int) -> None:
    run = make_run()
    path = write_report(run)
    found, console = look(path.relative_to(tmp_path), width)
    assert console == []
    assert len(found["charts"]) == 7 and min(found["charts"]) > 100
    assert found["fills"] == ["rgb(134, 184, 217)"], "charts have their colours"
    assert found["images"] > 100 and found["broken"] == 0
    assert found["overflow"] <= 0, "nothing sticks out sideways"
    assert "epoch 1\ntrain:" in found["tip"], "pointing at a chart says what is there"
    assert found["fetched"] == [] and set(served.asked) <= {
        "/probe.html",
        f"/{path.relative_to(tmp_path)}",
        "/favicon.ico",
    }


def walked(matrix: np.ndarray, moves: list[tuple[int, int]]) -> list[str]:
    """The cells that arrow keys come to from the upper left one, jumping over those without images."""
    row, column = np.argwhere(matrix)[0]
    path = [f"{row},{column}"]
    for down, right in moves:
        line = [(row + step * down, column + step * right) for step in range(1, len(matrix))]
        inside = [place for place in line if min(place) >= 0 and max(place) < len(matrix)]
        row, column = next((place for place in inside if matrix[place]), (row, column))
        path.append(f"{row},{column}")
    return path


def test_a_cell_shows_its_images_and_an_image_what_is_known_about_it(make_run, look: Look, tmp_path: Path) -> None:
    run = make_run()
    evaluation = run.evaluation("test")
    found, console = look(write_report(run).relative_to(tmp_path))
    cells = found["cells"]
    assert console == [] and cells["stops"] == 1, "the matrix is one stop of the tab key"
    matrix = np.array(evaluation["confusion_matrix"])
    assert cells["path"] == walked(matrix, [(1, 0), (0, 1), (-1, 0), (0, -1), (0, -1)])
    label, prediction = map(int, cells["chosen"].split(","))
    first, second = evaluation["class_names"][label], evaluation["class_names"][prediction]
    assert cells["title"] == f"{first} predicted as {second}"
    assert cells["thumbnails"] == len(cells["details"]) == matrix[label, prediction] > 1
    assert cells["shares"] == sorted(cells["shares"], reverse=True) and cells["broken"] == 0
    for detail in cells["details"]:
        assert f": {first}, predicted as {second}" in detail["text"] and detail["bars"] == 6
    assert cells["restored"] and cells["focus"] == cells["chosen"]


def test_heat_maps_and_neighbours_are_shown_where_they_are_known(
    make_run, look_closer, look: Look, tmp_path: Path
) -> None:
    run = make_run()
    look_closer(run, 10_000)
    found, _ = look(write_report(run).relative_to(tmp_path))
    assert {(each["maps"], each["neighbours"]) for each in found["cells"]["details"]} == {(1, 3)}
    assert "fails its test" in found["cells"]["details"][0]["text"]
    run.details_file("test").unlink()
    found, console = look(write_report(run).relative_to(tmp_path))
    assert {(each["maps"], each["neighbours"]) for each in found["cells"]["details"]} == {(0, 0)}
    assert "No heat maps" in found["cells"]["details"][0]["text"] and console == []


def test_the_page_works_as_a_file(make_run, tmp_path: Path) -> None:
    shown = browse(write_report(make_run()).as_uri(), tmp_path)
    assert re.findall(r":CONSOLE.*?\] (.*)", shown.stderr) == []
    assert 'role="button"' in shown.stdout, "cells can be chosen"
    assert 'needs-script">' in shown.stdout and 'needs-script" hidden' not in shown.stdout, "and it is said how"


def test_hostile_names_do_nothing_and_fit(make_run, look: Look, tmp_path: Path) -> None:
    attack = "<script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    run = make_run((attack, "x" * 300, "\"'><svg onload=evil()>", "🐱", "{{evil}}", "&lt;b&gt;"), 60)
    found, console = look(write_report(run).relative_to(tmp_path), 390)
    assert found["evil"] == "undefined" and console == []
    assert found["overflow"] <= 0
    assert attack in found["cells"]["title"] and found["cells"]["markup"] == 0


def test_even_markup_that_slipped_through_can_neither_run_nor_load(look: Look, served: Served, tmp_path: Path) -> None:
    slipped = Markup(
        f"<script>window.evil = 1</script><img src='{served.address}/spy.png' onerror='window.evil = 2'>"
        f"<link rel=stylesheet href='{served.address}/spy.css'><iframe src='{served.address}/spy.html'></iframe>"
    )
    (tmp_path / "slipped.html").write_text(page("Slipped", [Section("s", slipped)]))
    found, console = look("slipped.html")
    assert found["evil"] == "undefined"
    assert not [path for path in served.asked if "spy" in path]
    assert any("Content Security Policy" in line for line in console), "the console is really read"
