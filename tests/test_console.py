"""What reaches a terminal."""

from __future__ import annotations

import pytest

from cifarlab.console import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 猫 [wild]", "café 猫 [wild]"),
        ("a\x1b[31mb\x07\r", r"a\x1b[31mb\x07\r"),
        ("two\nlines\u2028three", r"two\nlines\u2028three"),
        ("gpj.\u202etac\u202c \u2066x\u2069 \u200fy", r"gpj.\u202etac\u202c \u2066x\u2069 \u200fy"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\x9b", r"\x9b"),
        ("k\udcf6ter", r"k\udcf6ter"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_n56_text_from_files_shows_every_character(text: str, shown: str) -> None:
    assert printable(text) == shown
