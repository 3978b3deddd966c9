"""Lines of Chinese end between ideographs, and those of other texts where they always have."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from cifarlab.cli.wrapping import WORD

CHINESE = "网络输入的边长（像素）；未设置时，若所有图像大小相同且在 28 到 64 px 之间，则用这一大小，否则用 “auto”。"


def lines(text: str, width: int) -> list[str]:
    return [line.plain for line in Text(text).wrap(Console(), width, overflow="ellipsis")]


@given(st.text(st.characters(max_codepoint=0x2FFF)))
def test_words_of_other_scripts_end_at_spaces(text: str) -> None:
    assert WORD.findall(text) == re.findall(r"\s*\S+\s*", text)


def test_chinese_fills_its_lines_and_loses_nothing() -> None:
    for width in range(12, 60):
        found = lines(CHINESE, width)
        assert "".join("".join(found).split()) == "".join(CHINESE.split())
        assert all(width - 10 < cell_len(line.rstrip()) <= width for line in found[:-1])
        assert not any(line[0] in "，。；）”" or line.rstrip()[-1] in "（“" for line in found)


def test_a_space_behind_a_full_line_is_no_reason_to_cut_it_off() -> None:
    assert lines("一二三四 --set x", 14) == ["一二三四 --set", "x"]
    assert lines("abcdefgh --set x", 14) == ["abcdefgh --set", "x"]
