from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from cifarlab.errors import CheckpointError
from cifarlab.pages.comparison import comparison_page
from cifarlab.runs.folder import Run
from cifarlab.studies.compare.compare import compare

MakeRun = Callable[..., Run]


class Elements(HTMLParser):
    """Counts elements, and keeps what is shown and where pictures come from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href") and value]

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_shows_curves_differences_and_examples(make_run: MakeRun) -> None:
    a = make_run("a", range(30), pictures=True)
    b = make_run("b", range(20, 60), pictures=True, values={"optimizer": {"lr": 0.2}})
    comparison = compare([a.path, b.path])
    page = Elements(comparison_page(comparison))
    assert page.tags.count("figure") == 6  # one of times, four of curves, one of classes
    assert page.tags.count("img") == 32
    for text in ("[optimizer]", "McNemar, exact", "score interval", comparison.claim(comparison.pairs[0])):
        assert text in page.text
    assert page.text.count("a right, b wrong") == page.text.count("b right, a wrong") == 1


def test_nothing_comes_from_outside_and_names_are_text(make_run: MakeRun) -> None:
    """One of the classes is called <script>alert('owl')</script>."""
    comparison = compare([make_run("a", range(30), pictures=True).path, make_run("b", pictures=True).path])
    page = comparison_page(comparison)
    assert all(source.startswith(("data:", "#")) for source in Elements(page).sources)
    assert Elements(page).tags.count("script") == 1 and "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;owl&#39;)&lt;/script&gt; 🦉" in page


def test_without_pictures_the_images_are_listed(make_run: MakeRun) -> None:
    page = Elements(comparison_page(compare([make_run("a", {7}).path, make_run("b").path])))
    assert "img" not in page.tags
    assert "Images 7; the run folders hold no pictures of them." in page.text
    assert "There are no such images." in page.text


def test_the_right_picture_stands_at_its_index(make_run: MakeRun) -> None:
    page = comparison_page(compare([make_run("a", {7}, pictures=True).path, make_run("b").path]))
    found = set(re.findall(r'<span class="detail">predicted as (.+?); image (\d+)</span>', page))
    assert found == {("&lt;script&gt;alert(&#39;owl&#39;)&lt;/script&gt; 🦉", "7")}


def test_seeds_are_drawn_as_their_mean(make_run: MakeRun, make_group: MakeRun) -> None:
    page = Elements(comparison_page(compare([make_group("a", [3, 4]).path, make_group("b", [5, 6]).path])))
    assert "Several seeds are drawn as their mean." in page.text and "Welch's t-test over seeds" in page.text


def test_damaged_examples_are_named(make_run: MakeRun) -> None:
    a, b = make_run("a", {7}, pictures=True), make_run("b")
    a.examples_file("test").write_bytes(b"PAR1")
    with pytest.raises(CheckpointError, match=r"examples-test\.parquet"):
        comparison_page(compare([a.path, b.path]))
