"""Pages of one file: nothing from outside, no other script, every name as text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from cifarlab.drawing.grid import render_grid, to_png
from cifarlab.drawing.page import (
    TILE_SIDE,
    Section,
    Tile,
    code,
    data,
    details,
    embed_png,
    facts,
    gallery,
    headline,
    link,
    page,
    paragraph,
    table,
    warning,
)
from cifarlab.errors import CheckpointError

HOSTILE = "<script>alert('\"&')</script>"


def png(width: int, height: int = 8) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pictures(markup: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', markup)]


def test_the_policy_allows_the_one_script_and_nothing_else() -> None:
    html = page("Title", [])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")


def test_sections_have_titles_notes_and_anchors() -> None:
    sections = [Section(f"Part {number}", Markup("<p>body</p>"), "a note") for number in (1, 2, 3)]
    html = page("Title", sections, subtitle="what it is")
    assert html.count("<p>body</p>") == html.count('<p class="note">a note</p>') == 3
    for number in (1, 2, 3):
        assert f'<a href="#section-{number}">Part {number}</a>' in html and f'<section id="section-{number}">' in html
    assert "<nav" not in page("Title", sections[:1])


@pytest.mark.parametrize(
    "markup",
    [
        page(HOSTILE, [Section(HOSTILE, Markup(), HOSTILE)] * 3, subtitle=HOSTILE).split("</style>")[1],
        gallery([Tile(png(8), HOSTILE, HOSTILE, False)]),
        embed_png(png(8), HOSTILE),
        table([HOSTILE], [[HOSTILE]]),
        facts([(HOSTILE, HOSTILE)]),
        link(f"https://example.org/{HOSTILE}", HOSTILE),
        link(f"javascript:{HOSTILE}", HOSTILE),
        *(make(HOSTILE) for make in (paragraph, warning, code)),
        headline(HOSTILE, HOSTILE),
        details(HOSTILE, Markup()),
    ],
)
def test_names_are_text(markup: str) -> None:
    assert "alert(" in markup and "<script>alert" not in markup
    assert re.search(r"&(#34|quot);", markup) and "='\"" not in markup


def test_values_for_the_script_cannot_end_their_block() -> None:
    values = {"a": HOSTILE, "b": [1, "<!--", "\u2028", "]]>&"]}
    (block,) = re.findall(r'^<script type="application/json" id="x">([^<>&]*)</script>$', data("x", values))
    assert json.loads(block) == values


@pytest.mark.parametrize("url", ["javascript:alert(1)", " https://x", "data:text/html,x", "//x", "file:///etc/passwd"])
def test_what_is_no_web_address_is_no_link(url: str) -> None:
    assert link(url, "text") == "text"


def test_bytes_of_a_file_name_that_are_no_text_are_shown_as_escapes() -> None:
    html = page("a\udcff\x00b", [Section("t", paragraph("\ud800"))])
    assert "a\\udcff\\x00b" in html and "\\ud800" in html
    html.encode("utf-8")


def test_columns_of_numbers_stand_at_the_right() -> None:
    found = table(["name", "share", "mixed"], [["a", "5.0 %", "1"], ["b", None, "x"], ["c", 1234567, "2"]])
    assert re.findall(r"<th scope=\"col\"( class=\"number\")?>(\w+)", found) == [
        ("", "name"),
        (' class="number"', "share"),
        ("", "mixed"),
    ]
    assert "–" in found and "1,234,567" in found


def test_a_table_needs_as_many_cells_as_columns() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(["a", "b"], [["x"]])


def test_a_percent_sign_stays_with_its_number() -> None:
    assert paragraph("5 % of x") == "<p>5\u00a0% of x</p>"
    assert 'every = "5 %"' in Markup(code('every = "5 %"')).unescape()


def test_wrong_pictures_are_marked_for_the_eye_and_in_words() -> None:
    found = gallery([Tile(png(8), "cat", "is dog", False), Tile(png(8), "cat", "", True), Tile(png(8), "cat")])
    assert re.findall(r'<li class="(\w*)"', found) == ["wrong", "right", ""]
    assert re.findall(r'alt="([^"]*)"', found) == ["cat is dog, wrong", "cat, right", "cat"]


def test_a_gallery_has_as_many_columns_as_it_is_asked_for() -> None:
    for columns in (4, 6, 8):
        assert f'<ul class="gallery" style="--columns: {columns}">' in gallery([Tile(png(8), "a")], columns=columns)
    assert "repeat(var(--columns), " in page("A", [])


def test_small_pictures_are_kept_bit_for_bit_and_large_ones_become_thumbnails() -> None:
    small, large = pictures(gallery([Tile(png(32), "a"), Tile(png(200, 100), "b")]))
    assert small == png(32)
    with Image.open(io.BytesIO(large)) as image:
        assert image.size == (TILE_SIDE, TILE_SIDE // 2)


def test_a_figure_is_embedded_bit_for_bit(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(300))
    assert pictures(embed_png(tmp_path / "a.png", "a figure")) == [png(300)]


def test_a_grid_is_shown_in_parts_with_the_texts_of_the_page() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 3, 8, 8), dtype=np.uint8)
    pixels[2] = 255  # blank paper
    grid = render_grid(pixels, ["one\ntwo 5 %", HOSTILE, "", "d"], 2, scale=1, marks=None, row_labels=["x", HOSTILE])
    found = embed_png(to_png(grid), HOSTILE)
    for image, picture in zip(pixels[[0, 1, 3]], pictures(found), strict=True):
        with Image.open(io.BytesIO(picture)) as part:
            assert np.array_equal(np.array(part), image.transpose(1, 2, 0))
    assert "one<br>two 5\u00a0%" in found and "<script>" not in found and 'style="--columns: 2"' in found
    wrong = embed_png(to_png(render_grid(pixels[:2], (), 2, scale=1, marks=[True, False])), "alt")
    assert re.findall(r'<figure class="(\w+)"', wrong) == ["right", "wrong"]


def test_a_file_stands_under_its_picture_without_its_folder() -> None:
    found = gallery([Tile(png(8), "cat", file="cats/<b>.png"), Tile(png(8), "dog")])
    assert found.count('class="file"') == 1 and ">&lt;b&gt;.png</span>" in found
    assert 'title="cat cats/&lt;b&gt;.png"' in found


@pytest.mark.parametrize("content", [None, b"", b"no picture", png(30)[:200], b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_figure_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.png"):
        embed_png(tmp_path / "a.png", "a figure")
